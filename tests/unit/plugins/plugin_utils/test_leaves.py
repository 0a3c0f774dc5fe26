# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A large inbox is read once a run, and what is read later is what lies there then."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _inbox, _leaves
from ansible_collections.campus.upki.tests.unit import pki


@pytest.fixture
def inbox(tmp_path: pathlib.Path) -> pathlib.Path:
    """A CA, a note that is no certificate, and certificates of 60 hosts."""
    ca = pki.CA("Leaves CA")
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "ca.pem").write_text(pki.pem(ca.certificate))
    (folder / "readme.txt").write_text("hello")
    for number in range(60):
        (folder / f"{number}.cer").write_text(pki.pem(ca.issue(f"web{number}.example.ac.jp")))
    return folder


@pytest.fixture
def shared(tmp_path: pathlib.Path) -> str:
    (tmp_path / "run").mkdir()
    return str(tmp_path / "run")


def reading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(paths: list[str]) -> _leaves.Leaves:
        raise AssertionError("read again")

    monkeypatch.setattr(_leaves, "_read", refuse)


def test_the_second_process_takes_what_the_first_has_read(
    inbox: pathlib.Path, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _leaves.read([str(inbox)], shared)
    assert first == _leaves.read([str(inbox)]) and len(first.rows) == 61 and len(first.notes) == 1
    reading_fails(monkeypatch)
    assert _leaves.read([str(inbox)], shared) == first


def test_each_host_finds_the_same_as_without_sharing(inbox: pathlib.Path, shared: str) -> None:
    for name in ("web1.example.ac.jp", "web59.example.ac.jp"):
        alone, with_others = (
            _inbox.look([name], [str(inbox)], [], [str(inbox / "ca.pem")], pki.NOW, None, place)
            for place in (None, shared)
        )
        assert alone == with_others
        assert len(alone.candidates) == 1 and not alone.candidates[0]["error"] and len(alone.others) == 59


def test_what_arrives_or_changes_meanwhile_is_seen(inbox: pathlib.Path, shared: str) -> None:
    _leaves.read([str(inbox)], shared)
    (inbox / "new.cer").write_text(pki.pem(pki.CA("Leaves CA").issue("new.example.ac.jp")))
    assert "new.example.ac.jp" in [name for row in _leaves.read([str(inbox)], shared).rows for name in row.names]
    facts = (inbox / "new.cer").stat()
    (inbox / "new.cer").write_text(pki.pem(pki.CA("Leaves CA").issue("own.example.ac.jp")))
    os.utime(inbox / "new.cer", ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert "own.example.ac.jp" in [name for row in _leaves.read([str(inbox)], shared).rows for name in row.names]


def test_a_small_inbox_leaves_no_file(inbox: pathlib.Path, shared: str) -> None:
    for number in range(1, 60):
        (inbox / f"{number}.cer").unlink()
    assert len(_leaves.read([str(inbox)], shared).rows) == 2
    assert os.listdir(shared) == []


def test_a_folder_that_is_missing_is_named_as_ever(inbox: pathlib.Path, shared: str) -> None:
    for paths in ([str(inbox), str(inbox / "none")], [str(inbox / "none")]):
        with pytest.raises(UpkiError) as caught:
            _leaves.read(paths, shared)
        assert caught.value.code == "path_missing"

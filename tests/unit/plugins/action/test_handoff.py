# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching the parcel: a file of 0600, never a result."""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
from typing import Any
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.action import handoff


@pytest.fixture
def archive(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "host").mkdir()
    (tmp_path / "controller").mkdir()
    path = tmp_path / "host" / "club.zip"
    path.write_bytes(b"the parcel")
    path.chmod(0o600)
    return path


def run(
    archive: pathlib.Path, check: bool = False, become: bool = False, failed: bool = False, **arguments: Any
) -> tuple[dict[str, Any], mock.Mock]:
    task = mock.Mock(args=arguments, async_val=0, check_mode=check, diff=False, become=become)
    loader, connection = mock.Mock(), mock.Mock()
    loader.path_dwim = lambda path: str(archive.parent.parent / path)
    connection.fetch_file = shutil.copyfile
    action = handoff.ActionModule(task, connection, mock.Mock(), loader, mock.Mock(), mock.Mock())
    executed = mock.Mock(return_value={"changed": False, "path": str(archive), "failed": failed})
    module = mock.patch.object(handoff.ActionModule, "_execute_module", executed)
    with mock.patch.object(ActionBase, "run", return_value={}), module:
        return action.run(None, {}), executed


def test_nothing_is_fetched_unasked(archive: pathlib.Path) -> None:
    result, _executed = run(archive)
    assert "fetched" not in result
    assert os.listdir(archive.parent.parent / "controller") == []


def test_the_archive_arrives_for_its_owner_alone_and_once(archive: pathlib.Path) -> None:
    result, _executed = run(archive, fetch=True, fetch_dest="controller")
    target = archive.parent.parent / "controller" / "club.zip"
    assert result["fetched"] == str(target)
    assert result["changed"] is True
    assert target.read_bytes() == b"the parcel"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(target.parent) == ["club.zip"]
    assert run(archive, fetch="yes", fetch_dest="controller")[0]["changed"] is False


def test_check_mode_fetches_nothing_and_says_that_it_would(archive: pathlib.Path) -> None:
    result, _executed = run(archive, check=True, fetch=True, fetch_dest="controller")
    assert result["changed"] is True
    assert os.listdir(archive.parent.parent / "controller") == []


def test_a_failed_module_fetches_nothing(archive: pathlib.Path) -> None:
    result, _executed = run(archive, failed=True, fetch=True, fetch_dest="controller")
    assert "fetched" not in result


def test_become_and_fetch_are_refused_before_anything_is_written(archive: pathlib.Path) -> None:
    result, executed = run(archive, become=True, fetch=True, fetch_dest="controller")
    assert result["failed"] is True
    assert result["reason_code"] == "fetch_with_become"
    executed.assert_not_called()


def test_a_missing_folder_on_the_controller_is_told_before_anything_is_written(archive: pathlib.Path) -> None:
    result, executed = run(archive, fetch=True, fetch_dest="nowhere")
    assert result["failed"] is True
    assert result["reason_code"] == "fetch_dest_missing"
    assert "nowhere" in result["msg"]
    executed.assert_not_called()


def test_an_archive_that_others_may_read_is_written_anew(archive: pathlib.Path) -> None:
    run(archive, fetch=True, fetch_dest="controller")
    target = archive.parent.parent / "controller" / "club.zip"
    target.chmod(0o644)
    assert run(archive, check=True, fetch=True, fetch_dest="controller")[0]["changed"] is True
    assert run(archive, fetch=True, fetch_dest="controller")[0]["changed"] is True
    assert stat.S_IMODE(target.stat().st_mode) == 0o600

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TSV file on disk."""

import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tsv_file
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import records as make


def test_bytes_and_no_fault(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\x8e\x52")
    assert _tsv_file.load(str(path)) == (b"\x8e\x52", [])


def test_another_name_is_the_cas_209_and_the_file_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x")
    data, faults = _tsv_file.load(str(path))
    assert (data, make.codes(faults), faults[0]["value"]) == (b"x", [209], "a.csv")


def test_what_cannot_be_read(tmp_path):
    for path, code in ((tmp_path / "none.tsv", 208), (tmp_path, "file_unreadable")):
        with pytest.raises(UpkiError) as caught:
            _tsv_file.load(str(path))
        assert (caught.value.code, str(path) in caught.value.message) == (code, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_the_right_to_read(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(UpkiError) as caught:
        _tsv_file.load(str(path))
    assert caught.value.code == "file_unreadable"


def test_the_size_has_a_limit(tmp_path):
    path = tmp_path / "a.tsv"
    for size, refused in ((_tsv_file.LARGEST, False), (_tsv_file.LARGEST + 1, True)):
        with open(str(path), "wb") as handle:
            handle.truncate(size)
        if refused:
            with pytest.raises(UpkiError):
                _tsv_file.load(str(path))
        else:
            assert len(_tsv_file.load(str(path))[0]) == size

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later

import os

from ansible_collections.campus.upki.plugins.module_utils._practice_uploads import uploads


def found(*paths):
    return [(os.path.basename(path), [row["code"] for row in faults]) for path, dummy, faults in uploads(paths)]


def test_of_a_folder_only_tsv_and_not_below(tmp_path):
    for name in ("b.tsv", "a.tsv", "c.txt", ".d.tsv", "e.csv", "note.txt"):
        (tmp_path / name).write_bytes(b"a note" if name == "note.txt" else b"a\tb")
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "f.tsv").write_bytes(b"a\tb")
    (tmp_path / "folder.tsv").mkdir()
    assert found(str(tmp_path)) == [("a.tsv", []), ("b.tsv", []), ("c.txt", [])]


def test_an_empty_tsv_file_of_a_folder_is_handed_in(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"")
    assert found(str(tmp_path)) == [("a.tsv", [])]


def test_what_is_not_there_is_208(tmp_path):
    assert found(str(tmp_path / "a.tsv")) == [("a.tsv", [208])]


def test_another_ending_is_209(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\tb")
    assert found(str(tmp_path / "a.csv")) == [("a.csv", [209])]


def test_a_file_named_twice_is_taken_once(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"a\tb")
    assert found(str(tmp_path), str(tmp_path / "a.tsv")) == [("a.tsv", [])]

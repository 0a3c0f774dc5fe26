# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are handed in to the practice CA."""

import os

from ansible_collections.campus.upki.plugins.module_utils import _atomic
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as _rules

ENDINGS = (".tsv", ".txt")


def _in_folder(folder):
    """The TSV files of a folder, not of its sub-folders; a text file without a tab is a note, not an application."""
    with _atomic.explained(folder, "list"):
        names = sorted(os.listdir(folder))
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(".") or not name.endswith(ENDINGS) or not os.path.isfile(path):
            continue
        data = read_file(path)
        if name.endswith(".tsv") or b"\t" in data:
            yield path, data, []


def read_file(path):
    with _atomic.explained(path, "read"), open(path, "rb") as stream:
        return stream.read()


def uploads(outbox):
    """[(path, bytes, faults)] of everything that the list of files and folders names, each path once."""
    found = {}
    for path in map(os.path.abspath, outbox):
        if os.path.isdir(path):
            rows = list(_in_folder(path))
        elif not os.path.exists(path):
            rows = [(path, b"", [_file_fault(208, path, "there is no such file or folder")])]
        elif not path.endswith(ENDINGS):
            rows = [(path, b"", [_file_fault(209, path, "the name must end in .tsv or .txt")])]
        else:
            rows = [(path, read_file(path), [])]
        for row in rows:
            found.setdefault(row[0], row)
    return list(found.values())


def _file_fault(code, path, message):
    return _rules.fault(code, None, "ファイル (file)", os.path.basename(path), message)

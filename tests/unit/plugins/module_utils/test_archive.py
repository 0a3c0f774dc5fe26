# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from an archive, in a Python of its own: each file is compiled once, and nothing else is different."""

import json
import subprocess
import sys
import zipfile

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _archive

CODE = """
import json, sys
counts = {}
def hook(event, arguments):
    if event == "compile" and b"MARK" in (arguments[0] or b""):
        counts[arguments[1]] = counts.get(arguments[1], 0) + 1
sys.path[:0] = sys.argv[2:]
import zipimport
import archive
if sys.argv[1] == "once":
    archive.compile_once()
if hasattr(sys, "addaudithook"):
    sys.addaudithook(hook)
import package.inner, other
from package import plain
files = [module.__file__ for module in (package, package.inner, plain, other)]
print(json.dumps([files, [module.__name__ for module in (package.inner, plain)], sorted(counts.values())]))
"""


@pytest.fixture
def imported(tmp_path):
    with open(_archive.__file__, encoding="utf-8") as stream:
        own = stream.read()
    with zipfile.ZipFile(str(tmp_path / "sent.zip"), "w") as archive:
        archive.writestr("archive.py", own)
        for name in ("package/__init__.py", "package/plain.py", "package/inner/__init__.py"):
            archive.writestr(name, "NAME = 'MARK'\n")
    with zipfile.ZipFile(str(tmp_path / "other.zip"), "w") as archive:
        archive.writestr("other.py", "NAME = 'MARK'\n")
    archives = [str(tmp_path / name) for name in ("sent.zip", "other.zip")]

    def run(how):
        command = [sys.executable, "-B", "-c", CODE, how] + archives
        return json.loads(subprocess.check_output(command).decode("utf-8"))

    return run


def test_the_modules_are_the_same(imported):
    assert imported("once")[:2] == imported("as it is")[:2]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="this Python compiles them once by itself")
def test_a_file_of_the_archive_is_compiled_once(imported):
    times = imported("as it is")[2]
    if times == [1, 1, 1, 1]:
        pytest.skip("this Python compiles them once by itself")
    assert times == [2, 2, 2, 2]
    assert imported("once")[2] == [1, 1, 1, 2]  # what lies in another archive stays as it was


def test_outside_an_archive_nothing_is_touched():
    import zipimport

    before = zipimport.zipimporter.get_filename
    _archive.compile_once()
    assert zipimport.zipimporter.get_filename == before

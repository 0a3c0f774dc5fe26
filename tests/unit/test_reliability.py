# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/reliability.md promises nothing without a test: every test that it names exists, and every row names one."""

import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
# `lab/test_x.py`, `integration/test_x.py` or `unit …/test_x.py`, and words of its tests' names in brackets behind it
NAMED = re.compile(r"`(lab|integration|unit …)/(test_\w+\.py)`((?: \([^)]*\))?)")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]


def named(cell):
    """[(file, words of test names)] of a row's second cell."""
    found = []
    for folder, name, words in NAMED.findall(cell):
        files = sorted((TESTS / folder.split(" ")[0]).rglob(name))
        found.append((name, files, re.findall(r"`([a-z0-9_]+)`", words)))
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_promise_names_tests_that_exist(row):
    promise, tests = row
    assert named(tests), "'{0}' names no test".format(promise)
    for name, files, words in named(tests):
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        known = re.findall(r"^ *def (test_\w+)", text, re.MULTILINE)
        assert known, "{0}: there is no test in {1}".format(promise, name)
        for word in words:
            assert any(word in test for test in known), "{0}: {1} has no test '{2}'".format(promise, name, word)


def test_the_page_is_read_as_a_whole():
    assert len(ROWS) > 20
    assert PAGE.count(".py`") == sum(len(named(row[1])) for row in ROWS), "a test is named in another form"

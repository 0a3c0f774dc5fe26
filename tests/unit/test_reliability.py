# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/reliability.md promises nothing without a test: what it names exists, and what is nightly is called so."""

import ast
import functools
import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
PROJECT = TESTS.parent
FILES = sorted(TESTS.rglob("test_*.py"))
PAGE = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
# `lab/test_x.py`, `integration/test_x.py` or `unit …/test_x.py`, and behind it in brackets words of its tests' names
NAMED = re.compile(r"`(lab|integration|unit …)/(test_\w+\.py)`(?: \(((?:[^()`]|`[^`]*`|\([^()]*\))*)\))?")
GATE = re.compile(r"gate `([\w-]+)`")
TARGET = re.compile(r"`make ([\w-]+)`")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]
NIGHTLY = "nightly: "


def named(cell):
    """[(file, its paths, what stands in brackets behind it)] of a row's second cell."""
    return [
        (name, [file for file in FILES if file.name == name and TESTS / folder.split(" ")[0] in file.parents], brackets)
        for folder, name, brackets in NAMED.findall(cell)
    ]


def is_nightly(node):
    return any("attr='nightly'" in ast.dump(one) for one in node)


@functools.lru_cache(maxsize=None)
def marks_of(path):
    """{name of a test: whether it is marked nightly, itself or with its file}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    marks = [one.value for one in tree.body if isinstance(one, ast.Assign) and "'pytestmark'" in ast.dump(one)]
    return {
        one.name: is_nightly(marks) or is_nightly(one.decorator_list)
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    }


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_promise_names_tests_that_exist(row):
    promise, cell = row
    gates, targets = GATE.findall(cell), TARGET.findall(cell)
    assert named(cell) or gates, "'{0}' names no test".format(promise)
    for name, files, brackets in named(cell):
        tests = {}
        for file in files:
            tests.update(marks_of(file))
        words = re.findall(r"`([a-z0-9_]+)`", brackets)
        assert words, "{0}: which tests of {1}? Their names' words belong in brackets behind it".format(promise, name)
        for word in words:
            assert any(word in test for test in tests), "{0}: {1} has no test '{2}'".format(promise, name, word)
        shown = any(marked for test, marked in tests.items() if any(word in test for word in words))
        assert brackets.startswith(NIGHTLY) == shown, "{0}: {1} is nightly or is not".format(promise, name)
    known = (PROJECT / "scripts" / "gates.py").read_text(encoding="utf-8")
    assert all('    "{0}": ('.format(gate) in known for gate in gates), "{0}: no such gate".format(promise)
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert all("\n{0}: ".format(target) in makefile for target in targets), "{0}: no such target".format(promise)


def test_the_page_is_read_as_a_whole():
    assert len(ROWS) > 40
    assert PAGE.count(".py`") == sum(len(named(row[1])) for row in ROWS), "a test is named in another form"


def test_no_promise_is_made_twice():
    promises = [row[0] for row in ROWS]
    assert len(set(promises)) == len(promises)

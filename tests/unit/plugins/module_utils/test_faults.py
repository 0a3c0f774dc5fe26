# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults as lines."""

from ansible_collections.campus.upki.plugins.module_utils import _faults


def test_a_line_has_the_form_of_the_upload_form():
    row = _faults.fault(202, "CSR", "v", "Too long.", "Shorten it.", 3)
    assert _faults.line(row) == "202:3,CSR,Too long. Shorten it."
    assert _faults.line(dict(row, record=None, fix="")) == "202:-,CSR,Too long."


def test_values_are_shortened_and_stay_on_one_line():
    assert _faults.shorten("x" * 60) == "x" * 60
    assert _faults.shorten("x" * 61) == "x" * 59 + "…"
    assert _faults.shorten("a\nb\t\x00") == "a\\nb\\t\\x00"


def test_refusal_counts_faults_and_records():
    rows = [_faults.fault(201, "CSR", "", "Missing.", "Add it.", number) for number in (1, 1, 2)]
    error = _faults.refusal(rows, 5, "nothing was written")
    assert str(error).split("\n", maxsplit=1)[0] == "3 faults in 2 of 5 records; nothing was written:"
    assert (error.code, error.details["faults"], str(error).count("\n")) == ("faults", rows, 3)
    assert str(_faults.refusal(rows[:1], 1, "x")).startswith("1 fault in 1 of 1 record; x:")


def test_numbered_leaves_the_original_alone():
    row = _faults.fault(201, "CSR", "", "Missing.", "Add it.")
    assert _faults.numbered([row], 4)[0]["record"] == 4
    assert row["record"] is None


def test_the_cas_numbers():
    names = "REQUIRED_ITEM LENGTH DIGITS COMMENT_CHARACTER FORM NO_FILE EXTENSION DN_EXISTS EMPTY_FILE TOO_MANY_RECORDS"
    names += " INSTITUTION_STATE DNS_CHECK OU_NOT_ALLOWED"
    numbers = [getattr(_faults, name) for name in names.split()]
    assert numbers == [201, 202, 204, 205, 206, 208, 209, 212, 213, 214, 215, 338, 371]

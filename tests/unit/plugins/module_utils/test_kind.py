# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the table that chooses between issue and renew."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _kind
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.lifecycle_helpers import (
    NAME,
    decide,
    old,
    request,
    wanted,
)

ROWS = [
    # what was there before, kind, code, serial
    ({}, "server_renew", "old_without_ou", "4711"),
    ({"ou": "Computer Centre"}, "server_issue", "old_has_ou", None),
    ({"cn": "other.example.ac.jp"}, "server_issue", "name_differs", None),
    ({"subject": {"O": "Example University", "L": "Chofu", "ST": "tokyo"}}, "server_issue", "dn_differs", None),
    ({"subject": {"O": "Other University", "L": "Chofu", "ST": "Tokyo"}}, "server_issue", "dn_differs", None),
    ({"subject": {"O": "Example University", "L": "Academe", "ST": ""}}, "server_issue", "dn_differs", None),
    ({"upki": False, "issuer": "R11"}, "server_issue", "issuer_foreign", None),
    ({"upki": False, "issuer": NAME, "ou": "x"}, "server_issue", "issuer_foreign", None),
]


@pytest.mark.parametrize("change, kind, code, serial", ROWS)
@pytest.mark.parametrize("age", [140, 200])  # due, expired
def test_kind_from_the_old_certificate(change, kind, code, serial, age):
    found = decide(live=old(age=age, **change))
    assert (found.action, found.kind, found.kind_reason_code, found.serial) == ("request", kind, code, serial)
    assert found.kind_reason in found.reason


def test_every_row_of_the_table_is_tested():
    assert {row["code"] for row in _kind.KIND_ROWS} == {code for _change, _kind, code, _serial in ROWS}


@pytest.mark.parametrize("number", range(len(_kind.KIND_ROWS)))
def test_a_broken_row_shows(number, monkeypatch):
    """Turn the kind of one row around: at least one case above must notice."""
    table = [dict(row) for row in _kind.KIND_ROWS]
    table[number]["kind"] = "server_issue" if table[number]["kind"] == "server_renew" else "server_renew"
    monkeypatch.setattr(_kind, "KIND_ROWS", table)
    assert any(decide(live=old(age=140, **change)).kind != kind for change, kind, _code, _serial in ROWS)


@pytest.mark.parametrize("number", range(len(_kind.KIND_ROWS)))
def test_a_missing_row_shows(number, monkeypatch):
    table = [row for at, row in enumerate(_kind.KIND_ROWS) if at != number]
    monkeypatch.setattr(_kind, "KIND_ROWS", table)

    def code_of(change):
        try:
            return decide(live=old(age=140, **change)).kind_reason_code
        except StopIteration:
            return None

    assert any(code_of(change) != code for change, _kind, code, _serial in ROWS)


def test_an_earlier_certificate_without_ou_wins_over_a_newer_one_with_it():
    newer, earlier = old(age=140, ou="x", serial="2"), old(age=400, serial="1")
    found = decide(olds=[newer, earlier])
    assert (found.kind, found.serial) == ("server_renew", "1")


def test_kind_can_be_given():
    found = decide(wanted(kind="server_renew", serial="99"))
    assert (found.kind, found.serial, found.kind_reason_code) == ("server_renew", "99", "kind_given")
    found = decide(wanted(kind="server_issue"), live=old(age=140))
    assert (found.kind, found.serial, found.kind_reason_code) == ("server_issue", None, "kind_given")


def test_a_given_serial_that_is_known_remembers_what_it_replaces():
    assert decide(wanted(kind="server_renew", serial="4711"), live=old(age=140)).replaces["serial"] == "4711"
    assert decide(wanted(kind="server_renew", serial="99"), live=old(age=140)).replaces is None


def test_answer_212_is_fed_back_into_the_pending_request():
    found = decide(wanted(kind="server_renew", serial="99"), pending=request())
    assert (found.action, found.kind, found.serial) == ("amend", "server_renew", "99")
    found = decide(wanted(kind="server_renew", serial="99"), pending=request(kind="server_renew", serial="99"))
    assert found.action == "none"

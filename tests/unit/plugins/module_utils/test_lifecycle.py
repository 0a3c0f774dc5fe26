# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions from given facts and a given clock; no file is touched here."""

import datetime

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _lifecycle
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.lifecycle_helpers import (
    DAY,
    MANAGER,
    NAME,
    NOW,
    SUBJECT,
    UTC,
    codes,
    decide,
    flat,
    old,
    request,
    wanted,
)

# --- states ----------------------------------------------------------------------------------------------


def test_nothing_there_makes_a_request():
    found = decide()
    assert (found.action, found.state, found.reason_code) == ("request", "pending", "absent")
    assert (found.kind, found.kind_reason_code, found.serial) == ("server_issue", "never_issued", None)


def test_a_live_certificate_rests():
    found = decide(live=old())
    assert (found.action, found.state, found.reason_code, found.kind) == ("none", "live", "live", None)
    assert "valid until 2027-05-29" in found.reason
    assert "due from 2027-03-24" in found.reason


def test_a_certificate_outside_the_store_is_adopted():
    found = decide(live=old(generation=None, source="127.0.0.1:443"))
    assert (found.action, found.state, found.reason_code) == ("none", "live", "adopted")
    assert "127.0.0.1:443" in found.reason


def test_a_due_certificate_gets_a_successor_beside_it():
    found = decide(live=old(age=140))
    assert (found.action, found.state, found.reason_code) == ("request", "renewing", "due")
    assert (found.kind, found.serial) == ("server_renew", "4711")
    assert found.replaces["serial"] == "4711"


def test_an_expired_certificate_gets_a_successor():
    found = decide(live=old(age=200))
    assert (found.action, found.state, found.reason_code) == ("request", "pending", "expired")
    assert (found.kind, found.serial) == ("server_renew", "4711")  # valid, expired or revoked makes no difference


def test_a_pending_request_waits():
    found = decide(pending=request())
    assert (found.action, found.state, found.reason_code) == ("none", "pending", "pending")
    assert "since 2026-11-20" in found.reason
    assert not found.warnings


def test_a_pending_successor_waits_beside_a_live_certificate():
    found = decide(live=old(age=140), pending=request(kind="server_renew", serial="4711"))
    assert (found.action, found.state, found.kind, found.serial) == ("none", "renewing", "server_renew", "4711")


def test_a_pending_successor_of_an_expired_certificate_is_only_pending():
    assert decide(live=old(age=200), pending=request()).state == "pending"


def test_a_pending_successor_of_a_certificate_outside_the_store():
    replaces = {"serial": "1", "not_after": "2026-12-01T00:00:00Z", "generation": None, "source": "/etc/ssl/a.pem"}
    assert decide(pending=request(replaces=replaces)).state == "renewing"
    assert decide(pending=request(replaces=replaces), now=NOW + 86400 * 20).state == "pending"


@pytest.mark.parametrize(
    "change, item",
    [
        ({"dns_names": ["other.example.ac.jp"]}, "dns_names"),
        ({"key_type": "rsa2048"}, "key_type"),
        ({"software": "Apache"}, "software"),
    ],
)
def test_a_pending_request_is_never_replaced(change, item):
    found = decide(wanted(**change), pending=request())
    assert (found.action, found.state, found.reason_code) == ("none", "pending", "pending_differs")
    assert codes(found) == ["pending_differs"]
    assert item in found.warnings[0]["message"]
    assert "state: cancelled" in found.warnings[0]["message"]


def test_a_pending_request_is_not_replaced_for_another_subject_or_manager():
    view = _lifecycle.flat(NAME, dict(SUBJECT, state="tokyo"), [], "p384", "nginx", dict(MANAGER, email="b@x.ac.jp"))
    found = decide(wanted(flat=view), pending=request())
    assert (found.action, found.reason_code) == ("none", "pending_differs")
    assert "subject.state: 'Tokyo' → 'tokyo'" in found.reason
    assert "manager.email: 'a@example.ac.jp' → 'b@x.ac.jp'" in found.reason


def test_order_of_names_and_the_fqdn_among_them_make_no_difference():
    pending = request(flat=flat(dns_names=["b.example.ac.jp", "a.example.ac.jp"]))
    found = decide(wanted(dns_names=[NAME, "a.example.ac.jp", "b.example.ac.jp"]), pending=pending)
    assert found.reason_code == "pending"


@pytest.mark.parametrize("days, expected", [(30, []), (31, ["pending_old"]), (-2, ["clock_behind"])])
def test_age_of_a_pending_request(days, expected):
    created = datetime.datetime.fromtimestamp(NOW, UTC) - days * DAY
    assert codes(decide(pending=request(created=created))) == expected


def test_a_pending_request_of_unknown_age_still_waits():
    found = decide(pending=request(created=None))
    assert (found.action, found.warnings) == ("none", [])


def test_cancelled_gives_a_pending_request_up():
    found = decide(wanted(state="cancelled"), live=old(), pending=request())
    assert (found.action, found.state, found.reason_code) == ("cancel", "live", "cancelled")
    assert [row["code"] for row in found.warnings] == ["given_up"]  # its line is still in the outbox


@pytest.mark.parametrize("live, state", [(None, "absent"), (old(), "live"), (old(age=200), "expired")])
def test_cancelled_makes_no_new_request(live, state):
    found = decide(wanted(state="cancelled"), live=live)
    assert (found.action, found.state, found.reason_code) == ("none", state, "nothing_pending")


def test_cancelled_gives_up_what_an_interrupted_run_left():
    assert decide(wanted(state="cancelled"), orphan=request()).action == "cancel"


def test_the_request_of_an_interrupted_run_is_taken_up():
    found = decide(live=old(age=140), orphan=request(kind="server_renew", serial="4711"))
    assert (found.action, found.state, found.reason_code) == ("relink", "renewing", "interrupted")
    assert (found.kind, found.serial) == ("server_renew", "4711")


def test_the_request_of_an_interrupted_run_is_left_when_something_else_is_wanted():
    found = decide(wanted(key_type="rsa2048"), orphan=request())
    assert found.action == "request"
    assert codes(found) == ["orphan_differs"]


def test_a_name_that_was_not_requested_makes_a_request():
    found = decide(wanted(dns_names=["new.example.ac.jp"]), live=old())
    assert (found.action, found.state, found.reason_code) == ("request", "renewing", "names_differ")
    assert "new.example.ac.jp" in found.reason


def test_a_name_that_the_ca_dropped_is_not_asked_for_again():
    live = old(requested_names={NAME, "dropped.example.ac.jp"}, dns_names=[NAME])
    assert decide(wanted(dns_names=["dropped.example.ac.jp"]), live=live).action == "none"


def test_a_name_that_is_not_wanted_any_more_can_wait():
    assert decide(live=old(requested_names={NAME, "gone.example.ac.jp"})).action == "none"


def test_another_key_type_waits_for_the_next_request():
    found = decide(wanted(key_type="rsa2048"), live=old())
    assert (found.action, codes(found)) == ("none", ["key_type_differs"])


def test_the_moment_of_the_end_is_no_longer_in_force():
    found = decide(live=old(age=198))
    assert (found.state, found.reason_code) == ("pending", "expired")
    assert decide(wanted(state="cancelled"), live=old(age=198)).state == "expired"


def test_the_subject_is_compared_with_what_is_live_and_not_with_what_was_taken_back():
    newest = old(age=5, subject={"O": "Other", "L": "Chofu", "ST": "Tokyo"})
    assert decide(live=old(), olds=[newest, old()]).warnings == []
    assert codes(decide(olds=[newest, old()])) == ["subject_differs"]


# --- subject ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject, words",
    [
        (
            {"O": "Example University", "L": "Chofu", "ST": "tokyo"},
            ["subject.state", "'Tokyo'", "'tokyo'", "lower"],
        ),
        ({"O": "Example University", "L": "Mitaka", "ST": "Tokyo"}, ["subject.locality", "'Chofu'", "'Mitaka'"]),
        ({"O": "Example Univ.", "L": "Chofu", "ST": "Tokyo"}, ["subject.organization", "'Example Univ.'"]),
    ],
)
@pytest.mark.parametrize("age", [10, 140])
def test_a_differing_subject_is_a_warning_that_shows_both(subject, words, age):
    found = decide(live=old(age=age, subject=subject))
    assert codes(found) == ["subject_differs"]
    for word in words:
        assert word in found.warnings[0]["message"]


def test_the_subject_of_a_foreign_certificate_says_nothing():
    found = decide(olds=[old(upki=False, subject={"O": "Let's Encrypt", "L": "", "ST": ""})])
    assert found.warnings == []


def test_an_application_without_the_managers_name_is_possible_but_not_good():
    view = _lifecycle.flat(NAME, SUBJECT, [], "p384", "nginx", {"email": "a@example.ac.jp"})
    found = decide(wanted(flat=view))
    assert (found.action, codes(found)) == ("request", ["manager_empty"])
    assert "manager.name and manager.affiliation" in found.warnings[0]["message"]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions from given facts and a given clock; no file is touched here."""

import datetime
import fractions

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _lifecycle
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

UTC = datetime.timezone.utc
NOW = 1795305600  # 2026-11-22T00:00:00Z
DAY = datetime.timedelta(days=1)
NAME = "www.example.ac.jp"
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
MANAGER = {"name": "A", "affiliation": "B", "email": "a@example.ac.jp"}


def flat(**more):
    values = {"name": NAME, "subject": SUBJECT, "dns_names": [], "key_type": "p384", "software": "nginx"}
    return _lifecycle.flat(**dict(values, manager=MANAGER, **more))


def wanted(**more):
    view = {key: more.pop(key) for key in ("dns_names", "key_type", "software") if key in more}
    values = {"name": NAME, "subject": SUBJECT, "state": "present", "kind": None, "serial": None}
    values["key_type"] = view.get("key_type", "p384")
    values["flat"] = flat(**view)
    return dict(values, **more)


def old(age=10, days=198, **more):
    """Facts of a certificate issued `age` days before NOW."""
    start = datetime.datetime.fromtimestamp(NOW, UTC) - age * DAY
    values = {
        "source": "the store",
        "generation": "20261101T000000Z-01234567",
        "serial": "4711",
        "not_before": start,
        "not_after": start + days * DAY,
        "cn": NAME,
        "ou": "",
        "subject": {"O": "Example University", "L": "Chofu", "ST": "Tokyo"},
        "issuer": "NII Open Domain CA - G8 RSA",
        "upki": True,
        "requested_names": {NAME},
        "key_type": "p384",
    }
    return dict(values, **more)


def request(**more):
    values = {
        "generation": "20261120T000000Z-89abcdef",
        "created": datetime.datetime.fromtimestamp(NOW, UTC) - 2 * DAY,
        "kind": "server_issue",
        "serial": None,
        "replaces": None,
        "flat": flat(),
    }
    return dict(values, **more)


def facts(live=None, olds=None, pending=None, orphan=None):
    return {"live": live, "olds": olds or ([live] if live else []), "pending": pending, "orphan": orphan}


def decide(wish=None, now=NOW, renew_before="1/3", lead_time=14, **found):
    return _lifecycle.decide(wish or wanted(), facts(**found), now, renew_before, lead_time)


def codes(decision):
    return [row["code"] for row in decision.warnings]


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


# --- which kind: every row of the table ------------------------------------------------------------------

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
    assert {row["code"] for row in _lifecycle.KIND_ROWS} == {code for _change, _kind, code, _serial in ROWS}


@pytest.mark.parametrize("number", range(len(_lifecycle.KIND_ROWS)))
def test_a_broken_row_shows(number, monkeypatch):
    """Turn the kind of one row around: at least one case above must notice."""
    table = [dict(row) for row in _lifecycle.KIND_ROWS]
    table[number]["kind"] = "server_issue" if table[number]["kind"] == "server_renew" else "server_renew"
    monkeypatch.setattr(_lifecycle, "KIND_ROWS", table)
    assert any(decide(live=old(age=140, **change)).kind != kind for change, kind, _code, _serial in ROWS)


@pytest.mark.parametrize("number", range(len(_lifecycle.KIND_ROWS)))
def test_a_missing_row_shows(number, monkeypatch):
    table = [row for at, row in enumerate(_lifecycle.KIND_ROWS) if at != number]
    monkeypatch.setattr(_lifecycle, "KIND_ROWS", table)

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


# --- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [("1/3", fractions.Fraction(1, 3)), (" 2/5 ", fractions.Fraction(2, 5)), ("30d", 30 * DAY), ("1d", DAY)],
)
def test_renew_before(text, expected):
    assert _lifecycle.parse_renew_before(text) == expected


@pytest.mark.parametrize("text", ["", "0/3", "3/3", "4/3", "1/0", "-1/3", "0d", "30", "d", "30 days", "1.5d", None])
def test_renew_before_refused(text):
    with pytest.raises(UpkiError) as caught:
        _lifecycle.parse_renew_before(text)
    assert caught.value.code == "renew_before_invalid"
    assert caught.value.fix


# lifetime in days, days before the end at which it is due by default. Source: CA/B and UPKI limits.
LIFETIMES = [(396, 132), (198, 66), (100, 33), (47, 15)]


@pytest.mark.parametrize("days, before", LIFETIMES)
def test_due_by_the_certificates_own_lifetime(days, before):
    assert decide(live=old(age=days - before - 1, days=days)).reason_code == "live"
    assert decide(live=old(age=days - before, days=days)).reason_code == "due"
    assert "renew_before_short" not in codes(decide(live=old(days=days)))


@pytest.mark.parametrize("days, before", LIFETIMES)
def test_due_by_days(days, before):
    assert decide(live=old(age=days - 31, days=days), renew_before="30d").reason_code == "live"
    assert decide(live=old(age=days - 30, days=days), renew_before="30d").reason_code == "due"


def test_more_days_than_the_lifetime_do_not_mean_a_request_a_day():
    found = decide(live=old(age=1, days=47), renew_before="60d")
    assert (found.action, codes(found)) == ("none", ["renew_before_too_long"])
    assert decide(live=old(age=33, days=47), renew_before="60d").reason_code == "due"


def test_less_time_than_the_application_takes():
    assert codes(decide(live=old(), renew_before="10d")) == ["renew_before_short"]
    assert codes(decide(live=old(), renew_before="10d", lead_time=10)) == []


def test_last_day_to_apply():
    end = datetime.datetime(2027, 3, 6, 1, 53, 20, tzinfo=UTC)
    assert _lifecycle.iso(_lifecycle.last_day_to_apply(end)) == "2027-02-20T01:53:20Z"
    assert _lifecycle.iso(_lifecycle.last_day_to_apply(end, 0)) == "2027-03-06T01:53:20Z"


def test_a_certificate_that_is_not_valid_yet_means_a_wrong_clock():
    found = decide(live=old(age=-3))
    assert (found.action, codes(found)) == ("none", ["clock_behind"])


@pytest.mark.parametrize("days, expected", [(0, 0), (0.9, 0), (1, 1), (-0.1, -1), (-1, -1)])
def test_days_are_rounded_down(days, expected):
    start = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    assert _lifecycle.days_between(start, start + days * DAY) == expected


def test_iso_and_back():
    when = datetime.datetime(2027, 3, 6, 1, 53, 20, tzinfo=UTC)
    assert _lifecycle.parse_iso(_lifecycle.iso(when)) == when
    assert _lifecycle.parse_iso("yesterday") is None
    assert _lifecycle.parse_iso(None) is None


def test_an_application_without_the_managers_name_is_possible_but_not_good():
    view = _lifecycle.flat(NAME, SUBJECT, [], "p384", "nginx", {"email": "a@example.ac.jp"})
    found = decide(wanted(flat=view))
    assert (found.action, codes(found)) == ("request", ["manager_empty"])
    assert "manager.name and manager.affiliation" in found.warnings[0]["message"]

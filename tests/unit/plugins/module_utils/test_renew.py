# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both daily jobs in one call: the same as the two after each other, and neither hides what became of the other."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _install, _renew, _request, _validity, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit import pki
from ansible_collections.campus.upki.tests.unit.plugins.module_utils import store_helpers as helpers
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import DAY, NAME, NOW, snapshot

OTHER = "mail.example.ac.jp"
ROOT = pki.CA("Renew Root", end=pki.NOW + pki.days(3000))
INTER = pki.CA("Renew Inter", ROOT, end=pki.NOW + pki.days(3000))


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "upki")


def candidate(store, name=NAME):
    """A certificate for the pending request, as the action plugin sends it."""
    request = Store(store).certificate(name).pending.request()
    start = _validity.moment(NOW - DAY)
    leaf = INTER.issue(name, _x509.request_from_pem(request).public_key(), start=start, end=start + pki.days(198))
    chain = [pki.pem(INTER.certificate)]
    return {"certificate": pki.pem(leaf), "chain": chain, "file": "inbox/new.cer", "error": None, "notices": []}


def options(store, *names, **more):
    """(install, request) for these names."""
    install = {"certificates": [{"name": name} for name in names], "store": store}
    install["candidates"] = more.pop("candidates", [])
    return install, helpers.params(store, *[helpers.wanted(name) for name in names], **more)


def renew(store, *names, **more):
    now, check_mode = more.pop("now", NOW), more.pop("check_mode", False)
    return _renew.run(*options(store, *names, **more), check_mode=check_mode, now=now)


def states(result):
    return [(row["name"], row["state"], row["reason_code"]) for row in result["certificates"]]


def test_what_has_arrived_goes_live_and_what_is_due_is_applied_for(store):
    helpers.run(store)
    result = renew(store, NAME, OTHER, candidates=[candidate(store)])
    assert result["changed"] is True
    assert states(result["install"]) == [(NAME, "live", "installed"), (OTHER, "absent", "no_request")]
    assert states(result["request"]) == [(NAME, "live", "live"), (OTHER, "pending", "absent")]
    assert result["request"]["certificates"][1]["record"]["kind"] == "server_issue"
    assert Store(store).certificate(NAME).pending is None and Store(store).certificate(OTHER).pending is not None


def test_with_nothing_due_it_says_what_the_two_say_and_changes_nothing(store):
    helpers.live_store(store)
    helpers.run(store, helpers.wanted(OTHER))
    before = snapshot(store)
    result = renew(store, NAME, OTHER)
    install, request = options(store, NAME, OTHER)
    alone = _install.run(install, False, _validity.moment(NOW)), _request.Request(request, NOW).run()
    assert (result["changed"], result["diff"]) == (False, [])
    assert result["warnings"] == alone[0].pop("warnings") + alone[1].pop("warn")
    alone[0].pop("diff"), alone[1].pop("diff")
    assert (result["install"], result["request"]) == alone
    assert snapshot(store) == before


def test_the_second_run_changes_nothing(store):
    helpers.run(store)
    given = [candidate(store)]
    renew(store, NAME, OTHER, candidates=given)
    before = snapshot(store)
    assert renew(store, NAME, OTHER, candidates=given)["changed"] is False
    assert snapshot(store) == before


def test_check_mode_announces_both_and_changes_nothing(store):
    helpers.run(store)
    before = snapshot(store)
    result = renew(store, NAME, OTHER, candidates=[candidate(store)], check_mode=True)
    assert result["install"]["certificates"][0]["reason_code"] == "installed"
    assert result["request"]["certificates"][1]["action"] == "request"
    assert [sorted(row) for row in result["diff"]] == [
        ["after", "after_header", "before", "before_header"],
        ["after", "before"],
    ]
    assert snapshot(store) == before


def test_a_fault_among_the_requests_does_not_hold_up_what_has_arrived(store):
    helpers.run(store)
    with pytest.raises(UpkiError) as caught:
        renew(store, NAME, candidates=[candidate(store)], subject=dict(helpers.SUBJECT, organizational_unit="CS"))
    error = caught.value.result()
    assert Store(store).certificate(NAME).live is not None
    assert error["reason_code"] == "invalid_request" and error["changed"] is True
    assert error["install"]["certificates"][0]["reason_code"] == "installed"
    assert len(str(error["install"])) < 400  # an error is to be read
    assert "before them the certificate of {0} was put in place".format(NAME) in error["msg"]


def test_a_fault_among_the_requests_alone_says_nothing_of_an_installation(store):
    with pytest.raises(UpkiError) as caught:
        renew(store, NAME, subject=dict(helpers.SUBJECT, organizational_unit="CS"))
    assert caught.value.details["changed"] is False
    assert "put in place" not in str(caught.value)


def test_where_the_installation_fails_nothing_is_applied_for(store):
    helpers.run(store)
    wrong = dict(candidate(store), certificate=pki.pem(INTER.issue(NAME)))
    with pytest.raises(UpkiError) as caught:
        renew(store, NAME, OTHER, candidates=[wrong])
    assert caught.value.code == "other_key"
    assert Store(store).names() == [NAME]

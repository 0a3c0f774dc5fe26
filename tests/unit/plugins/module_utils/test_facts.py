# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a slot of the store to the facts of a decision."""

import json
import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _adopt, _facts, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.plugins.module_utils._wanted import wanted_list
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    DAY,
    NAME,
    NOW,
    certificate,
    fields_of,
    live_store,
    make_live,
    params,
    row,
    run,
    wanted,
)


def refuse(_wanted):
    raise AssertionError("the store has something of this name, so nobody looks elsewhere")


def facts(store, adopt=refuse, **change):
    return _facts.of_slot(Store(store).certificate(NAME), wanted_list(params(store, wanted(**change)))[0], adopt)


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "upki")


def test_nothing(store):
    nothing = {"live": None, "olds": [], "pending": None, "orphan": None, "used": [], "broken": []}
    assert facts(store, lambda _wanted: None) == nothing


def test_a_pending_request(store):
    made = row(store, wanted(dns_names=["b.example.ac.jp"]))
    found = facts(store)
    assert found["pending"]["generation"] == made["generation"]
    assert found["pending"]["created"].timestamp() == NOW
    assert found["pending"]["flat"] == wanted_list(params(store, wanted(dns_names=["b.example.ac.jp"])))[0]["flat"]
    assert (found["live"], found["olds"], found["orphan"]) == (None, [], None)


def test_requested_names_count_and_not_those_of_the_certificate(store):
    run(store, wanted(dns_names=["dropped.example.ac.jp"]))
    make_live(store, names=(NAME, "added.example.ac.jp"))
    assert facts(store)["live"]["requested_names"] == {NAME, "dropped.example.ac.jp"}


@pytest.mark.parametrize(
    "issuer, kind", [("GlobalSign RSA OV SSL CA 2018", "server_issue"), ("NII Open Domain CA - G7 RSA", "server_renew")]
)
def test_what_install_adopted_counts_as_upki_only_by_its_issuer(store, issuer, kind):
    """The CA refuses a renewal of a serial that is another CA's."""
    run(store)
    generation = make_live(store, issuer=issuer, age=190)
    meta = {"name": NAME, "reason_code": "adopted", "dns_names": [NAME], "created": "2026-05-16T00:00:00Z"}
    with open(generation.file("request.json"), "w") as stream:
        json.dump(meta, stream)
    assert facts(store)["live"]["upki"] is (kind == "server_renew")
    asked = row(store, check_mode=True)
    assert (asked["reason_code"], asked["kind"], bool(asked["record"]["serial"])) == (
        "due",
        kind,
        kind != "server_issue",
    )
    own = row(store, check_mode=True, issuers=[issuer[:10]])
    assert own["kind"] == "server_renew"


def test_all_certificates_newest_first(store):
    live_store(store, age=300)
    run(store, now=NOW - 110 * DAY)
    make_live(store, age=109)
    found = facts(store)
    assert [(NOW - int(old["not_before"].timestamp())) // DAY for old in found["olds"]] == [109, 300]
    assert found["live"] == found["olds"][0]
    first, second = (old["serial"] for old in reversed(found["olds"]))
    assert found["used"] == [("server_issue", None), ("server_renew", first)]
    assert first != second


def spoil(generation):
    with open(generation.file("certificate.pem"), "w") as stream:
        stream.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_an_old_certificate_that_cannot_be_read_is_a_warning(store):
    first = live_store(store, age=300)
    run(store, now=NOW - 110 * DAY)
    make_live(store, age=109)
    spoil(first)
    found = facts(store)
    assert len(found["olds"]) == 1 and found["live"]
    assert [one["code"] for one in found["broken"]] == ["generation_broken"]
    assert "generation_broken" in [one["code"] for one in row(store)["warnings"]]


def test_the_only_certificate_that_cannot_be_read_stops_the_run(store):
    first = live_store(store, age=300)
    unlink(store, "live")
    spoil(first)
    with pytest.raises(UpkiError) as caught:
        row(store)
    assert caught.value.code == "generation_broken"
    assert first.path in caught.value.message and "backup" in caught.value.message


def unlink(store, which="pending"):
    os.unlink(os.path.join(store, NAME, which))


def test_the_request_of_a_killed_run_is_an_orphan(store):
    live_store(store, age=300)
    made = row(store)
    unlink(store)
    assert facts(store)["orphan"]["generation"] == made["generation"]


@pytest.mark.parametrize("name", ["key.pem", "request.pem", "request.json"])
def test_half_a_request_is_no_orphan(store, name):
    run(store)
    os.unlink(Store(store).certificate(NAME).pending.file(name))
    unlink(store)
    assert facts(store, lambda _wanted: None)["orphan"] is None


def test_what_was_cancelled_or_is_older_than_live_is_no_orphan(store):
    run(store, now=NOW - 20 * DAY)
    unlink(store)  # an orphan …
    run(store, wanted(software="Apache"), now=NOW - 19 * DAY)
    make_live(store)  # … that a newer certificate has overtaken
    assert facts(store)["orphan"] is None
    row(store, now=NOW + 180 * DAY)
    row(store, wanted(state="cancelled"), now=NOW + 180 * DAY)
    assert facts(store)["orphan"] is None


def test_the_newest_orphan_counts(store):
    for software in ("one", "two"):
        run(store, wanted(software=software))
        unlink(store)
    assert facts(store)["orphan"]["flat"]["software"] == "two"


# --- adoption --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key():
    return _x509.generate_key("p384").public_key()


def adopting(issued, source="/etc/ssl/a.pem"):
    return lambda _wanted: _adopt.facts(issued, source)


def test_a_certificate_of_upki_with_this_cn_is_live(store, key):
    found = facts(store, adopting(certificate(key)))
    assert found["live"]["source"] == "/etc/ssl/a.pem"
    assert found["live"]["generation"] is None
    assert found["olds"] == [found["live"]]


@pytest.mark.parametrize("change", [{"issuer": "R11"}, {"fields": fields_of("other.example.ac.jp")}])
def test_another_certificate_is_only_known(store, key, change):
    found = facts(store, adopting(certificate(key, **change)))
    assert found["live"] is None
    assert len(found["olds"]) == 1


def test_nobody_looks_elsewhere_when_the_store_knows(store):
    run(store)
    facts(store)  # pending
    unlink(store)
    facts(store)  # an orphan
    row(store)
    make_live(store)
    facts(store)  # live
    unlink(store, "live")
    facts(store)  # issued once


def test_nobody_looks_elsewhere_to_cancel(store):
    assert facts(store, state="cancelled")["live"] is None


def test_after_cancelling_the_first_request_the_server_is_asked_again(store, key):
    run(store)
    run(store, wanted(state="cancelled"))
    assert facts(store, adopting(certificate(key)))["live"]


def test_the_file_comes_before_the_port(tmp_path, key):
    path = tmp_path / "a.pem"
    path.write_text(_x509.pem(certificate(key)))
    found = _facts.adopted({"name": NAME, "current_certificate": str(path), "current_endpoint": "127.0.0.1:1"}, ["NII"])
    assert found["source"] == str(path) and found["upki"]


def test_without_options_nothing_is_adopted():
    assert _facts.adopted({"name": NAME, "current_certificate": None, "current_endpoint": None}, ["NII"]) is None


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UpkiError) as caught:
        _facts.adopted({"name": NAME, "current_certificate": str(tmp_path / "a"), "current_endpoint": None}, ["NII"])
    assert caught.value.code == "current_certificate_missing"
    assert str(tmp_path / "a") in caught.value.message


def test_leftovers_become_warnings(store):
    run(store)
    path = os.path.join(store, NAME, "generations", ".20261122T000000Z-01234567.89abcdef.tmp")
    os.mkdir(path)
    found = _facts.leftover_warnings(Store(store).certificate(NAME))
    assert [one["code"] for one in found] == ["leftover"]
    assert path in found[0]["message"]

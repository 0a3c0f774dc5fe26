# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What info shows."""

import json
import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _adopt, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._inventory import inventory
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    DAY,
    NAME,
    NOW,
    certificate,
    codes,
    live_store,
    make_live,
    row,
    run,
    snapshot,
    wanted,
)

DUE = NOW + 180 * DAY


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "upki")


def entry(store, now=NOW, name=NAME):
    return inventory(store, [name], now)[0]


def test_a_store_that_is_not_there(store):
    assert inventory(store, [], NOW) == []
    assert entry(store)["state"] == "absent"


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "upki").write_text("")
    with pytest.raises(UpkiError) as caught:
        inventory(str(tmp_path / "upki"), [], NOW)
    assert caught.value.code == "store_io"


def test_states_are_those_of_the_request(store):
    assert entry(store)["state"] == "absent"
    run(store)
    assert entry(store)["state"] == "pending"
    run(store, wanted(state="cancelled"))
    assert entry(store)["state"] == "absent"
    live_store(store)
    assert entry(store)["state"] == "live"
    run(store, now=DUE)
    assert entry(store, DUE)["state"] == "renewing"
    assert entry(store, NOW + 300 * DAY)["state"] == "pending"
    run(store, wanted(state="cancelled"), now=DUE)
    assert entry(store, NOW + 300 * DAY)["state"] == "expired"


def test_a_pending_successor_of_a_certificate_outside_the_store(store):
    issued = certificate(_x509.generate_key("p384").public_key())
    run(store, now=DUE, adopt=lambda _wanted: _adopt.facts(issued, "/etc/ssl/a.pem"))
    assert entry(store, DUE)["state"] == "renewing"
    assert entry(store, NOW + 300 * DAY)["state"] == "pending"


def test_the_live_certificate(store):
    live = live_store(store)
    found = entry(store)["live"]
    leaf = live.certificate()
    assert found["generation"] == live.id and found["path"] == live.path
    assert (found["serial"], found["sha256"]) == (str(leaf.serial_number), _x509.sha256(leaf))
    assert found["spki_sha256"] == live.spki_sha256()
    assert (found["not_before"], found["not_after"]) == ("2026-11-12T00:00:00Z", "2027-05-29T00:00:00Z")
    assert (found["days_left"], found["dns_names"], found["key_type"], found["chain"]) == (188, [NAME], "p384", [])
    assert found["subject"] == "C=JP, ST=Tokyo, L=Chofu, O=Example University, CN=" + NAME


def test_its_chain(store):
    live = live_store(store)
    issuer = certificate(_x509.generate_key("p384").public_key())
    Store(store).certificate(NAME).complete(live, _x509.pem(live.certificate()), _x509.pem(issuer))
    assert entry(store)["live"]["chain"] == [
        {
            "subject": _x509.name_text(issuer.subject),
            "sha256": _x509.sha256(issuer),
            "not_after": "2027-05-29T00:00:00Z",
        }
    ]


def test_what_the_live_certificate_replaced(store):
    outside = certificate(_x509.generate_key("p384").public_key(), serial=4711)
    run(store, now=DUE, adopt=lambda _wanted: _adopt.facts(outside, "/etc/ssl/a.pem"))
    make_live(store)
    found = entry(store)["live"]["replaces"]
    assert (found["serial"], found["not_after"], found["days_left"]) == ("4711", "2027-05-29T00:00:00Z", 188)
    assert (found["generation"], found["source"]) == (None, "/etc/ssl/a.pem")
    assert entry(store, NOW + 200 * DAY)["live"]["replaces"]["days_left"] == -12


@pytest.mark.parametrize("before", [None, "junk", {}, {"serial": None}])
def test_a_certificate_that_replaced_nothing(store, before):
    live = live_store(store)
    assert entry(store)["live"]["replaces"] is None
    meta = dict(live.meta, replaces=before)
    with open(live.file("request.json"), "w") as stream:
        json.dump(meta, stream)
    assert entry(store)["live"]["replaces"] is None


def test_the_end_of_what_was_replaced_may_be_unknown(store):
    live = live_store(store)
    with open(live.file("request.json"), "w") as stream:
        json.dump(dict(live.meta, replaces={"serial": "1", "not_after": "soon"}), stream)
    assert entry(store)["live"]["replaces"]["days_left"] is None


def test_keys_of_generations(store):
    live = live_store(store)
    run(store, now=DUE)
    assert [one["spki_sha256"] for one in entry(store, DUE)["generations"]] == [live.spki_sha256(), None]


def test_the_pending_request(store):
    made = row(store, wanted(dns_names=["b.example.ac.jp"]))
    found = entry(store, NOW + 3 * DAY + 5)["pending"]
    assert (found["generation"], found["kind"], found["age_days"]) == (made["generation"], "server_issue", 3)
    assert (found["created"], found["reason_code"]) == ("2026-11-22T00:00:00Z", "absent")
    assert (found["spki_sha256"], found["dns_names"]) == (made["spki_sha256"], ["b.example.ac.jp"])
    assert (found["issued"], found["replaces"], found["key_type"]) == (False, None, "p384")


def test_roles_of_generations(store):
    live_store(store)
    run(store, now=DUE)
    run(store, wanted(state="cancelled"), now=DUE)
    run(store, now=DUE)
    os.unlink(os.path.join(store, NAME, "pending"))
    run(store, wanted(software="Apache"), now=DUE)
    found = entry(store, DUE)
    assert [one["role"] for one in found["generations"]] == ["live", "cancelled", "orphan", "pending"]
    assert all(one["key"] for one in found["generations"])
    assert found["generations"][0]["days_left"] == 8
    assert codes(found) == ["orphan"]


def test_warnings(store):
    run(store)
    os.mkdir(os.path.join(store, NAME, "generations", ".20261122T000000Z-01234567.89abcdef.tmp"))
    assert codes(entry(store, NOW + 31 * DAY)) == ["pending_old", "leftover"]
    assert codes(entry(store, NOW - 31 * DAY)) == ["clock_behind", "leftover"]


def test_a_live_certificate_from_the_future(store):
    live_store(store)
    assert codes(entry(store, NOW - 31 * DAY)) == ["clock_behind"]


def test_names_are_sorted_or_in_the_wanted_order(store):
    run(store, wanted("b.example.ac.jp"), wanted("a.example.ac.jp"))
    assert [one["name"] for one in inventory(store, [], NOW)] == ["a.example.ac.jp", "b.example.ac.jp"]
    asked = ["c.example.ac.jp", "b.example.ac.jp"]
    assert [(one["name"], one["state"]) for one in inventory(store, asked, NOW)] == list(
        zip(asked, ["absent", "pending"])
    )


@pytest.mark.parametrize("name", ["certificate.pem", "fullchain.pem", "request.pem", "chain.pem"])
def test_damage_is_shown_and_does_not_stop_the_rest(store, name):
    live = live_store(store)
    run(store, wanted("a.example.ac.jp"))
    with open(live.file(name), "w") as stream:
        stream.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    rows = {one["name"]: one for one in inventory(store, [], NOW)}
    assert rows["a.example.ac.jp"]["problems"] == []
    if name == "fullchain.pem":  # what servers read; info reads the two others
        assert rows[NAME]["problems"] == []
    else:
        assert [problem["code"] for problem in rows[NAME]["problems"]][0] in ("generation_broken", "certificate_broken")


def test_damage_in_an_old_generation_is_told_once(store):
    first = live_store(store, age=300)
    run(store, now=NOW - 110 * DAY)
    make_live(store, age=109)
    with open(first.file("certificate.pem"), "w") as stream:
        stream.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = entry(store)
    assert found["state"] == "live" and found["live"]["generation"] > first.id
    assert [(one["code"], first.path in one["message"]) for one in found["problems"]] == [("generation_broken", True)]


def test_a_lost_generation(store):
    live = live_store(store)
    os.rename(live.path, live.path + ".lost")
    found = entry(store)
    assert (found["state"], found["live"], [one["code"] for one in found["problems"]]) == (
        "absent",
        None,
        ["link_dangling"],
    )


def test_nothing_is_written_and_no_key_is_opened(store, monkeypatch):
    live_store(store)
    run(store, now=DUE)
    before = snapshot(store)
    real = open

    def watching(path, mode="r", *rest, **more):
        assert not str(path).endswith("key.pem")
        assert "w" not in mode and "a" not in mode and "+" not in mode
        return real(path, mode, *rest, **more)

    monkeypatch.setattr("builtins.open", watching)
    inventory(store, [], NOW)
    monkeypatch.undo()
    assert snapshot(store) == before

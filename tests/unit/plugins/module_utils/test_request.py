# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of the backend against a real folder, with the clock given."""

import json
import os
import stat

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _adopt, _tsv, _tsv_record, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    DAY,
    MANAGER,
    NAME,
    NOW,
    SUBJECT,
    certificate,
    codes,
    fields_of,
    keys,
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


def adopting(issued, source="/etc/ssl/a.pem"):
    return lambda _wanted: _adopt.facts(issued, source)


@pytest.fixture(scope="module")
def key():
    return _x509.generate_key("p384").public_key()


# --- making a request ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type, hash_name", [("rsa2048", "sha256"), ("p384", "sha384")])
def test_the_csr_is_what_the_service_asks_for(store, key_type, hash_name):
    found = row(store, wanted(key_type=key_type, dns_names=["b.example.ac.jp"]))
    csr = _x509.request_from_pem(found["csr"])
    assert _x509.name_fields(csr.subject) == [
        ("C", "JP"),
        ("ST", "Tokyo"),
        ("L", "Chofu"),
        ("O", "Example University"),
        ("CN", NAME),
    ]
    assert _x509.key_type(csr.public_key()) == key_type
    assert _x509.signature_hash(csr) == hash_name
    assert _x509.request_signature_holds(csr)
    assert not _x509.request_has_extensions(csr)
    assert found["spki_sha256"] == _x509.spki_sha256(csr.public_key())
    assert _tsv_record.check_record(found["record"]) == []


def test_the_key_is_that_of_the_csr_and_for_its_owner_only(store):
    found = row(store)
    generation = Store(store).certificate(NAME).pending
    with open(generation.key_path, "rb") as stream:
        private_key = _x509.private_key_from_pem(stream.read())
    assert _x509.spki_sha256(private_key.public_key()) == found["spki_sha256"]
    assert stat.S_IMODE(os.stat(generation.key_path).st_mode) == 0o600


def test_rights_of_the_key_on_request(store):
    run(store, key_mode="0640", key_owner=str(os.getuid()), key_group=str(os.getgid()))
    assert stat.S_IMODE(os.stat(Store(store).certificate(NAME).pending.key_path).st_mode) == 0o640


def test_what_the_generation_remembers(store):
    live_store(store, age=140)
    found = row(store)
    generation = Store(store).certificate(NAME).pending
    meta = generation.meta
    assert meta["name"] == NAME and meta["created"] == "2026-11-22T00:00:00Z"
    assert (meta["kind"], meta["reason_code"], meta["key_type"]) == ("server_renew", "due", "p384")
    assert meta["record"] == found["record"] and meta["record"]["csr"] == found["csr"]
    assert meta["spki_sha256"] == found["spki_sha256"] and found["generation"] == generation.id
    assert meta["replaces"] == {
        "serial": found["serial"],
        "not_before": "2026-07-05T00:00:00Z",
        "not_after": "2027-01-19T00:00:00Z",
        "generation": Store(store).certificate(NAME).live.id,
        "source": "the store",
    }
    with open(generation.file("request.tsv"), "rb") as stream:
        records, faults = _tsv.parse(stream.read(), "server_renew")
    assert faults == [] and records[0]["serial"] == found["serial"]


@pytest.mark.parametrize("text", ["PRIVATE", "key_pem"])
def test_no_key_in_results_or_errors(store, text):
    live_store(store)
    results = [run(store, now=DUE, check_mode=True), run(store, now=DUE), run(store, now=DUE)]
    secrets = ["".join(content.decode("ascii").split("\n")[1:-2])[:40] for content in keys(store).values()]
    output = json.dumps(results)
    assert text not in output
    assert not any(secret in output for secret in secrets)


# --- the second run --------------------------------------------------------------------------------------


def test_the_second_run_changes_nothing_and_returns_the_same_record(store):
    first = run(store, wanted(), wanted("b.example.ac.jp", key_type="rsa2048"))
    before = snapshot(store)
    second = run(store, wanted(), wanted("b.example.ac.jp", key_type="rsa2048"), now=NOW + DAY)
    assert (first["changed"], second["changed"]) == (True, False)
    assert snapshot(store) == before
    for one, two in zip(first["certificates"], second["certificates"]):
        for same in ("record", "csr", "spki_sha256", "generation", "state", "kind", "kind_reason", "kind_reason_code"):
            assert one[same] == two[same], same
        assert (one["changed"], two["changed"]) == (True, False)
        assert (one["reason_code"], two["reason_code"]) == ("absent", "pending")
    assert second["diff"] == {"before": "", "after": ""}


def test_a_run_that_changes_nothing_takes_no_lock(store):
    run(store)
    with Store(store).lock(0):
        assert row(store, lock_timeout=0)["state"] == "pending"


def test_a_pending_request_stays_when_other_things_are_wanted(store):
    first = row(store)
    before = snapshot(store)
    other = wanted(key_type="rsa2048", dns_names=["b.example.ac.jp"])
    second = row(store, other, subject=dict(SUBJECT, state="tokyo"), manager=dict(MANAGER, email="b@example.ac.jp"))
    assert (second["changed"], second["reason_code"], codes(second)) == (False, "pending_differs", ["pending_differs"])
    assert second["record"] == first["record"]
    assert snapshot(store) == before


def test_an_old_pending_request_is_warned_of(store):
    run(store)
    assert codes(row(store, now=NOW + 30 * DAY)) == []
    found = row(store, now=NOW + 31 * DAY)
    assert (found["changed"], codes(found)) == (False, ["pending_old"])


# --- the life of a certificate ---------------------------------------------------------------------------


def test_the_whole_life(store):
    assert row(store, check_mode=True)["state"] == "pending"
    assert row(store)["state"] == "pending"
    first = make_live(store, age=0)
    found = row(store)
    assert (found["state"], found["reason_code"], found["record"], found["csr"]) == ("live", "live", None, None)
    assert (found["generation"], found["source"]) == (first.id, "the store")
    assert (found["days_left"], found["not_after"]) == (198, "2027-06-08T00:00:00Z")
    assert (found["renew_at"], found["last_day_to_apply"]) == ("2027-04-03T00:00:00Z", "2027-05-25T00:00:00Z")
    due = NOW + 132 * DAY
    assert row(store, now=due - 1)["state"] == "live"
    found = row(store, now=due)
    assert (found["state"], found["reason_code"], found["kind"]) == ("renewing", "due", "server_renew")
    assert found["record"]["serial"] == found["serial"] and found["serial"].isdigit()
    assert Store(store).certificate(NAME).live == first
    assert row(store, now=NOW + 199 * DAY)["state"] == "pending"  # nobody installed it in time
    second = make_live(store, age=-190)
    found = row(store, now=NOW + 200 * DAY)
    assert (found["state"], found["generation"]) == ("live", second.id)
    assert len(keys(store)) == 2


def test_an_expired_certificate(store):
    live_store(store)
    cancelled = wanted(state="cancelled")
    assert row(store, cancelled, now=NOW + 300 * DAY)["state"] == "expired"
    found = row(store, now=NOW + 300 * DAY)
    assert (found["state"], found["reason_code"], found["kind"]) == ("pending", "expired", "server_renew")
    assert found["days_left"] == -112


@pytest.mark.parametrize("days, before", [(396, 132), (198, 66), (100, 33), (47, 15)])
def test_lifetimes(store, days, before):
    live_store(store, age=days - before - 1, days=days)
    assert row(store)["state"] == "live"
    found = row(store, now=NOW + DAY)
    assert (found["state"], found["days_left"]) == ("renewing", before)


def test_lead_time_and_days(store):
    live_store(store)
    found = row(store, renew_before="30d", lead_time=40)
    assert found["renew_at"] == "2027-04-29T00:00:00Z"
    assert found["last_day_to_apply"] == "2027-04-19T00:00:00Z"
    assert codes(found) == ["renew_before_short"]


# --- cancelling ------------------------------------------------------------------------------------------


def test_giving_a_request_up_keeps_it_for_the_record(store):
    live = live_store(store)
    pending = row(store, now=DUE)
    before = keys(store)
    found = row(store, wanted(state="cancelled"), now=DUE)
    assert (found["changed"], found["action"], found["state"], found["generation"]) == (True, "cancel", "live", live.id)
    assert (found["record"], found["csr"]) == (None, None)
    assert keys(store) == before
    generation = Store(store).certificate(NAME).generation(pending["generation"])
    with open(generation.file("cancelled.json")) as stream:
        record = json.load(stream)
    assert record["record"] == pending["record"]
    assert record["replaces"]["serial"] == pending["serial"]
    again = row(store, wanted(state="cancelled"), now=DUE)
    assert (again["changed"], again["reason_code"]) == (False, "nothing_pending")
    fresh = row(store, now=DUE)
    assert fresh["changed"] and fresh["spki_sha256"] != pending["spki_sha256"]


def test_cancelling_gives_up_all_that_interrupted_runs_left(store):
    for software in ("one", "two"):
        run(store, wanted(software=software))
        os.unlink(os.path.join(store, NAME, "pending"))
    assert row(store, wanted(state="cancelled"))["changed"] is True
    assert row(store, wanted(state="cancelled"))["changed"] is False
    assert len(keys(store)) == 2


# --- interrupted runs ------------------------------------------------------------------------------------


def test_the_request_of_an_interrupted_run_is_taken_up(store):
    first = row(store)
    os.unlink(os.path.join(store, NAME, "pending"))
    assert row(store, check_mode=True)["generation"] == first["generation"]
    found = row(store)
    assert (found["changed"], found["action"], found["reason_code"]) == (True, "relink", "interrupted")
    assert (found["record"], found["csr"]) == (first["record"], first["csr"])
    assert len(keys(store)) == 1


def test_one_that_does_not_fit_is_kept_beside_a_new_one(store):
    first = row(store)
    os.unlink(os.path.join(store, NAME, "pending"))
    found = row(store, wanted(dns_names=["b.example.ac.jp"]))
    assert (found["action"], codes(found)) == ("request", ["orphan_differs"])
    assert found["spki_sha256"] != first["spki_sha256"]
    assert len(keys(store)) == 2
    assert row(store, wanted(dns_names=["b.example.ac.jp"]))["reason_code"] == "pending"


def test_leftovers_are_kept_and_named(store):
    run(store)
    path = os.path.join(store, NAME, "generations", ".20261122T000000Z-01234567.89abcdef.tmp")
    os.mkdir(path)
    found = row(store)
    assert (found["leftovers"], codes(found)) == ([path], ["leftover"])
    assert os.path.isdir(path)


# --- new keys --------------------------------------------------------------------------------------------


def test_every_request_has_a_key_of_its_own(store):
    seen = set()
    for number in range(3):
        found = row(store, now=NOW + number)
        seen.add(found["spki_sha256"])
        row(store, wanted(state="cancelled"), now=NOW + number)
    assert len(seen) == 3


@pytest.mark.parametrize("other", [NAME, "b.example.ac.jp"])
@pytest.mark.parametrize("gone", [None, "request.pem"])
def test_a_key_that_the_store_knows_is_refused(store, monkeypatch, other, gone):
    """The random numbers of a cloned machine may repeat; a key of any name counts, also a cancelled one."""
    same = _x509.generate_key("p384")
    monkeypatch.setattr(_x509, "generate_key", lambda _name: same)
    run(store, wanted(other))
    if gone:
        make_live(store, other)
        os.unlink(Store(store).certificate(other).live.file(gone))
    run(store, wanted(other, state="cancelled"))
    before = snapshot(store)
    with pytest.raises(UpkiError) as caught:
        run(store, now=DUE)
    assert caught.value.code == "key_reused"
    assert os.path.join(store, other) in caught.value.message
    assert snapshot(store) == before


def test_a_key_equal_to_that_of_a_pruned_generation_is_refused(store, monkeypatch):
    same = _x509.generate_key("p384")
    monkeypatch.setattr(_x509, "generate_key", lambda _name: same)
    folder = os.path.join(store, "b.example.ac.jp")
    os.makedirs(os.path.join(folder, "generations"))
    with open(os.path.join(folder, "pruned"), "w") as stream:
        stream.write("{0} 20200101T000000Z-00000000\n".format(_x509.spki_sha256(same.public_key())))
    with pytest.raises(UpkiError) as caught:
        run(store, wanted())
    assert caught.value.code == "key_reused"
    assert "20200101T000000Z-00000000" in caught.value.message
    assert keys(store) == {}


def test_the_same_key_twice_in_one_run_is_refused(store, monkeypatch):
    same = _x509.generate_key("p384")
    monkeypatch.setattr(_x509, "generate_key", lambda _name: same)
    with pytest.raises(UpkiError) as caught:
        run(store, wanted(), wanted("b.example.ac.jp"))
    assert caught.value.code == "key_reused"
    assert keys(store) == {}


# --- adoption of a server that was set up by hand --------------------------------------------------------


def test_a_certificate_made_by_hand_is_adopted_until_it_is_due(store, key):
    issued = certificate(key, serial=0x645046227D5B43332E2C7B343DC2AB0D)
    found = row(store, adopt=adopting(issued))
    assert (found["state"], found["reason_code"], found["changed"]) == ("live", "adopted", False)
    assert (found["source"], found["generation"], found["record"]) == ("/etc/ssl/a.pem", None, None)
    assert not os.path.exists(store)
    found = row(store, adopt=adopting(issued), now=DUE)
    assert (found["state"], found["kind"]) == ("renewing", "server_renew")
    assert found["record"]["serial"] == "133339605828400110422498834782393379597"
    again = row(store, now=DUE, adopt=None)  # nobody has to look at the server again
    for same in (
        "state",
        "kind",
        "serial",
        "not_after",
        "days_left",
        "renew_at",
        "last_day_to_apply",
        "source",
        "record",
    ):
        assert again[same] == found[same], same
    assert again["serial"] == found["record"]["serial"]


@pytest.mark.parametrize(
    "change, kind_code",
    [({"issuer": "R11"}, "issuer_foreign"), ({"fields": fields_of("b.example.ac.jp")}, "name_differs")],
)
def test_another_certificate_is_replaced_at_once(store, key, change, kind_code):
    found = row(store, adopt=adopting(certificate(key, **change)))
    assert (found["state"], found["kind"], found["kind_reason_code"]) == ("pending", "server_issue", kind_code)
    assert found["record"]["serial"] is None


def test_an_adopted_certificate_with_ou_is_replaced_by_a_new_issue(store, key):
    issued = certificate(key, fields=fields_of(OU="Centre"))
    assert row(store, adopt=adopting(issued))["state"] == "live"
    found = row(store, adopt=adopting(issued), now=DUE)
    assert (found["state"], found["kind"], found["kind_reason_code"]) == ("renewing", "server_issue", "old_has_ou")


def test_the_real_certificate_is_renewed(store, shared):
    path = shared / "certs" / "leaf" / "shibbi-pki-itc-u-tokyo-ac-jp-g8-rsa.pem"
    subject = {"organization": "The University of Tokyo", "state": "Tokyo", "locality": "bunkyo-ku"}
    entry = wanted("shibbi.pki.itc.u-tokyo.ac.jp", current_certificate=str(path))
    found = row(store, entry, subject=subject, now=NOW - 60 * DAY)
    assert (found["state"], found["not_after"], found["days_left"]) == ("live", "2027-03-06T01:53:20Z", 164)
    assert "'bunkyo-ku'" in found["warnings"][0]["message"] and "'Bunkyo-ku'" in found["warnings"][0]["message"]
    found = row(store, entry, subject=dict(subject, locality="Bunkyo-ku"))
    assert (found["kind"], found["record"]["serial"]) == ("server_renew", str(0x645046227D5B43327E2C7B343DC2AB0D))


def test_a_file_that_is_not_there_stops_the_run(store, tmp_path):
    with pytest.raises(UpkiError) as caught:
        run(store, wanted("b.example.ac.jp"), wanted(current_certificate=str(tmp_path / "absent.pem")))
    assert caught.value.code == "current_certificate_missing"
    assert not os.path.exists(store)


def test_a_server_is_asked_once_a_run(store, key):
    asked = []

    def adopt(entry):
        asked.append(entry["name"])
        return None

    run(store, wanted(), wanted("b.example.ac.jp"), adopt=adopt)
    assert asked == [NAME, "b.example.ac.jp"]


# --- answer 212 ------------------------------------------------------------------------------------------


def test_answer_212_is_fed_back(store):
    first = row(store)
    entry = wanted(kind="server_renew", serial="64:50:46:22")
    planned = row(store, entry, check_mode=True)
    found = row(store, entry)
    for one in (planned, found):
        assert (one["changed"], one["action"], one["reason_code"]) == (True, "amend", "kind_given")
        assert (one["kind"], one["record"]["kind"], one["record"]["serial"]) == ("server_renew",) * 2 + ("1682982434",)
        assert one["csr"] == first["csr"]
    again = row(store, entry)
    assert (again["changed"], again["record"]) == (False, found["record"])
    assert (again["kind"], again["kind_reason_code"]) == ("server_renew", "kind_given")
    generation = Store(store).certificate(NAME).pending
    assert generation.meta["amended"] == [{"kind": "server_issue", "serial": None}]
    with open(generation.file("request.tsv"), "rb") as stream:
        assert _tsv.parse(stream.read(), "server_renew")[0][0]["serial"] == "1682982434"


def test_what_was_fed_back_is_used_once(store):
    entry = wanted(kind="server_renew", serial="12345")
    run(store, entry)
    make_live(store)
    found = row(store, entry)
    assert (found["state"], codes(found)) == ("live", ["kind_used"])
    found = row(store, entry, now=DUE)
    assert (found["kind"], found["record"]["serial"], codes(found)) == ("server_renew", found["serial"], ["kind_used"])


# --- everything or nothing -------------------------------------------------------------------------------


def test_a_fault_in_one_certificate_stops_all(store):
    with pytest.raises(UpkiError):
        run(store, wanted(), wanted("B.example.ac.jp"))
    assert not os.path.exists(store)


def test_a_record_that_fails_at_the_last_check_stops_all(store, monkeypatch):
    real = _tsv_record.check_record

    def failing(record, **more):
        if record["csr"] and record["fqdn"] == NAME:
            return [
                {"code": 202, "record": None, "item": "CSR", "value": "", "message": "Too long.", "fix": "Shorten."}
            ]
        return real(record, **more)

    monkeypatch.setattr(_tsv_record, "check_record", failing)
    with pytest.raises(UpkiError) as caught:
        run(store, wanted("b.example.ac.jp"), wanted())
    assert caught.value.code == "202"
    assert NAME in caught.value.message and keys(store) == {}


# --- check mode and diff ---------------------------------------------------------------------------------

SCENES = {
    "absent": (lambda store: None, NOW, wanted(dns_names=["b.example.ac.jp"])),
    "pending": (run, NOW, wanted()),
    "live": (live_store, NOW, wanted()),
    "due": (live_store, DUE, wanted()),
    "expired": (live_store, NOW + 300 * DAY, wanted()),
    "cancelled": (run, NOW, wanted(state="cancelled")),
    "fed back": (run, NOW, wanted(kind="server_renew", serial="1")),
}


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_check_mode_decides_as_the_real_run_and_changes_nothing(store, scene):
    prepare, now, entry = SCENES[scene]
    prepare(store)
    before = snapshot(store)
    planned = run(store, entry, now=now, check_mode=True)
    assert snapshot(store) == before
    done = run(store, entry, now=now)
    assert planned["changed"] == done["changed"]
    one, two = planned["certificates"][0], done["certificates"][0]
    new = done["changed"] and two["action"] == "request"
    made = {"csr", "spki_sha256", "generation"} if new else set()
    for name in set(one) - made - {"record"}:
        assert one[name] == two[name], name
    assert all(one[name] is None and two[name] for name in made)
    assert one["record"] == (dict(two["record"], csr=None) if new else two["record"])
    for key in ("before", "after"):
        text = done["diff"][key].replace(two["generation"] or "-", "(new)") if new else done["diff"][key]
        assert planned["diff"][key] == text


def test_the_diff_shows_parsed_fields(store):
    live_store(store, age=140)
    diff = run(store)["diff"]
    after = json.loads(diff["after"])[NAME]["pending"]
    assert json.loads(diff["before"]) == {NAME: {"pending": None}}
    assert (after["kind"], after["key_type"], after["subject"]["state"]) == ("server_renew", "p384", "Tokyo")
    assert after["old_serial"].isdigit()


# --- warnings --------------------------------------------------------------------------------------------


def test_names_that_resemble_well_known_services_are_warned_of(store):
    found = row(store, wanted("g00gle.example.ac.jp"))
    assert (found["state"], codes(found)) == ("pending", ["phishing_like"])


@pytest.mark.parametrize(
    "damage",
    [
        {"record": "x"},
        {"record": {"subject": "x"}},
        {"dns_names": 5},
        {"name": ["a"]},
        {"replaces": "x"},
        {"amended": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [{}, {"kind": "server_issue"}, {"state": "cancelled"}], ids=str)
def test_a_record_of_another_shape_is_named_and_no_traceback(store, damage, more):
    run(store)
    path = Store(store).certificate(NAME).pending.file("request.json")
    with open(path) as stream:
        meta = json.load(stream)
    with open(path, "w") as stream:
        json.dump(dict(meta, **damage), stream)
    with pytest.raises(UpkiError) as caught:
        run(store, wanted(**more))
    assert caught.value.code == "generation_broken"
    assert path in str(caught.value)

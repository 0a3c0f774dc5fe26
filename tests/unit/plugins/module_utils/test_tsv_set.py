# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shows only when records stand side by side, and what is no fault but worth a word."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tsv, _tsv_set
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import records as make

# --- a set of records ---------------------------------------------------------------------------------------


def set_codes(records, **options):
    return [(row["code"], row["record"]) for row in _tsv.examine_set(records, **options)[1]]


def test_a_correct_set():
    records = [make.named("a.example.ac.jp"), make.named("b.example.ac.jp"), make.record("server_revoke")]
    assert set_codes(records) == []


def test_the_same_key_twice():
    records = [make.named("a.example.ac.jp", label="k"), make.named("b.example.ac.jp", label="k")]
    assert set_codes(records) == [("key_twice", 2)]


def test_the_same_record_twice():
    assert set_codes([make.record(), make.record()]) == [("record_twice", 2)]


def test_the_same_dn_issued_twice_is_the_cas_212():
    records = [make.named("a.example.ac.jp", label="k1"), make.named("a.example.ac.jp", label="k2")]
    assert set_codes(records) == [(212, 2)]


def test_the_same_dn_renewed_twice_is_left_to_the_ca():
    records = [make.named("a.example.ac.jp", "server_renew", label=label, serial=label) for label in "12"]
    assert set_codes(records) == []


def test_a_known_old_key_is_refused():
    spki = _tsv.examine_set([make.record()])[0][0][1].csr["spki_sha256"]
    colons = ":".join(spki[at : at + 2] for at in range(0, 64, 2)).upper()
    for known in (spki, spki.upper(), colons):
        assert set_codes([make.record()], known_keys=["0" * 64, known]) == [("key_known", 1)]
    assert set_codes([make.record()], known_keys=["0" * 64]) == []


@pytest.mark.parametrize("known", ["", "abc", "x" * 64, "sha256:" + "0" * 64])
def test_a_known_key_that_is_no_fingerprint_is_an_error(known):
    with pytest.raises(UpkiError) as caught:
        _tsv.examine_set([make.record()], known_keys=[known])
    assert caught.value.code == "known_key_form"


def test_reason_1_needs_to_be_meant():
    records = [make.record("server_revoke", reason=1)]
    assert set_codes(records) == [("key_compromise", 1)]
    assert set_codes(records, confirmed=True) == []


def test_faults_come_in_the_order_of_the_records():
    records = [make.record(software=None), make.record("server_revoke", reason=9), make.record(serial=None)]
    assert [record for code, record in set_codes(records)] == [1, 2, 3, 3]


# --- notes --------------------------------------------------------------------------------------------------


def notes(*records):
    return [(row["code"], row["record"]) for row in _tsv.examine_set(records)[2]]


def test_no_notes_without_reason():
    assert notes(*[make.record(kind) for kind in make.KINDS]) == []


@pytest.mark.parametrize("key", ["manager_name", "manager_affiliation"])
@pytest.mark.parametrize("kind", make.KINDS)
def test_an_empty_manager_is_worth_a_word(key, kind):
    expected = [(key + "_empty", 1)] if make.mark(kind, key) != "—" else []
    assert notes(make.record(kind, **{key: None})) == expected


def test_a_name_like_a_service_is_worth_a_word():
    assert notes(make.named("google.example.ac.jp")) == [("phishing_like", 1)]
    assert notes(make.record(dns_names=["g00gle.example.ac.jp"])) == [("phishing_like", 1)]


def test_places_that_differ_within_an_organization_are_worth_a_word():
    other = dict(make.SUBJECT, state="Tokyo", common_name="b.example.ac.jp")
    changed = make.named("b.example.ac.jp", "server_revoke", serial="5")
    assert notes(make.record("server_revoke"), dict(changed, subject=other)) == [("place_differs", 2)]


def test_warnings_name_each_cause_once_with_its_records():
    rows = _tsv.examine_set([make.record(manager_name=None), make.named("b.example.ac.jp", manager_name=None)])[2]
    (text,) = _tsv_set.warnings(rows)
    assert text.endswith("(record 1, 2)")


def test_the_line_of_check_mode_is_unknown_without_a_csr():
    rows = _tsv.examine_set([make.record(csr=None), make.record("server_revoke")], without_csr=True)[0]
    assert [_tsv_set.final_line(row) is None for number, row in rows] == [True, False]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The refusals that need to know what was issued before."""

import copy

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as rules
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._practice_register import Register, check
from ansible_collections.campus.upki.tests.unit import applications as make

UEC = {"organization": make.UEC["O"], "state": "tokyo", "locality": "chofu"}
ISSUED = {
    "name": make.WWW,
    "kind": "server_issue",
    "subject": dict(make.UEC, CN=make.WWW),
    "status": "valid",
    "serial": "255",
    "serial_hex": "FF",
    "spki_sha256": _x509.spki_sha256(make.key("used").public_key()),
    "delivered": True,
}
ACCOUNT = {
    "name": make.WWW,
    "kind": "acme_create",
    "subject": dict(make.UEC, CN=make.WWW),
    "status": "active",
    "account": "practice-1",
}


@pytest.fixture
def register():
    found = Register("unused")
    found.certificates.append(copy.deepcopy(ISSUED))
    found.accounts.append(copy.deepcopy(ACCOUNT))
    return found


def faults(register, *rows, **options):
    dummy_kind, records, broken = rules.read(make.tsv(*rows), kind=options.get("kind"))
    assert broken == []
    found = check(records, register, options.get("institution", UEC))
    return [(row["code"], row["record"], row["item"].split(" (")[0]) for row in found]


def test_what_is_new_and_as_registered_is_accepted(register):
    assert faults(register, make.issue("new.example.ac.jp")) == []
    assert faults(register, make.renew(255)) == []
    assert faults(register, make.renew("0xFF")) == []
    assert faults(register, make.revoke(255)) == []


def test_issue_of_a_known_dn_is_212(register):
    assert faults(register, make.issue()) == [(212, 1, "主体者DN")]


def test_a_revoked_certificate_counts_as_well(register):
    register.certificates[0]["status"] = "revoked"
    assert faults(register, make.issue()) == [(212, 1, "主体者DN")]


def test_a_certificate_with_ou_does_not(register):
    register.certificates[0]["subject"]["OU"] = "Center"
    assert faults(register, make.issue()) == []


def test_another_dn_of_the_same_name_is_issued(register):
    register.certificates[0]["subject"]["O"] = "Former Name University"
    assert faults(register, make.issue()) == []


@pytest.mark.parametrize(
    "change, code",
    [({"state": "Tokyo"}, 215), ({"locality": "Chofu"}, 215), ({"organization": "UEC"}, "organization")],
)
def test_not_as_registered(register, change, code):
    found = faults(register, make.issue("new.example.ac.jp"), institution=dict(UEC, **change))
    assert found == [(code, 1, "主体者DN")]


def test_without_an_institution_nothing_is_compared(register):
    assert faults(register, make.issue("new.example.ac.jp"), institution={}) == []


@pytest.mark.parametrize("row, kind", [(make.renew(1), "server_renew"), (make.revoke(1), "server_revoke")])
def test_an_unknown_serial(register, row, kind):
    assert faults(register, row, kind=kind) == [("serial_unknown", 1, "失効対象証明書シリアル番号")]


def test_the_serial_of_another_name(register):
    row = make.renew(255, "new.example.ac.jp")
    assert faults(register, row) == [("serial_dn", 1, "失効対象証明書シリアル番号")]


def test_renewal_of_a_certificate_with_ou_must_be_an_issue(register):
    register.certificates[0]["subject"]["OU"] = "Center"
    assert faults(register, make.renew(255)) == [("serial_dn", 1, "失効対象証明書シリアル番号")]


def test_revoking_twice(register):
    register.certificates[0]["status"] = "revoked"
    assert faults(register, make.revoke(255)) == [("revoked", 1, "失効対象証明書シリアル番号")]


@pytest.mark.parametrize("row", [make.renew(255, label="used"), make.issue("new.example.ac.jp", "used")])
def test_a_used_key(register, row):
    assert faults(register, row) == [("key_reused", 1, "CSR")]


def test_twice_in_one_file(register):
    same_dn = [make.issue("new.example.ac.jp", "one"), make.issue("new.example.ac.jp", "two")]
    assert faults(register, *same_dn) == [(212, 2, "主体者DN")]
    same_key = [make.issue("one.example.ac.jp", "one"), make.issue("two.example.ac.jp", "one")]
    assert faults(register, *same_key) == [("key_reused", 2, "CSR")]
    assert faults(register, make.revoke(255), make.revoke(255)) == [("revoked", 2, "失効対象証明書シリアル番号")]


def test_acme(register):
    assert faults(register, make.acme_create("new.example.ac.jp")) == []
    assert faults(register, make.acme_create()) == [(212, 1, "主体者DN")]
    assert faults(register, make.acme_renew("practice-1")) == []
    assert faults(register, make.acme_renew("practice-2")) == [("account_unknown", 1, "ACME account ID")]
    assert faults(register, make.acme_renew("practice-1", "b.example.ac.jp")) == [("account_dn", 1, "ACME account ID")]
    assert faults(register, make.acme_suspend("practice-1")) == []
    assert faults(register, make.acme_revoke(1), kind="acme_revoke") == []


def test_a_suspended_account_does_not_stand_in_the_way(register):
    register.accounts[0]["status"] = "suspended"
    assert faults(register, make.acme_create()) == []


def test_acme_create_after_a_tsv_certificate(register):
    del register.accounts[:]
    assert faults(register, make.acme_create()) == []


def test_it_survives_the_disk(register, tmp_path):
    register.path = str(tmp_path / "register.json")
    register.save()
    assert Register.load(register.path).content == register.content
    assert (tmp_path / "register.json").stat().st_mode & 0o777 == 0o600


def test_none_on_disk_is_an_empty_one(tmp_path):
    assert Register.load(str(tmp_path / "register.json")).certificates == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', "\udcff"])
def test_what_is_no_register(tmp_path, text):
    (tmp_path / "register.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UpkiError) as caught:
        Register.load(str(tmp_path / "register.json"))
    assert caught.value.code == "practice_register_broken"


def test_lines_for_diff_mode(register):
    register.certificates.append(dict(ISSUED, serial=None))
    assert register.lines().splitlines() == [
        "255 www.example.ac.jp server_issue valid",
        "(new serial) www.example.ac.jp server_issue valid",
        "practice-1 www.example.ac.jp acme_create active",
    ]

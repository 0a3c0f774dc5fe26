# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an accepted record changes."""

import datetime

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_acts as acts
from ansible_collections.campus.upki.plugins.module_utils import _practice_ca, _x509
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as rules
from ansible_collections.campus.upki.plugins.module_utils._practice_register import Register
from ansible_collections.campus.upki.tests.unit import applications as make

NOW = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("ca"))
    _practice_ca.create(path, NOW)
    return path


def act(register, kind, row, issuer=None):
    dummy, (record,), faults = rules.read(make.tsv(row), kind=kind)
    assert faults == []
    return acts.ACTS[kind](record, register, issuer, NOW)


def test_every_kind_has_its_act():
    assert set(acts.ACTS) == set(rules.KINDS)


def test_issue_then_renew_then_revoke(folder):
    register, issuer = Register("unused"), _practice_ca.Issuer(folder, "g8", 198, 0, NOW)
    first = act(register, "server_issue", make.issue(c13="dNSName=b.example.ac.jp"), issuer)
    (certificate,) = _x509.certificates_from_pem(first["certificate"])
    assert first["serial"] == str(certificate.serial_number)
    assert int(first["serial_hex"], 16) == certificate.serial_number
    assert _x509.dns_names(certificate) == [make.WWW, "b.example.ac.jp"] == first["dns_names"]
    assert _x509.name_fields(certificate.subject) == make.subject()
    assert first["not_after"] == "2027-06-08T02:55:00Z"
    assert (first["replaces"], first["delivered"]) == (None, False)

    second = act(register, "server_renew", make.renew(first["serial"]), issuer)
    assert second["replaces"] == first["serial"] != second["serial"]
    assert [row["status"] for row in register.certificates] == ["valid", "valid"]  # renewing revokes nothing

    act(register, "server_revoke", make.revoke(first["serial"], c5="0", c6="交換済"))
    assert [row["status"] for row in register.certificates] == ["revoked", "valid"]
    assert first["revoked"] == {"at": "2026-11-22T03:00:00Z", "reason": 0, "comment": "交換済"}


def test_without_signing_the_dates_are_known(folder):
    issuer = _practice_ca.Issuer(folder, "g8", 198, 0, NOW, signs=False)
    entry = act(Register("unused"), "server_issue", make.issue(), issuer)
    assert (entry["serial"], entry["certificate"]) == (None, "")
    assert entry["not_after"] == "2027-06-08T02:55:00Z"


def test_acme_accounts():
    register = Register("unused")
    entry = act(register, "acme_create", make.acme_create())
    assert entry["account"].startswith("practice-")
    assert act(register, "acme_create", make.acme_create("b.example.ac.jp"))["account"] != entry["account"]
    act(register, "acme_renew", make.acme_renew(entry["account"], c13="dNSName=c.example.ac.jp"))
    assert entry["dns_names"] == [make.WWW, "c.example.ac.jp"]
    act(register, "acme_suspend", make.acme_suspend(entry["account"]))
    assert [row["status"] for row in register.accounts] == ["suspended", "active"]
    assert act(register, "acme_revoke", make.acme_revoke(1))["name"] == make.WWW
    assert register.certificates == []

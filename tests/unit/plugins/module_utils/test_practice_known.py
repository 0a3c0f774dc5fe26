# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of the real CA in the practice CA's register."""

import datetime
import pathlib

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as rules
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._practice_known import remember
from ansible_collections.campus.upki.plugins.module_utils._practice_register import Register, check
from ansible_collections.campus.upki.tests.unit import applications as make

NOW = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.timezone.utc)
HOST = "shibbi.pki.itc.u-tokyo.ac.jp"
TOKYO = {"O": "The University of Tokyo", "L": "Bunkyo-ku", "ST": "Tokyo"}


@pytest.fixture
def real(shared):
    return str(shared / "certs" / "leaf" / "shibbi-pki-itc-u-tokyo-ac-jp-g8-rsa.pem")


def test_a_real_certificate_is_entered_once(real):
    register = Register("unused")
    assert remember(register, [real], NOW) == register.certificates
    assert remember(register, [real], NOW) == []
    (entry,) = register.certificates
    assert (entry["name"], entry["kind"], entry["delivered"]) == (HOST, "known", True)


def test_pem_and_der_are_the_same(real, tmp_path):
    (certificate,) = _x509.certificates_from_pem(pathlib.Path(real).read_text())
    (tmp_path / "leaf.cer").write_bytes(_x509.der(certificate))
    register = Register("unused")
    assert len(remember(register, [real, str(tmp_path / "leaf.cer")], NOW)) == 1


def test_its_renewal_can_be_rehearsed_and_its_issue_is_212(real):
    register = Register("unused")
    remember(register, [real], NOW)
    dn, csr = make.dn(HOST, **TOKYO), make.body(make.request(make.subject(HOST, **TOKYO)))
    renewal = make.renew(register.certificates[0]["serial"], HOST, c1=dn, c7=csr)
    issue = make.issue(HOST, c1=dn, c7=csr)
    for row, codes in ((renewal, []), (issue, [212])):
        dummy, records, broken = rules.read(make.tsv(row))
        assert broken == []
        assert [fault["code"] for fault in check(records, register, {})] == codes


def test_a_ca_certificate_is_no_server_certificate(shared):
    path = str(shared / "certs" / "ca" / "nii-open-domain-ca-g8-rsa.pem")
    with pytest.raises(UpkiError) as caught:
        remember(Register("unused"), [path], NOW)
    assert caught.value.code == "practice_known"


@pytest.mark.parametrize("data", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate(tmp_path, data):
    (tmp_path / "x.cer").write_bytes(data)
    with pytest.raises(UpkiError):
        remember(Register("unused"), [str(tmp_path / "x.cer")], NOW)


def test_a_missing_file(tmp_path):
    with pytest.raises(UpkiError) as caught:
        remember(Register("unused"), [str(tmp_path / "x.cer")], NOW)
    assert "x.cer" in caught.value.message

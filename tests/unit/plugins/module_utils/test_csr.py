# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CSR of column 7."""

import base64

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _csr, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import records as make


def codes(pem, profile="11", subject=None):
    facts = _csr.read(_csr.column_text(pem))
    return make.codes(_csr.check(facts, subject or dict(make.SUBJECT, common_name=make.WWW), profile))


def test_pem_to_one_line_and_back():
    pem = make.csr_pem()
    text = _csr.column_text(pem)
    assert "\n" not in text and "-" not in text
    assert _csr.pem_text(text) == pem


@pytest.mark.parametrize("change", [
    lambda pem: pem.replace("\n", "\r\n"),
    lambda pem: "Certificate Request:\n    Data:\n" + pem,
    lambda pem: pem.replace("BEGIN CERT", "BEGIN NEW CERT").replace("END CERT", "END NEW CERT"),
    lambda pem: "".join(pem.split("-----")[2].split()),
    lambda pem: pem.split("-----")[2],
])  # fmt: skip
def test_comfortable_forms(change):
    assert _csr.column_text(change(make.csr_pem())) == _csr.column_text(make.csr_pem())


@pytest.mark.parametrize("text, code", [
    ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "csr_broken"),
    (make.csr_pem() + make.csr_pem(label="b"), "csr_broken"),
    ("x\n-----BEGIN CERTIFICATE REQUEST-----\nA*A\n-----END CERTIFICATE REQUEST-----\n", "pem_broken"),
    ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "pem_broken"),
])  # fmt: skip
def test_what_is_no_csr(text, code):
    with pytest.raises(UpkiError) as caught:
        _csr.column_text(text)
    assert caught.value.code == code


@pytest.mark.parametrize("text, code", [
    ("AAAA", "csr_broken"), ("not base64!", "csr_form"), ("日本", "csr_form"), ("MIIB", "csr_broken"),
])  # fmt: skip
def test_what_cannot_be_read(text, code):
    with pytest.raises(UpkiError) as caught:
        _csr.read(text)
    assert caught.value.code == code


def test_a_correct_csr_has_no_fault():
    assert codes(make.csr_pem()) == []
    assert codes(make.csr_pem(label="r", kind="rsa2048", hash_name="sha256"), "3") == []
    assert codes(make.csr_pem(order="CN,O,L,ST,C")) == []


def test_no_text_that_is_allowed_in_the_dn_is_lost_in_the_csr():
    organization = "A, B=C (d)"
    pem = make.csr_pem(O=organization)
    assert codes(pem, subject=dict(make.SUBJECT, organization=organization, common_name=make.WWW)) == []


@pytest.mark.parametrize("options, profile, expected", [
    ({"kind": "p256", "hash_name": "sha256"}, "11", ["csr_key"]),
    ({"kind": "rsa1024", "hash_name": "sha256"}, "3", ["csr_key"]),
    ({"kind": "rsa3072", "hash_name": "sha256"}, "3", ["csr_key"]),
    ({"kind": "rsa2048", "hash_name": "sha512"}, "3", ["csr_hash"]),
    ({"kind": "p384", "hash_name": "sha256"}, "11", ["csr_hash"]),
    ({"kind": "rsa2048", "hash_name": "sha256"}, "11", ["profile_differs"]),
    ({"san": make.WWW}, "11", ["csr_extensions"]),
    ({"order": "C,ST,L,O,OU,CN", "OU": "Center"}, "11", [371]),
    ({"order": "C,ST,L,O,CN,emailAddress", "emailAddress": "a@b.jp"}, "11", [206]),
    ({"order": "C,O,CN"}, "11", ["csr_order"]),
    ({"name": "other.example.ac.jp"}, "11", ["csr_subject"]),
    ({"ST": "Tokyo"}, "11", ["csr_subject"]),
    ({"L": "Chofu", "ST": "Tokyo"}, "11", ["csr_subject", "csr_subject"]),
])  # fmt: skip
def test_each_fault(options, profile, expected):
    assert codes(make.csr_pem(**dict({"label": "f"}, **options)), profile) == expected


def test_a_signature_by_another_key_is_refused():
    column = _csr.column_text(make.csr_pem())
    der = bytearray(base64.b64decode(column))
    der[-1] ^= 1
    assert _csr.read(base64.b64encode(bytes(der)).decode("ascii"))["signature_holds"] is False
    facts = dict(_csr.read(column), signature_holds=False)
    assert make.codes(_csr.check(facts, None, "11")) == ["csr_signature"]


def test_messages_name_both_sides():
    facts = _csr.read(_csr.column_text(make.csr_pem(ST="Tokyo")))
    (row,) = _csr.check(facts, dict(make.SUBJECT, common_name=make.WWW), "11")
    assert row["message"] == "The CSR says ST=Tokyo, the DN says ST=tokyo."


@pytest.mark.parametrize(
    "kind, hash_name", [("p384", "sha384"), ("rsa2048", "sha256"), ("p256", "sha256"), ("rsa3072", "sha256")]
)
def test_facts_equal_those_of_the_library(kind, hash_name):
    """What is read at a glance equals what cryptography says."""
    for options in ({}, {"san": make.WWW}, {"O": "大学"}, {"order": "C,ST,L,O,OU,CN", "OU": "x" * 64}):
        pem = make.csr_pem(label="g", kind=kind, hash_name=hash_name, **options)
        request = _x509.request_from_pem(pem)
        facts = _csr.read(_csr.column_text(pem))
        assert facts == {
            "fields": _x509.name_fields(request.subject),
            "key_type": _x509.key_type(request.public_key()),
            "spki_sha256": _x509.spki_sha256(request.public_key()),
            "hash": _x509.signature_hash(request),
            "signature_holds": True,
            "extensions": _x509.request_has_extensions(request),
        }

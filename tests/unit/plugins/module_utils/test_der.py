# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The glance at a CSR: right, or None where the CSR is not ordinary. test_csr.py compares it with the library."""

import base64

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _csr, _der, _x509
from ansible_collections.campus.upki.tests.unit import records as make


def parts(**options):
    return _der.request_parts(base64.b64decode(_csr.column_text(make.csr_pem(label="d", **options))))


def test_the_parts_of_a_csr():
    names, key_info, attributes, algorithm = parts()
    assert _der.fields(names) == [(name, make.FIELDS[name]) for name in ("C", "ST", "L", "O", "CN")]
    assert key_info == _x509.spki_der(make.key("d", "p384").public_key())
    assert _der.HASHES[algorithm] == "sha384"
    assert attributes[:1] == b"\xa0"


@pytest.mark.parametrize(
    "kind, expected", [("rsa2048", "rsa2048"), ("p384", "p384"), ("p256", None), ("rsa3072", None), ("rsa1024", None)]
)
def test_only_the_two_key_types_are_known(kind, expected):
    assert _der.key_type(_x509.spki_der(make.key("d", kind).public_key())) == expected


@pytest.mark.parametrize("change", [
    lambda info: info[:-1],
    lambda info: info + b"\x00",
    lambda info: info[:5] + bytes([info[5] ^ 1]) + info[6:],
    lambda info: info[:-1] + b"\x03",
    lambda info: info[:33] + b"\x7f" + info[34:],
])  # fmt: skip
def test_a_key_that_is_not_exactly_of_the_form_is_not_known(change):
    assert _der.key_type(change(_x509.spki_der(make.key("d", "rsa2048").public_key()))) is None


@pytest.mark.parametrize("relative_name, expected", [
    ("310b3009060355040613024a50", ("C", "JP")),
    ("310c300a06035504030c03e5a4a7", ("CN", "大")),
    ("310c300a060355040a13034f2c3d", ("O", "O,=")),
    ("310b3009060355040616024a50", None),  # IA5String
    ("310b300906035504051302" + "4a50", None),  # serialNumber
    ("310b30090603550406130" + "2e5a4", None),  # not ASCII
    ("311630090603550406130" + "24a50" + "30090603550406130" + "24a50", None),  # two values in one
    ("310d300b0603550406130" + "24a50" + "0500", None),  # something after the value
])  # fmt: skip
def test_relative_names(relative_name, expected):
    assert _der.field(bytes.fromhex(relative_name)) == expected


def test_one_strange_name_sends_all_the_long_way():
    good, strange = bytes.fromhex("310b3009060355040613024a50"), bytes.fromhex("310b30090603550406160" + "24a50")
    assert _der.fields([good]) == [("C", "JP")]
    assert _der.fields([good, strange]) is None


def test_a_long_value_with_a_long_length():
    names = parts(O="x" * 64, ST="あ" * 60)[0]
    assert dict(_der.fields(names))["ST"] == "あ" * 60

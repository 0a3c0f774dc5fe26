# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From observations, made by hand here, to results."""

import datetime
from unittest import mock

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _judge, _lifecycle, _verify
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root")
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME)


def observed(*chain, **changes):
    seen = {
        "host": NAME,
        "port": 443,
        "server_name": NAME,
        "starttls": None,
        "address": "192.0.2.7",
        "error": None,
        "trusted": True,
        "verify_text": "",
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "seconds": 10,
        "chain": [one if isinstance(one, bytes) else pki.der(one) for one in chain],
        "whole_chain": True,
    }
    return dict(seen, **changes)


def judged(*chain, **options):
    wanted = options.pop("wanted", {})
    around = _judge.Surroundings(
        _verify.Anchors(pki.pem(ROOT.certificate)),
        "roots.pem",
        _verify.known_cards([]),
        options.pop("now", pki.NOW),
        _lifecycle.parse_renew_before(options.pop("warn_before", "1/3")),
    )
    return _judge.judge(observed(*chain, **options), wanted, around)


def codes(*chain, **options):
    return [row["code"] for row in judged(*chain, **options)["findings"]]


def sentence(code, *chain, **options):
    findings = judged(*chain, **options)["findings"]
    assert [row["code"] for row in findings] == [code]
    return findings[0]["message"]


def issued(**shape):
    """A chain of a leaf made with other arguments."""
    return [SUB.issue(shape.pop("cn", NAME), **shape), SUB.certificate]


def test_all_is_well():
    result = judged(LEAF, SUB.certificate)
    assert result["findings"] == [] and result["ok"] is True
    assert result["days_left"] == 197
    assert result["certificate"]["dns_names"] == [NAME]
    assert result["certificate"]["serial"] == str(LEAF.serial_number)
    assert result["certificate"]["key_type"] == "p384"
    assert [row["role"] for row in result["chain"]] == ["leaf", "intermediate"]
    assert result["tls_version"] == "TLSv1.3" and result["address"] == "192.0.2.7"


# --- connection ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "name_not_resolved",
        "connection_refused",
        "host_unreachable",
        "timeout",
        "not_tls",
        "handshake_failed",
        "connection_closed",
        "old_protocol",
    ],
)
def test_a_failed_connection_is_the_only_finding(code):
    error = {"code": code, "phase": "TLS handshake", "text": "reason"}
    result = judged(error=error, trusted=None, version=None, cipher=None)
    assert [row["code"] for row in result["findings"]] == [code]
    assert NAME in result["findings"][0]["message"]
    assert result["certificate"] is None and result["chain"] == [] and result["days_left"] is None
    assert result["ok"] is False


def test_a_handshake_refused_without_a_name():
    error = {"code": "handshake_failed", "phase": "TLS handshake", "text": "unrecognized name"}
    assert codes(error=error, server_name="192.0.2.7", host="192.0.2.7", version=None) == ["sni_required"]
    assert codes(error=error, version=None) == ["handshake_failed"]


def test_old_protocol():
    assert "TLSv1.1" in sentence("old_protocol", LEAF, SUB.certificate, version="TLSv1.1")
    assert codes(LEAF, SUB.certificate, version="TLSv1.2") == []


def test_an_address_is_written_in_brackets():
    error = {"code": "timeout", "phase": "connection", "text": ""}
    (row,) = judged(error=error, host="2001:db8::1", version=None)["findings"]
    assert "[2001:db8::1]:443" in row["message"] and "10 seconds" in row["message"]


# --- dates ---------------------------------------------------------------------------------------------------


def test_expired():
    text = sentence("expired", *issued(start=pki.NOW - pki.days(200), end=pki.NOW - pki.days(3)), trusted=False)
    assert "3 days ago, on 2026-11-19" in text


def test_an_expired_certificate_has_negative_days():
    assert judged(*issued(start=pki.NOW - pki.days(200), end=pki.NOW - pki.days(3)))["days_left"] == -3


def test_not_yet_valid():
    text = sentence("not_yet_valid", *issued(start=pki.NOW + pki.days(1), end=pki.NOW + pki.days(90)), trusted=False)
    assert "2026-11-23 03:00 UTC" in text


def test_expires_soon_by_fraction_and_by_days():
    chain = issued(start=pki.NOW - pki.days(140), end=pki.NOW + pki.days(58))
    assert "58 days, on 2027-01-19; the warning starts at 2026-11-14" in sentence("expires_soon", *chain)
    assert codes(*chain, warn_before="1/4") == []
    assert codes(*chain, warn_before="57d") == []
    assert codes(*chain, warn_before="58d") == ["expires_soon"]
    assert judged(*chain)["ok"] is True


@pytest.mark.parametrize(
    "start, days, expected",
    [
        ((2026, 3, 15), 200, []),
        ((2026, 3, 15), 201, ["lifetime_too_long"]),
        ((2026, 3, 14), 398, []),
        ((2026, 3, 14), 399, ["lifetime_too_long"]),
        ((2027, 3, 14), 200, []),
        ((2027, 3, 15), 101, ["lifetime_too_long"]),
        ((2029, 3, 15), 47, []),
        ((2029, 3, 15), 48, ["lifetime_too_long"]),
        ((2020, 8, 31), 800, []),
    ],
)
def test_lifetime_by_day_of_issue(start, days, expected):
    start = datetime.datetime(*start, tzinfo=pki.UTC)
    end = start + pki.days(days) - datetime.timedelta(seconds=1)
    chain = issued(start=start, end=end)
    found = codes(*chain, now=start + pki.days(1))
    assert [code for code in found if code == "lifetime_too_long"] == expected


@pytest.mark.parametrize("start, days, bad", [((2026, 3, 4), 198, False), ((2026, 3, 4), 199, True)])
def test_lifetime_of_upki_certificates(start, days, bad):
    authority = pki.CA("NII Open Domain CA - G8 RSA", issuer=ROOT)
    start = datetime.datetime(*start, tzinfo=pki.UTC)
    leaf = authority.issue(NAME, start=start, end=start + pki.days(days))
    found = codes(leaf, authority.certificate, now=start + pki.days(1))
    assert ("lifetime_too_long" in found) is bad


# --- names ---------------------------------------------------------------------------------------------------


def test_name_mismatch():
    text = sentence("name_mismatch", *issued(names=["other.example.ac.jp"]))
    assert "'other.example.ac.jp'" in text and "'{0}'".format(NAME) in text


def test_the_common_name_does_not_count():
    assert codes(*issued(names=[])) == ["name_mismatch"]


def test_names_missing():
    wanted = {"dns_names": [NAME, "test.example.ac.jp"]}
    text = sentence("names_missing", LEAF, SUB.certificate, wanted=wanted)
    assert "'test.example.ac.jp'" in text
    assert codes(*issued(names=[NAME, "test.example.ac.jp"]), wanted=wanted) == []


# --- purpose and strength ------------------------------------------------------------------------------------


def test_unexpected_certificate():
    text = sentence("unexpected_certificate", LEAF, SUB.certificate, wanted={"certificate_sha256": "0" * 64})
    assert "0" * 64 in text and str(LEAF.serial_number) in text
    digest = judged(LEAF, SUB.certificate)["certificate"]["sha256"]
    assert codes(LEAF, SUB.certificate, wanted={"certificate_sha256": digest}) == []


def test_wrong_eku():
    assert "clientAuth" in sentence("wrong_eku", *issued(usages=(pki.CLIENT,)), trusted=False)


@pytest.mark.parametrize(
    "issuer, unit, expected",
    [
        ("NII Open Domain CA - G7 RSA", "Lab", True),
        ("NII Open Domain CA - G7 RSA", "", False),
        ("Another CA", "Lab", False),
    ],
)
def test_ou_of_a_upki_certificate(issuer, unit, expected):
    leaf = {"issuer": "C=JP, CN=" + issuer, "certificate": LEAF}
    fields = {"OU": unit}
    with mock.patch.object(_judge._x509, "name_value", lambda name, field: fields[field]):
        found = _judge._unit(leaf)
    assert [row["code"] for row in found] == (["ou_in_subject"] if expected else [])


def test_ca_certificate():
    assert codes(*issued(ca=True)) == ["ca_certificate"]


def test_weak_key_of_the_leaf():
    weak = pki.key("weak", "rsa1024").public_key()
    assert "rsa1024" in sentence("weak_key", *issued(public_key=weak))
    assert codes(*issued(public_key=pki.key("strong", "rsa2048").public_key())) == []


def test_weak_key_of_the_intermediate():
    weak = pki.CA("Weak Sub", issuer=ROOT, kind="rsa1024")
    assert "Weak Sub" in sentence("weak_key", weak.issue(NAME), weak.certificate)


@pytest.mark.parametrize("oid, word", [(b"\x05", "sha1"), (b"\x04", "md5")])
def test_weak_signature(oid, word):
    """New libraries do not sign so any more: the algorithm's identifier is exchanged, and the signature breaks."""
    authority = pki.CA("RSA Sub", issuer=ROOT, kind="rsa2048")
    sha256 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"
    der = pki.der(authority.issue(NAME)).replace(sha256, sha256[:-1] + oid)
    findings = judged(der, authority.certificate)["findings"]
    assert [row["code"] for row in findings if word in row["message"]] == ["weak_signature"]


def test_self_signed_and_not_a_ca():
    alone = pki.CA(NAME, label="alone", ca=False)
    assert "self_signed" in codes(alone.certificate, trusted=False)


# --- chain ---------------------------------------------------------------------------------------------------


def test_chain_findings_are_part_of_the_result():
    assert codes(LEAF, trusted=False) == ["chain_incomplete"]


def test_openssl_s_refusal_is_never_lost():
    text = sentence("untrusted_root", LEAF, SUB.certificate, trusted=False, verify_text="path length exceeded")
    assert "path length exceeded" in text and "roots.pem" in text
    assert codes(*issued(names=[]), trusted=False) == ["name_mismatch", "untrusted_root"]


def test_openssl_s_refusal_is_not_repeated_where_a_finding_explains_it():
    assert codes(*issued(start=pki.NOW - pki.days(200), end=pki.NOW - pki.days(3)), trusted=False) == ["expired"]


def test_an_older_python_sees_the_leaf_alone_and_says_so():
    assert codes(LEAF, whole_chain=False) == ["chain_unknown"]
    assert codes(LEAF, whole_chain=False, trusted=False, verify_text="unable to get local issuer certificate") == [
        "chain_unknown",
        "untrusted_root",
    ]


@pytest.mark.parametrize("junk", [b"", b"\x30\x80", b"\x30\x03\x02\x01", b"A" * 5000, b"\x30" * 2000])
def test_unreadable_certificates(junk):
    result = judged(junk, trusted=False)
    assert [row["code"] for row in result["findings"]] == ["certificate_unreadable"]
    assert result["certificate"] is None
    found = codes(LEAF, SUB.certificate, junk)
    assert found == ["certificate_unreadable"]

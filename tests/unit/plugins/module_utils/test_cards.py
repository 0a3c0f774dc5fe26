# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as plain dicts, and who issued whom."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _cards, _catalogue, _x509
from ansible_collections.campus.upki.tests.unit import pki

ROOT = pki.CA("Some Root")
CROSS = pki.CA("New Root", issuer=ROOT)
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue("www.example.ac.jp")


def test_a_card():
    row = _cards.card(SUB.certificate, "ca.pem")
    assert row["sha256"] == _x509.sha256(SUB.certificate) and row["file"] == "ca.pem"
    assert (row["ca"], row["root"], row["cross"], row["generation"]) == (True, False, False, "")
    assert _cards.label(row) == "Sub" and _cards.issuer_label(row) == "Some Root"


def test_roots_and_cross_certificates_are_told_apart():
    assert _cards.card(ROOT.certificate)["root"] and not _cards.card(ROOT.certificate)["cross"]
    assert _cards.card(CROSS.certificate)["cross"] and not _cards.card(CROSS.certificate)["root"]


def test_issues():
    leaf, sub, root = (_cards.card(one) for one in (LEAF, SUB.certificate, ROOT.certificate))
    assert _cards.issues(sub, leaf) and _cards.issues(root, sub)
    assert not _cards.issues(root, leaf) and not _cards.issues(leaf, sub)
    impostor = _cards.card(pki.CA("Sub", issuer=ROOT, label="impostor").certificate)
    assert not _cards.issues(dict(impostor, key_id=sub["key_id"]), leaf)


def test_signatures_are_computed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(_cards, "_SIGNATURES", {})
    monkeypatch.setattr(_cards, "MOST_SIGNATURES", 2)
    monkeypatch.setattr(_x509, "signed_by", lambda certificate, key: calls.append(certificate) or True)
    leaves = [_cards.card(SUB.issue("w{0}.example".format(number))) for number in range(3)]
    sub = _cards.card(SUB.certificate)
    for leaf in leaves + leaves[2:]:
        assert _cards.issues(sub, leaf)
    assert len(calls) == 3 and len(_cards._SIGNATURES) <= 2


def test_what_openssl_verified_is_not_reckoned_again(monkeypatch):
    calls = []
    monkeypatch.setattr(_cards, "_SIGNATURES", {})
    monkeypatch.setattr(_x509, "signed_by", lambda certificate, key: calls.append(certificate) or False)
    leaf, sub, root = (_cards.card(one) for one in (LEAF, SUB.certificate, ROOT.certificate))
    del calls[:]
    _cards.believe([pki.der(LEAF), pki.der(SUB.certificate), pki.der(ROOT.certificate)])
    assert _cards.issues(sub, leaf) and _cards.issues(root, sub) and calls == []
    assert not _cards.issues(
        _cards.card(pki.CA("Sub", ROOT).certificate), leaf
    )  # the same name and key, and not the same
    assert calls


def test_believing_is_bounded(monkeypatch):
    monkeypatch.setattr(_cards, "_SIGNATURES", {})
    monkeypatch.setattr(_cards, "MOST_SIGNATURES", 10)
    for number in range(50):
        _cards.believe([b"leaf %d" % number, b"sub", b"root"])
        assert len(_cards._SIGNATURES) < 10


def test_the_catalogue_s_cards_are_compared_by_key_identifier():
    known = _cards.known_cards()
    assert len(known) == sum(1 for row in _catalogue.ROWS if row["role"] != "root")
    g8 = next(row for row in known if row["generation"] == "G8" and "RSA" in row["subject"])
    cross = next(row for row in known if row["cross"] and "RSA" in row["subject"])
    assert _cards.issues(cross, g8) and not _cards.issues(g8, cross)
    assert _cards.label(g8) == "NII Open Domain CA - G8 RSA" and _cards.label(cross) == "SECOM TLS RSA Root CA 2024"
    assert not _cards.widely_trusted_issuer(g8) and _cards.widely_trusted_issuer(cross)


@pytest.mark.parametrize(
    "row, file, words",
    [
        ({"file": "/x/ca.pem", "url": "u"}, "'Sub'", "at hand as /x/ca.pem"),
        ({"file": "", "url": "https://h.example/d/ca.cer"}, "ca.cer", "https://h.example/d/ca.cer"),
        ({"file": "", "url": ""}, "'Sub'", "fingerprint"),
    ],
)
def test_origin(row, file, words):
    what, source = _cards.origin(dict(_cards.card(SUB.certificate), **row))
    assert what == file and words in source and _x509.sha256(SUB.certificate) in source

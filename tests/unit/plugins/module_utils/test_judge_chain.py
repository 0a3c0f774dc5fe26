# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Served chains: small ones made here, and the two real server certificates with right and wrong chains."""

import datetime

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _cards, _judge_chain, _verify, _x509
from ansible_collections.campus.upki.tests.unit import pki

OLD = pki.CA("Old Root")
NEW = pki.CA("New Root 2024")
CROSS = pki.CA("New Root 2024", issuer=OLD)
SUB = pki.CA("Sub G8", issuer=NEW)
FORMER = pki.CA("Sub G7", issuer=OLD)
LEAF = SUB.issue("www.example.ac.jp")
GOOD = [LEAF, SUB.certificate, CROSS.certificate]
STRANGER = pki.CA("Stranger", issuer=pki.CA("Strange Root")).certificate


def judged(served, roots=(OLD,), known=(SUB, CROSS), now=pki.NOW, accepted=None):
    """Findings; roots and known are CAs of this file, or certificates."""
    pem = pki.pem(*[getattr(one, "certificate", one) for one in roots])
    known = [_cards.card(getattr(one, "certificate", one), "known.pem") for one in known] + _cards.known_cards()
    cards = [_cards.card(one) for one in served]
    return _judge_chain.judge(_judge_chain.Chain(cards, _verify.Anchors(pem), known, now, "roots.pem"), accepted)


def codes(*arguments, **options):
    return [row["code"] for row in judged(*arguments, **options)]


def the_one(code, *arguments, **options):
    """The only finding, of which the test goes on to read the sentences."""
    findings = judged(*arguments, **options)
    assert [row["code"] for row in findings] == [code]
    return findings[0]


def test_a_right_chain_has_no_finding():
    assert codes(GOOD) == []
    assert codes(GOOD, roots=(OLD, NEW)) == []
    assert codes([FORMER.issue("a.example.ac.jp"), FORMER.certificate]) == []


def test_a_right_chain_is_right_where_only_the_new_root_is_trusted():
    assert codes(GOOD, roots=(NEW,)) == []


# --- missing -------------------------------------------------------------------------------------------------


def test_missing_intermediate_names_the_file_and_its_digest():
    incomplete, cross = judged([LEAF])
    assert incomplete["code"] == "chain_incomplete" and "Sub G8" in incomplete["message"]
    assert "known.pem" in incomplete["fix"] and _x509.sha256(SUB.certificate) in incomplete["fix"]
    assert cross["code"] == "cross_missing" and _x509.sha256(CROSS.certificate) in cross["fix"]


def test_missing_intermediate_that_nobody_knows_names_the_issuer_and_its_key():
    row = the_one("chain_incomplete", [LEAF], known=())
    assert "Sub G8" in row["message"] and _x509.authority_key_id(LEAF) in row["fix"]


def test_missing_intermediate_beside_the_cross_asks_for_the_intermediate_alone():
    assert codes([LEAF, CROSS.certificate]) == ["extra_certificates", "chain_incomplete"]


def test_cross_missing():
    row = the_one("cross_missing", [LEAF, SUB.certificate])
    assert "Old Root" in row["message"] and "Debian 12" in row["message"] and "Chrome" in row["message"]
    assert _x509.sha256(CROSS.certificate) in row["fix"]


def test_cross_missing_is_said_also_where_this_store_knows_the_new_root():
    assert codes([LEAF, SUB.certificate], roots=(OLD, NEW)) == ["cross_missing"]
    assert codes([LEAF, SUB.certificate], roots=(OLD, NEW), accepted=True) == ["cross_missing"]


def test_an_ended_cross_certificate_is_not_asked_for():
    ended = pki.CA("New Root 2024", issuer=OLD, end=pki.NOW - pki.days(1))
    assert codes([LEAF, SUB.certificate], roots=(NEW,), known=(SUB, ended)) == []


def test_untrusted_root():
    row = the_one("untrusted_root", [LEAF, SUB.certificate], known=())
    assert "New Root 2024" in row["message"] and "roots.pem" in row["message"]


def test_openssl_has_the_last_word_where_our_own_search_finds_no_way():
    assert codes([LEAF, SUB.certificate], known=(), accepted=True) == []


def test_self_signed():
    alone = pki.CA("www.example.ac.jp", label="alone", usages=(pki.SERVER,)).certificate
    assert codes([alone]) == ["self_signed"]
    assert codes([alone], roots=(alone,)) == []


# --- wrong ---------------------------------------------------------------------------------------------------


def test_intermediate_of_another_generation():
    findings = judged([LEAF, FORMER.certificate])
    assert [row["code"] for row in findings] == ["wrong_intermediate", "cross_missing"]
    assert "Sub G7" in findings[0]["message"] and "Sub G8" in findings[0]["message"]
    assert _x509.sha256(SUB.certificate) in findings[0]["fix"]


def test_same_name_with_another_key():
    namesake = pki.CA("Sub G8", issuer=NEW, label="another key")
    wrong = judged([LEAF, namesake.certificate])[0]
    assert wrong["code"] == "wrong_intermediate" and "another key" in wrong["message"]
    assert _x509.subject_key_id(namesake.certificate) in wrong["message"]
    assert _x509.authority_key_id(LEAF) in wrong["message"]


def test_same_name_with_another_key_above_the_intermediate():
    namesake = pki.CA("New Root 2024", issuer=OLD, label="another key above")
    assert codes([LEAF, SUB.certificate, namesake.certificate]) == ["wrong_intermediate"]


def test_reissue_for_clients_only():
    clients = pki.CA("Sub G8", issuer=NEW, usages=(pki.CLIENT,))
    row = the_one("wrong_intermediate", [LEAF, clients.certificate, CROSS.certificate])
    assert "clientAuth" in row["message"] and _x509.sha256(SUB.certificate) in row["fix"]


def test_expired_member_with_and_without_a_known_reissue():
    ended = pki.CA("Sub G8", issuer=NEW, end=pki.NOW - pki.days(2))
    row = the_one("chain_expired", [LEAF, ended.certificate, CROSS.certificate])
    assert _x509.sha256(SUB.certificate) in row["fix"] and "2026-11-20" in row["message"]
    row = the_one("chain_expired", [LEAF, ended.certificate, CROSS.certificate], known=())
    assert "Sub G8" in row["message"]


def test_the_valid_one_of_two_reissues_counts():
    ended = pki.CA("Sub G8", issuer=NEW, end=pki.NOW - pki.days(2))
    assert codes([LEAF, ended.certificate, SUB.certificate, CROSS.certificate]) == []


def test_an_expired_root_ends_no_chain():
    ended = pki.CA("Old Root", end=pki.NOW - pki.days(2))
    assert codes(GOOD, roots=(ended,)) == ["untrusted_root"]


# --- shape ---------------------------------------------------------------------------------------------------


def test_wrong_order():
    assert codes([LEAF, CROSS.certificate, SUB.certificate], roots=(NEW,)) == ["chain_order"]
    row = the_one("chain_order", [LEAF, CROSS.certificate, SUB.certificate])
    assert "'www.example.ac.jp' → 'Sub G8' → 'New Root 2024'" in row["message"]


def test_duplicate():
    row = the_one("chain_duplicate", [LEAF, SUB.certificate, CROSS.certificate, SUB.certificate])
    assert "2 times (places 2, 4)" in row["message"]


def test_root_included():
    row = the_one("root_included", GOOD + [OLD.certificate])
    assert "Old Root" in row["message"]


def test_extra_certificate():
    row = the_one("extra_certificates", GOOD + [STRANGER])
    assert "1 certificate " in row["message"] and "Stranger" in row["message"]


def test_many_certificates_of_one_name_end_the_search_in_time():
    crowd = [pki.CA("Sub", issuer=pki.CA("Sub")).certificate for _one in range(60)]
    leaf = pki.CA("Sub").issue("www.example.ac.jp")
    started = datetime.datetime.now()
    assert "untrusted_root" in codes([leaf] + crowd, known=())
    assert datetime.datetime.now() - started < datetime.timedelta(seconds=20)


# --- the real certificates -----------------------------------------------------------------------------------

REAL_NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def real(shared):
    def read(name):
        (found,) = _x509.certificates_from_pem((shared / "certs" / name).read_text(encoding="ascii"))
        return found

    return read


G7_LEAF = "leaf/shibbi-pki-itc-u-tokyo-ac-jp-g7-rsa.pem"
G8_LEAF = "leaf/shibbi-pki-itc-u-tokyo-ac-jp-g8-rsa.pem"
G7 = "ca/nii-open-domain-ca-g7-rsa.pem"
G8 = "ca/nii-open-domain-ca-g8-rsa.pem"
G8_CROSS = "ca/secom-tls-rsa-root-ca-2024-cross-by-security-communication-rootca2.pem"
ROOT_2024 = "ca/secom-tls-rsa-root-ca-2024-root.pem"
ROOT2 = "ca/security-communication-rootca2-root.pem"
BOTH = (ROOT2, ROOT_2024)


@pytest.mark.parametrize(
    "served, roots, expected",
    [
        ((G8_LEAF, G8, G8_CROSS), (ROOT2,), []),
        ((G8_LEAF, G8, G8_CROSS), BOTH, []),
        ((G8_LEAF, G8, G8_CROSS), (ROOT_2024,), []),
        ((G7_LEAF, G7), (ROOT2,), []),
        ((G8_LEAF, G8), (ROOT2,), ["cross_missing"]),
        ((G8_LEAF, G8), BOTH, ["cross_missing"]),
        ((G8_LEAF, G7), (ROOT2,), ["wrong_intermediate", "cross_missing"]),
        ((G8_LEAF, G7, G8_CROSS), (ROOT2,), ["wrong_intermediate"]),
        ((G8_LEAF,), (ROOT2,), ["chain_incomplete", "cross_missing"]),
        ((G7_LEAF,), (ROOT2,), ["chain_incomplete"]),
        ((G7_LEAF, G8, G8_CROSS), (ROOT2,), ["wrong_intermediate"]),
        ((G8_LEAF, G8_CROSS, G8), (ROOT2,), ["chain_order"]),
        ((G8_LEAF, G8, G8_CROSS, ROOT2), (ROOT2,), ["root_included"]),
        ((G8_LEAF, G8, ROOT_2024), (ROOT2,), ["root_included", "cross_missing"]),
        ((G8_LEAF, G8, G8_CROSS, G7), (ROOT2,), ["extra_certificates"]),
    ],
)
def test_real_chains(real, served, roots, expected):
    certificates = [real(name) for name in served]
    assert codes(certificates, [real(name) for name in roots], known=(), now=REAL_NOW) == expected


def test_the_real_files_are_named_with_address_and_digest(real):
    intermediate, cross = judged([real(G8_LEAF), real(G7)], [real(ROOT2)], known=(), now=REAL_NOW)
    assert "nii-odca4g8rsa-pem.cer" in intermediate["fix"] and "https://repo1.secomtrust.net/" in intermediate["fix"]
    assert _x509.sha256(real(G8)) in intermediate["fix"]
    assert "https://repository.secomtrust.net/SC-Root2/tlsrsarootca2024cross-pem.cer" in cross["fix"]
    assert _x509.sha256(real(G8_CROSS)) in cross["fix"]

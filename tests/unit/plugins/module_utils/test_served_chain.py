# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a live certificate's chain has grown old, and which one takes its place."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _catalogue, _served_chain, _x509
from ansible_collections.campus.upki.tests.unit import pki

OLD_ROOT = pki.CA("Served Old Root", start=pki.NOW - pki.days(2000))
ROOT = pki.CA("Served Root")
CROSS = pki.CA("Served Root", OLD_ROOT, label="Served Root", end=pki.NOW + pki.days(5)).certificate
CA = pki.CA("Served Inter", ROOT)
INTER = CA.certificate
LEAF = CA.issue("www.example.ac.jp")
OLD, NEW = OLD_ROOT.certificate, ROOT.certificate
LATER = pki.NOW + pki.days(6)  # the cross certificate has ended


def judge(chain, pool=(), roots=(OLD, NEW), now=pki.NOW):
    return _served_chain.judge(LEAF, chain, list(pool), list(roots), now)


@pytest.mark.parametrize(
    "chain, pool, roots, now",
    [
        ([INTER, CROSS], [], [OLD, NEW], pki.NOW),
        ([INTER], [CROSS], [OLD, NEW], pki.NOW),  # it leads to a trusted root; that another one is older is no fault
        ([INTER, CROSS], [], [NEW], pki.NOW),  # more than is needed, and each step holds
        ([INTER, NEW], [CROSS], [NEW], pki.NOW),  # a root at the end is needless and harmless
        ([INTER], [CROSS], [NEW], LATER),
        ([INTER], [CROSS], [], pki.NOW),  # of an unknown CA nobody can tell
        ([], [], [], pki.NOW),
    ],
    ids=["best", "another", "longer", "with root", "short and right", "unknown CA", "unknown CA, empty"],
)
def test_a_chain_that_serves_stays(chain, pool, roots, now):
    assert judge(chain, pool, roots, now) == _served_chain.GOOD


def test_an_expired_cross_certificate_is_left_out_of_the_new_chain():
    found = judge([INTER, CROSS], now=LATER)
    assert "expired: 'Served Root' ({0:%Y-%m-%d})".format(pki.NOW + pki.days(5)) in found.fault
    assert found.chain == [INTER]
    assert "Now it is 'Served Inter' (until " in _served_chain.told(found)


@pytest.mark.parametrize(
    "chain, pool, words",
    [
        ([], [INTER, CROSS], "does not lead to a root that is trusted. The live chain is empty."),
        ([pki.CA("Served Inter of before", ROOT).certificate], [INTER, CROSS], "another name than the issuer"),
        ([pki.CA("Served Inter", ROOT, label="other").certificate], [INTER, CROSS], "another key"),
        ([CROSS, INTER], [], "'Served Root' does not vouch for 'www.example.ac.jp'"),
        ([INTER, pki.CA("Served stranger").certificate], [INTER, CROSS], "does not vouch for 'Served Inter'"),
        (
            [pki.CA("Served Inter", ROOT, label="Served Inter", usages=[pki.CLIENT]).certificate],
            [INTER, CROSS],
            "lacks",
        ),
    ],
    ids=["empty", "generation", "key", "order", "stranger", "purpose"],
)
def test_a_chain_that_is_wrong_gets_the_right_one(chain, pool, words):
    found = judge(chain, pool)
    assert words in found.fault
    assert found.chain == [INTER, CROSS]


def test_a_chain_that_is_too_short_gets_what_lacks():
    found = judge([INTER], [CROSS], [OLD])
    assert "does not lead to a root" in found.fault
    assert found.chain == [INTER, CROSS]


def test_where_nothing_better_is_at_hand_the_fault_and_what_is_needed_are_told():
    found = judge([CROSS, INTER], roots=[])
    assert found.fault and found.chain is None
    message = _served_chain.notice(found, "It was left.")["message"]
    assert message.startswith(found.fault) and "It was left." in message and found.fix in message


# --- the real certificates -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared):
    """(leaf of G8, its intermediate, the cross certificate), and G7's intermediate."""
    found = {}
    for path in (shared / "certs" / "ca").iterdir():
        (certificate,) = _x509.certificates_from_pem(path.read_text(encoding="ascii"))
        row = _catalogue.pinned(_x509.sha256(certificate))
        if row["key"].startswith("rsa"):
            found[row["role"] + row["generation"]] = certificate
    (path,) = (shared / "certs" / "leaf").glob("*-g8-rsa.pem")
    (leaf,) = _x509.certificates_from_pem(path.read_text(encoding="ascii"))
    return leaf, found["intermediateG8"], found["cross"], found["intermediateG7"]


MARCH = pki.NOW.replace(month=3)


def test_a_missing_cross_certificate_is_named_and_put_there_without_any_root_given(real):
    leaf, inter, cross, _g7 = real
    found = _served_chain.judge(leaf, [inter], [cross], [], MARCH)
    assert found.fault.startswith("The cross certificate of 'SECOM TLS RSA Root CA 2024' is missing")
    assert found.chain == [inter, cross]
    missing = _served_chain.judge(leaf, [inter], [], [], MARCH)
    assert missing.chain is None and "tlsrsarootca2024cross-pem.cer" in missing.fix


def test_the_generation_before_is_replaced(real):
    leaf, inter, cross, before = real
    assert _served_chain.judge(leaf, [before], [cross, inter], [], MARCH).chain == [inter, cross]
    assert "nii-odca4g8rsa-pem.cer" in _served_chain.judge(leaf, [before], [], [], MARCH).fix


def test_leaf_alone_is_known_to_be_too_little_for_a_known_ca(real):
    leaf, inter, cross, _g7 = real
    assert _served_chain.judge(leaf, [], [inter, cross], [], MARCH).chain == [inter, cross]
    alone = _served_chain.judge(leaf, [], [], [], MARCH)
    assert alone.fault and "nii-odca4g8rsa-pem.cer" in alone.fix


def test_the_right_one_stays(real):
    leaf, inter, cross, before = real
    assert _served_chain.judge(leaf, [inter, cross], [before], [], MARCH) == _served_chain.GOOD

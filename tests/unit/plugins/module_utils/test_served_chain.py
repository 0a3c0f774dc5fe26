# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a live certificate's chain is no longer the best one."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _served_chain, _validity
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
OLD_ROOT = pki.CA("Served Old Root")
ROOT = pki.CA("Served Root")
CROSS = pki.CA("Served Root", OLD_ROOT, label="Served Root", end=pki.NOW + pki.days(5))
INTER = pki.CA("Served Inter", ROOT)
LEAF = INTER.issue(NAME, pki.key("leaf " + NAME).public_key())
CHAIN = [INTER.certificate, CROSS.certificate]


def messages(chain, rivals=(), now=pki.NOW):
    found = _served_chain.notices(LEAF, chain, list(rivals), now)
    assert {notice["code"] for notice in found} <= {"chain_outdated"}
    return [notice["message"] for notice in found]


@pytest.mark.parametrize("rivals", [[], [CHAIN], [CHAIN, CHAIN]])
def test_a_chain_that_holds_is_no_news(rivals):
    assert messages(CHAIN, rivals) == []


def test_an_expired_cross_certificate_is_named_with_its_date_and_the_way_out():
    (message,) = messages(CHAIN, now=pki.NOW + pki.days(6))
    assert "'Served Root' ({0:%Y-%m-%d})".format(pki.NOW + pki.days(5)) in message
    assert "renew_before: " in message


def test_the_way_out_is_a_renew_before_that_makes_the_certificate_due():
    now = pki.NOW + pki.days(6)
    (message,) = messages(CHAIN, now=now)
    renew_before = message.split("renew_before: ")[1].rstrip(".")
    assert _validity.renew_at(begin(), end(), renew_before) <= now


def begin():
    return _served_chain._x509.not_before(LEAF)


def end():
    return _served_chain._x509.not_after(LEAF)


def test_another_chain_from_the_folders_is_told_beside_the_live_one():
    (message,) = messages([INTER.certificate], [CHAIN])
    assert message.startswith("The live chain is 'Served Inter' (until ")
    assert "today it would be 'Served Inter'" in message
    assert "'Served Root' (until {0:%Y-%m-%d})".format(pki.NOW + pki.days(5)) in message


def test_an_empty_chain_is_called_so():
    (message,) = messages([], [CHAIN])
    assert "The live chain is empty" in message


def test_what_the_catalogue_knows_of_a_cross_certificate_counts(monkeypatch):
    def build(leaf, candidates, roots, now):
        assert (leaf, candidates, roots, now) == (LEAF, [INTER.certificate], [], pki.NOW)
        raise UpkiError("cross_missing", "The cross certificate of 'X' is missing.", "Put it there.")

    monkeypatch.setattr(_served_chain._chain, "build", build)
    (message,) = messages([INTER.certificate])
    assert message.startswith("The cross certificate of 'X' is missing. (The live chain is 'Served Inter'")


def test_an_unknown_ca_is_no_news():
    assert messages([INTER.certificate]) == []

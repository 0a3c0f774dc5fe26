# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several trust stores at once."""

import sys

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _cards, _stores, _tls, _verify
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
OLD = pki.CA("Old Root")
NEW = pki.CA("New Root")
CROSS = pki.CA("New Root", OLD)
SUB = pki.CA("Sub", NEW)
ENDED = pki.CA("Sub", NEW, end=pki.NOW - pki.days(1))
LEAF = SUB.issue(NAME)


@pytest.fixture
def paths(tmp_path):
    for name, root in (("old", OLD), ("new", NEW)):
        (tmp_path / (name + ".pem")).write_text(pki.pem(root.certificate), encoding="ascii")
    (tmp_path / "cross.pem").write_text(pki.pem(CROSS.certificate), encoding="ascii")
    return tmp_path


def verdict(paths, *served, **stores):
    trust = _tls.Trust(str(paths / "new.pem"))
    wanted = {name: str(paths / place) for name, place in stores.items()}
    half = _verify.parse_warn_before("1/3")
    around = _verify.surroundings(trust, [str(paths / "cross.pem")], pki.NOW, half, wanted)
    cards = [_cards.card(getattr(one, "certificate", one)) for one in served]
    verdicts, findings = _stores.check(cards, around)
    return verdicts, [(row["code"], row["message"], row["fix"]) for row in findings]


BOTH = {"Debian": "old.pem", "Firefox": "new.pem"}


def test_one_accepts_and_one_refuses(paths):
    verdicts, ((code, message, fix),) = verdict(paths, LEAF, SUB, **BOTH)
    assert verdicts == {"Debian": False, "Firefox": True}
    assert code == "untrusted_in_store"
    assert message.startswith("Clients with the trust store 'Debian' refuse this chain, clients with 'Firefox' accept")
    assert "cross.pem" in fix


def test_with_the_cross_certificate_both_accept(paths):
    assert verdict(paths, LEAF, SUB, CROSS, **BOTH) == ({"Debian": True, "Firefox": True}, [])


@pytest.mark.parametrize("served", [(LEAF,), (LEAF, ENDED)], ids=["missing", "expired"])
def test_where_all_refuse_nothing_is_added(paths, served):
    assert verdict(paths, *served, **BOTH) == ({"Debian": False, "Firefox": False}, [])


def test_without_stores_nothing_is_said(paths):
    assert verdict(paths, LEAF, SUB) == ({}, [])


def test_a_store_that_cannot_be_read(paths):
    for place, word in (("none.pem", "none.pem"), ("", "'B' of 'stores'")):
        with pytest.raises(UpkiError) as caught:
            _stores.load({"A": str(paths / "old.pem"), "B": place and str(paths / place)})
        assert "'B'" in caught.value.message and word in caught.value.message


def test_words_for_stores(paths, monkeypatch):
    monkeypatch.setattr(_tls, "system_store", lambda: str(paths / "old.pem"))
    assert _stores.load({"S": "system"}) == [("S", (paths / "old.pem").read_text(encoding="ascii"))]
    monkeypatch.setitem(sys.modules, "certifi", type("Certifi", (), {"where": staticmethod(_tls.system_store)}))
    assert _stores.load({"C": "certifi"}) == [("C", (paths / "old.pem").read_text(encoding="ascii"))]
    monkeypatch.setitem(sys.modules, "certifi", None)
    with pytest.raises(UpkiError) as caught:
        _stores.load({"C": "certifi"})
    assert caught.value.code == "certifi_missing" and "'C'" in caught.value.message

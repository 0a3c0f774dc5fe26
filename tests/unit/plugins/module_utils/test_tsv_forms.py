# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of single columns. What each accepts and refuses is in the cases of test_rules.py."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tsv_forms
from ansible_collections.campus.upki.plugins.module_utils._rules import RULES, column
from ansible_collections.campus.upki.tests.unit import records as make


def fault(key, value, kind="server_renew", **columns):
    """The one fault of a value in a column."""
    texts = dict(make.texts(kind), **dict(columns, **{key: value}))
    row = _tsv_forms.Row(kind, texts, RULES, dict(make.SUBJECT, common_name=make.WWW))
    (found,) = _tsv_forms.FORMS[column(key)["form"]](value, column(key), row)
    return found


def test_every_form_of_the_table_exists():
    assert {one["form"] for one in RULES["columns"]} == set(_tsv_forms.FORMS)


@pytest.mark.parametrize("key, value, fix", [
    ("profile", "2", "Write 3 for RSA or 11 for ECDSA (P-384)."),
    ("serial", "4A3F", "Write it in decimal: 19007."),
    ("serial", "4a:3f", "Write it in decimal: 19007."),
    ("serial", "x", "Look it up in the old certificate"),
    ("reason", "2", "Choose 0, 1, 3, 4 or 5"),
    ("reason", "1", "If it has, set confirm_key_compromise: true"),
    ("comment", "①", "Write ① → 1."),
    ("manager_name", "ﾔﾏﾀﾞ", "Write ﾔﾏﾀﾞ → ヤマダ."),
    ("manager_email", "a＠b.jp", "Write it in half-width characters."),
    ("manager_email", "a+b@c.jp", "Give an address without + and %"),
    ("manager_email", "a", "Correct the address"),
    ("fqdn", "w2.example.ac.jp", "Write the same name in both."),
    ("csr", "AAAA", "Make a new key and CSR"),
    ("account_id", "a b", "Copy the ACME account ID"),
])  # fmt: skip
def test_each_refusal_names_item_value_and_remedy(key, value, fix):
    found = fault(key, value)
    assert found["item"] == column(key)["item"]
    assert found["value"] == value
    assert found["fix"].startswith(fix)


@pytest.mark.parametrize("key", ["manager_name", "manager_email", "software", "serial", "comment"])
def test_a_huge_value_makes_no_huge_message(key):
    assert len(fault(key, "é" * 300)["message"]) < 400
    assert len(fault(key, "é" * 300)["value"]) <= 60


def test_the_csr_is_read_once(monkeypatch):
    calls = []
    read = _tsv_forms._csr.read
    monkeypatch.setattr(_tsv_forms._csr, "read", lambda text: calls.append(1) or read(text))
    row = _tsv_forms.Row("server_issue", make.texts("server_issue"), RULES, dict(make.SUBJECT, common_name=make.WWW))
    assert row.profile_of_csr() == "11"
    assert _tsv_forms.csr(row.columns["csr"], column("csr"), row) == []
    assert len(calls) == 1


def test_no_profile_of_what_is_no_csr():
    for text in ("", "AAAA", make.csr_text(label="p", kind="p256", hash_name="sha256")):
        assert _tsv_forms.Row("server_issue", {"csr": text}, RULES).profile_of_csr() == ""

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of servers. The rules of a name are cases of test_rules.py, the resemblances of test_phishing.py."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _names
from ansible_collections.campus.upki.tests.unit import records as make


@pytest.mark.parametrize(
    "name, fix",
    [
        ("WWW.Example.ac.jp", "Write 'www.example.ac.jp'."),
        ("*.example.ac.jp", "List each name; wildcards are not issued."),
        ("192.0.2.1", "Use the server's FQDN; certificates for addresses are not issued."),
        ("www", "Write the full name, such as 'www.example.ac.jp'."),
        ("日本.example.ac.jp", "Write international names in punycode (xn--…)."),
        ("a b.ac.jp", "Use a-z, 0-9, '.' and '-' only."),
        ("a_b.ac.jp", "Use a name of letters, digits, '.' and '-' only."),
        ("x." + "a" * 64 + ".jp", "Shorten it."),
    ],
)
def test_each_refusal_says_what_to_do(name, fix):
    assert fix in [row["fix"] for row in _names.check_fqdn(name, "CN")]


def test_the_item_and_code_are_the_callers():
    (row,) = _names.check_fqdn("A.example.ac.jp", "主体者DN CN (common name)", code=206)
    assert (row["item"], row["code"], row["value"]) == ("主体者DN CN (common name)", 206, "A.example.ac.jp")


@pytest.mark.parametrize("name", [None, ""])
def test_an_empty_name(name):
    assert make.codes(_names.check_fqdn(name, "CN")) == [201]


def test_nothing_is_wrong_with_no_names():
    assert _names.check_dns_names(make.WWW, None) == []
    assert _names.check_dns_names("", []) == []


def test_the_fqdn_itself_is_checked_once_as_cn():
    assert _names.check_dns_names("BAD.example.ac.jp", ["BAD.example.ac.jp"]) == []


@pytest.mark.parametrize("names", [[], ["a.ac.jp"], ["a.ac.jp", "b.ac.jp"]])
def test_the_column_comes_back(names):
    assert _names.read_column(_names.column_text(names)) == (names, [])


def test_a_wrong_column_is_read_as_far_as_possible():
    names, (row,) = _names.read_column("a.ac.jp, DNSNAME = b.ac.jp,dNSName=c.ac.jp,")
    assert names == ["a.ac.jp", "b.ac.jp", "c.ac.jp"]
    assert row["fix"] == "Write 'dNSName=a.ac.jp,dNSName=b.ac.jp,dNSName=c.ac.jp'."

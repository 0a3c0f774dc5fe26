# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that resemble well-known services, and the ordinary ones that must stay silent."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _names, _phishing


def punycode(text):
    return "xn--" + text.encode("punycode").decode("ascii")


def services(label):
    return [row["resembles"] for row in _names.phishing_like([label + ".example.ac.jp"])]


@pytest.mark.parametrize(
    "label, service",
    [
        ("google", "Google"), ("g00gle", "Google"), ("gooogle", "Google"), ("gogle", "Google"), ("googel", "Google"),
        ("go0gle-mail", "Google"), ("mygoogledocs", "Google"), ("google.com", "Google"), ("gmail", "Google (Gmail)"),
        ("rnicrosoft", "Microsoft"), ("mircosoft", "Microsoft"), ("micros0ft", "Microsoft"),
        ("micro-soft", "Microsoft"),
        ("office365", "Microsoft (Office 365)"), ("outlook", "Microsoft (Outlook)"),
        ("amazon", "Amazon"), ("arnazon", "Amazon"), ("amaz0n", "Amazon"), ("amazom", "Amazon"),
        ("aws", "Amazon (AWS)"),
        ("apple", "Apple"), ("app1e", "Apple"), ("apple-id", "Apple"), ("icloud", "Apple (iCloud)"),
        ("paypal", "PayPal"), ("paypa1", "PayPal"), ("pay-pal", "PayPal"), ("payapl", "PayPal"),
        ("bank", "a bank"), ("net-bank", "a bank"), ("mufg", "MUFG Bank"), ("rakuten", "Rakuten"), ("paypay", "PayPay"),
        ("faceb00k", "Facebook"), ("tvvitter", "Twitter"), ("drop-box", "Dropbox"),
        (punycode("gооgle"), "Google"), (punycode("аррӏе"), "Apple"), (punycode("göogle"), "Google"),
    ],
)  # fmt: skip
def test_warned(label, service):
    assert service in services(label)


@pytest.mark.parametrize(
    "label",
    [
        "www", "pineapple", "cloud", "publicloud", "scicloud", "biobank", "databank", "genebank", "mizuho", "rakuen",
        "goggle", "amazonia", "micro-soft-matter", "meta", "metadata", "office", "accounting", "security", "idp", "sso",
        "moodle", "webclass", "library", "opac", "mail", "smtp", "webmail", "vpn", "eduroam", "shibboleth", "gakunin",
        "sinet", "koho", "nyushi", "kyomu", "syllabus", "portal", "lms", "zemi", "lab", "hpc", "gpu01", "ns1", "gitlab",
        "jupyter", "nextcloud", "owncloud", "line", "visa", "windows", "team", "slab", "maple", "ripple", "grapple",
        "payroll", "banks-lab", "bankoku", "goo", "googol", "amanzo", "resonance", "azurite", "zoomlens", "yahho",
        punycode("日本語"), punycode("大学"), "xn--zzz", "xn--", "a",
    ],
)  # fmt: skip
def test_silent(label):
    assert services(label) == []


@pytest.mark.parametrize("name", ["google.ac.jp", "www.mizuho.ac.jp", "apple.ed.jp", "localhost", "amazon"])
def test_the_institutions_own_domain_is_not_looked_at(name):
    assert _names.phishing_like([name]) == []


def test_outside_ac_jp_every_label_counts():
    assert [row["resembles"] for row in _names.phishing_like(["www.amazon.jp"])] == ["Amazon"]


@pytest.mark.parametrize("word", sorted(_phishing.WORDS))
def test_words_of_sign_in_pages_get_a_milder_text(word):
    (row,) = _names.phishing_like([word + ".cc.example.ac.jp"])
    assert row["code"] == "phishing_like"
    assert "ordinary word" in row["message"]


def test_a_service_silences_the_milder_text():
    (row,) = _names.phishing_like(["secure-login-google.example.ac.jp"])
    assert (row["resembles"], "ordinary" in row["message"]) == ("Google", False)


def test_each_name_is_warned_about_once():
    assert len(_names.phishing_like(["google.example.ac.jp"] * 3 + [""])) == 1


def test_every_service_of_the_data_is_found_by_its_own_name():
    for word, service in list(_phishing.ANYWHERE.items()) + list(_phishing.WHOLE.items()):
        assert service in services(word), word


def test_every_innocent_word_would_be_warned_about_otherwise(monkeypatch):
    words = _phishing.INNOCENT
    monkeypatch.setattr(_phishing, "INNOCENT", frozenset())
    _phishing._look.cache_clear()
    loud = {word for word in words if services(word)}
    _phishing._look.cache_clear()
    assert loud == words


@pytest.mark.parametrize(
    "first, second, near",
    [
        ("google", "google", False), ("google", "gogle", True), ("google", "gooogle", True), ("google", "goagle", True),
        ("google", "googel", True), ("google", "goggle", True), ("google", "gle", False), ("google", "goolge", True),
        ("google", "ggoole", False), ("google", "googles", True), ("google", "oogle", True),
        ("google", "goegla", False),
    ],
)  # fmt: skip
def test_one_letter_apart(first, second, near):
    for pair in ((first, second), (second, first)):
        assert _phishing.one_letter_apart(*pair) is near

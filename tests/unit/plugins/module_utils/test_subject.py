# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject DN as text. The rules of its parts are cases of test_rules.py."""

import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _subject
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

COMMAS = {"organization": "Inter-University Research, Institute (A=B), L/x", "locality": "Chiyoda-ku", "state": "Tokyo"}


def test_organization_with_commas_and_equals_comes_back():
    text = _subject.distinguished_name(COMMAS, "www.example.ac.jp")
    assert text == "CN=www.example.ac.jp,O=Inter-University Research, Institute (A=B), L/x,L=Chiyoda-ku,ST=Tokyo,C=JP"
    wanted = dict(COMMAS, common_name="www.example.ac.jp", country="JP")
    assert _subject.parse_distinguished_name(text) == wanted


def test_spaces_and_lower_case_names_are_read():
    found = _subject.parse_distinguished_name("cn = www.a.ac.jp , o = A B , l=chofu, St=tokyo, c=JP")
    assert (found["common_name"], found["organization"], found["state"]) == ("www.a.ac.jp", "A B", "tokyo")


def test_case_of_the_values_is_kept():
    found = _subject.parse_distinguished_name("CN=www.a.ac.jp,O=aBc,L=ChoFu,ST=tOkyo,C=JP")
    assert (found["organization"], found["locality"], found["state"]) == ("aBc", "ChoFu", "tOkyo")


@pytest.mark.parametrize(
    "text, code, says",
    [
        ("CN=a.jp,O=A,OU=Center,L=l,ST=s,C=JP", "subject_unit", "An OU ('Center') is not allowed"),
        ("CN=a.jp,OU=Center,O=A,L=l,ST=s,C=JP", "subject_unit", "An OU ('Center') is not allowed"),
        ("CN=a.jp,O=A, ou = Center ,L=l,ST=s,C=JP", "subject_unit", "An OU ('Center') is not allowed"),
        ("CN=a.jp,O=A,L=l,ST=s,C=JP,emailAddress=a@b.jp", "subject_form", "An e-mail address ('a@b.jp')"),
        (
            "CN=a.jp,O=A,ST=s,L=l,C=JP",
            "subject_form",
            "The DN has the order CN, O, ST, L, C; it must be CN, O, L, ST, C",
        ),
        ("C=JP,ST=s,L=l,O=A,CN=a.jp", "subject_form", "The DN has the order C, ST, L, O, CN"),
        ("CN=a.jp,O=A,L=l,C=JP", "subject_form", "The DN 'CN=a.jp,O=A,L=l,C=JP' lacks ST."),
        ("CN=a.jp,O=A,L=,ST=s,C=JP", "subject_form", "lacks L."),
        ("CN=a.jp,O=A,L=l,S=s,C=JP", "subject_form", "lacks ST."),
        ("CN=a.jp,O=A,L=l,ST=s,C=US", "subject_form", "C is 'US'; it must be JP."),
        ("CN=a.jp,O=A,L=l,L=m,ST=s,C=JP", "subject_form", "reads like further attributes"),
        ("CN=a.jp,CN=b.jp,O=A,L=l,ST=s,C=JP", "subject_form", "The DN has the order CN, CN, O, L, ST, C"),
        ("/C=JP/ST=s/L=l/O=A/CN=a.jp", "subject_form", "lacks CN, O, L, ST, C."),
        ("x CN=a.jp,O=A,L=l,ST=s,C=JP", "subject_form", "lacks CN"),
        ("", "subject_form", "lacks CN, O, L, ST, C."),
        ("CN=a.jp,O=大学,L=l,ST=s,C=JP", "subject_form", "O is '大学'"),
    ],
)
def test_refused(text, code, says):
    with pytest.raises(UpkiError) as caught:
        _subject.parse_distinguished_name(text)
    assert (caught.value.code, says in caught.value.message) == (code, True), caught.value.message


def test_fields_of_a_csr_in_their_order():
    fields = _subject.request_fields(COMMAS, "www.example.ac.jp")
    assert fields == [
        ("C", "JP"),
        ("ST", "Tokyo"),
        ("L", "Chiyoda-ku"),
        ("O", COMMAS["organization"]),
        ("CN", "www.example.ac.jp"),
    ]


def test_every_fault_is_reported_at_once():
    subject = {"organization": "大学", "state": "", "organizational_unit": "x", "email": "a@b.jp", "country": "US"}
    found = _subject.check(subject)
    assert [row["code"] for row in found] == [371, 206, 206, 206, 201, 201]
    assert all(row["fix"] and "主体者DN" in row["item"] for row in found)


def test_a_long_value_is_shortened_in_the_message():
    (row,) = _subject.check(dict(COMMAS, organizational_unit="x" * 500))
    assert len(row["message"]) < 200
    assert len(row["value"]) <= 60


@pytest.mark.parametrize(
    "text",
    [
        "CN=" + " " * 20000,
        "CN=a,O=" + " " * 20000 + ",L=b,ST=c,C=JP,",
        "CN=a,O=" + ",L=a,ST=a" * 5000,
        "CN=a" + ",O=a" * 5000,
    ],
)
def test_a_column_of_thousands_of_spaces_or_attributes_is_read_at_once(text):
    started = time.process_time()
    _subject.read(text)
    assert time.process_time() - started < 10  # spaces took more than minutes once


def test_spaces_around_the_parts_are_no_part_of_them():
    fields, faults = _subject.read(" cn = www.example.ac.jp , O = A, B = C , L = Chofu , ST = Tokyo , C = JP ")
    assert faults == []
    assert fields["organization"] == "A, B = C"
    assert (fields["common_name"], fields["locality"], fields["state"]) == ("www.example.ac.jp", "Chofu", "Tokyo")

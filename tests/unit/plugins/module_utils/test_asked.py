# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of install; what they come to is shown in test_install.py."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _asked, _servers, _swap
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
HTTPS = _swap.Place("127.0.0.1", 443, "")


def item(**entry):
    return _asked.item(dict({"name": NAME}, **entry), _servers.merged({}), "/etc/upki")


@pytest.mark.parametrize(
    "entry, places",
    [
        ({"server": "nginx"}, [HTTPS]),
        ({"server": "nginx", "endpoint": "127.0.0.1:443"}, [HTTPS]),
        ({"server": "nginx", "endpoint": ["127.0.0.1:443", "[::1]:443"]}, [HTTPS, _swap.Place("::1", 443, "")]),
        ({"server": "nginx", "endpoint": ["127.0.0.1:443", "", "127.0.0.1:443"]}, [HTTPS]),
        ({"server": "nginx", "endpoint": ""}, []),
        ({"server": "nginx", "endpoint": []}, []),
        ({"endpoint": "127.0.0.1:443"}, []),
        (
            {"server": "postfix", "endpoint": ["127.0.0.1:25", "127.0.0.1:465", "127.0.0.1:2525=smtp"]},
            [_swap.Place("127.0.0.1", port, starttls) for port, starttls in ((25, "smtp"), (465, ""), (2525, "smtp"))],
        ),
    ],
)
def test_where_a_certificate_is_looked_at(entry, places):
    assert item(**entry)["places"] == places


def test_what_is_no_place_is_refused_with_the_certificate_and_the_variable():
    with pytest.raises(UpkiError) as caught:
        item(server="nginx", endpoint=["127.0.0.1:443", "443"])
    assert NAME in caught.value.message and "'443'" in caught.value.message
    assert "upki_certificates" in caught.value.fix


def test_names_are_compared_without_case_and_final_dot():
    found = _asked.item({"name": "WWW.Example.AC.jp.", "dns_names": ["a.example.ac.jp"]}, {}, "/etc/upki")
    assert (found["name"], found["wanted"]) == (NAME, [NAME, "a.example.ac.jp"])
    with pytest.raises(UpkiError) as caught:
        _asked.refuse_twice([found, item()])
    assert caught.value.code == "name_twice"


@pytest.mark.parametrize("given, value", [({}, 15), ({"wait": None}, 15), ({"wait": 0}, 0), ({"wait": 3}, 3)])
def test_nothing_is_the_default_and_0_is_0(given, value):
    assert _asked.seconds(given, "wait", 15) == value


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf")])
def test_a_number_that_cannot_be_meant_is_refused(value):
    with pytest.raises(UpkiError) as caught:
        _asked.seconds({"wait": value}, "wait", 15)
    assert caught.value.code == "number_invalid"


def test_what_the_controller_found():
    ca = pki.CA("Asked CA")
    leaf = ca.issue(NAME)
    found = _asked.candidate({"certificate": pki.pem(leaf), "chain": [pki.pem(ca.certificate)], "file": "a.cer"})
    assert found == _asked.Candidate(leaf, [ca.certificate], "a.cer", None, [])
    assert _asked.certificates(None) == []

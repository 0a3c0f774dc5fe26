# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain by the program openssl."""

import shutil

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _s_client
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root")
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME)
KEY = pki.key("leaf " + NAME)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def seen(port, **changes):
    return dict({"address": "127.0.0.1", "port": port, "server_name": NAME, "starttls": None}, **changes)


def test_command():
    assert _s_client.command(seen(443)) == (
        ["openssl", "s_client", "-connect", "127.0.0.1:443", "-showcerts", "-servername", NAME]
    )
    words = _s_client.command(seen(25, address="::1", server_name="::1", starttls="smtp"))
    assert words[3:] == ["[::1]:25", "-showcerts", "-starttls", "smtp"]


@needs_openssl
@pytest.mark.parametrize(
    "chain",
    [[LEAF], [LEAF, SUB.certificate], [LEAF, ROOT.certificate, SUB.certificate, SUB.certificate], [LEAF, LEAF]],
    ids=["alone", "right", "disorder", "twice"],
)
def test_the_chain_as_it_was_sent(chain):
    with tls_zoo.tls(chain, KEY) as port:
        assert _s_client.chain(seen(port), pki.der(LEAF), 10) == [pki.der(one) for one in chain]


@needs_openssl
def test_another_certificate_in_between_is_no_answer():
    with tls_zoo.tls([LEAF], KEY) as port:
        assert _s_client.chain(seen(port), pki.der(SUB.certificate), 10) is None


@needs_openssl
def test_no_answer():
    assert _s_client.chain(seen(tls_zoo.refusing_port()), pki.der(LEAF), 10) is None


def test_a_machine_without_openssl(monkeypatch):
    monkeypatch.setattr(_s_client, "PROGRAM", "/nonexistent/openssl")
    assert _s_client.chain(seen(443), pki.der(LEAF), 10) is None

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of TLS a server accepts."""

import ssl
import threading
import warnings

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _protocols, _tls
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

pytestmark = pytest.mark.skipif(not hasattr(ssl, "TLSVersion"), reason="this Python cannot choose a version")

NAME = "www.example.ac.jp"
LEAF = pki.CA("Root").issue(NAME)
KEY = pki.key("leaf " + NAME)


def between(lowest, highest):
    def configure(context):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = getattr(ssl.TLSVersion, lowest)
            context.maximum_version = getattr(ssl.TLSVersion, highest)

    return configure


def tried(port, timeout=5):
    row = {"host": "127.0.0.1", "port": port, "server_name": NAME, "starttls": None}
    return _protocols.accepted(row, _protocols.Contexts(), timeout)


@pytest.mark.parametrize(
    "lowest, highest, expected",
    [
        ("TLSv1_2", "TLSv1_3", [False, False, True, True]),
        ("TLSv1", "TLSv1_2", [True, True, True, False]),
        ("TLSv1_3", "TLSv1_3", [False, False, False, True]),
    ],
)
def test_versions(lowest, highest, expected):
    with tls_zoo.tls([LEAF], KEY, between(lowest, highest)) as port:
        found = tried(port)
    assert [found[name] for name in ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")] == expected


def test_what_cannot_be_learned():
    assert set(tried(tls_zoo.refusing_port()).values()) == {None}
    stop = threading.Event()
    with tls_zoo.silent(stop) as port:
        assert set(tried(port, 0.2).values()) == {None}
        stop.set()


def test_a_python_without_versions(monkeypatch):
    monkeypatch.setattr(_protocols, "ssl", type("Old", (), {"SSLError": ssl.SSLError}))
    assert set(tried(1).values()) == {None}


@pytest.mark.parametrize(
    "versions, spoken, codes",
    [
        ({"TLSv1": True, "TLSv1.1": True, "TLSv1.2": True}, "TLSv1.2", ["old_protocol_accepted"]),
        ({"TLSv1": False, "TLSv1.1": None, "TLSv1.2": True}, "TLSv1.2", []),
        ({"TLSv1": True, "TLSv1.1": True, "TLSv1.2": False}, "TLSv1.1", []),
        ({}, "TLSv1.2", []),
    ],
)
def test_finding(versions, spoken, codes):
    rows = _protocols.check({"host": "h", "port": 443, "version": spoken}, versions)
    assert [row["code"] for row in rows] == codes
    assert all("TLSv1, TLSv1.1" in row["message"] for row in rows)


def test_contexts_refuse_nothing_about_certificates():
    assert all(one.verify_mode == ssl.CERT_NONE for _name, one in _protocols.Contexts().rows if one)
    assert _tls.new_context() is not _tls.new_context()

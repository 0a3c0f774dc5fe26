# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that stand outside the store."""

import contextlib
import socket
import ssl
import threading

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _adopt, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    NAME,
    certificate,
    fields_of,
)


@pytest.fixture(scope="module")
def key():
    return _x509.generate_key("p384")


def test_facts(key):
    issued = certificate(key.public_key(), serial=0x645046227D5B43332E2C7B343DC2AB0D, names=(NAME, "b.example.ac.jp"))
    found = _adopt.facts(issued, "/etc/ssl/a.pem")
    assert found["serial"] == "133339605828400110422498834782393379597"
    assert (found["cn"], found["ou"], found["upki"], found["generation"]) == (NAME, "", True, None)
    assert found["subject"] == {"O": "Example University", "L": "Chofu", "ST": "Tokyo"}
    assert found["requested_names"] == {NAME, "b.example.ac.jp"}
    assert found["key_type"] == "p384"


def test_facts_of_one_with_ou_and_of_one_without_place(key):
    found = _adopt.facts(certificate(key.public_key(), fields=fields_of(OU="Centre", ST=None)), "x")
    assert found["ou"] == "Centre"
    assert found["subject"]["ST"] == ""


@pytest.mark.parametrize(
    "issuer, upki",
    [
        ("NII Open Domain CA - G4", True),
        ("NII Open Domain CA - G7 ECC", True),
        ("NII Open Domain CA - G8 RSA (Practice)", True),
        ("R11", False),
        (NAME, False),
        ("Fake NII Open Domain CA", False),
    ],
)
def test_the_issuer_decides_what_is_of_upki(key, issuer, upki):
    issued = certificate(key.public_key(), issuer=issuer)
    assert _adopt.facts(issued, "x")["upki"] is upki
    assert _adopt.facts(issued, "x", issuers=[issuer[:4]])["upki"] is True
    assert _adopt.facts(issued, "x", generation="g")["upki"] is True  # what came through the store was asked of UPKI


def test_the_real_certificates_are_of_upki(shared):
    for path in sorted((shared / "certs" / "leaf").glob("*.pem")):
        found = _adopt.facts(_adopt.from_file(str(path)), str(path))
        assert found["upki"] and not found["ou"]
        assert found["cn"] == "shibbi.pki.itc.u-tokyo.ac.jp"
        assert found["subject"] == {"O": "The University of Tokyo", "L": "Bunkyo-ku", "ST": "Tokyo"}


def test_every_issuing_ca_of_the_service_is_known(shared):
    for path in sorted((shared / "certs" / "ca").glob("nii-*.pem")):
        issuer = _x509.certificates_from_pem(path.read_text())[0]
        assert _x509.name_value(issuer.subject, "CN").startswith(_adopt.ISSUERS)


def test_from_file_reads_pem_bundles_and_der(tmp_path, key):
    issued = certificate(key.public_key())
    text = _x509.private_key_pem(key).decode("ascii") + _x509.pem(issued) + _x509.pem(certificate(key.public_key()))
    (tmp_path / "bundle.pem").write_text("\ufeffBag Attributes\r\n" + text.replace("\n", "\r\n"), encoding="utf-8")
    (tmp_path / "der.cer").write_bytes(_x509.der(issued))
    for name in ("bundle.pem", "der.cer"):
        assert _x509.der(_adopt.from_file(str(tmp_path / name))) == _x509.der(issued)


def test_from_file_takes_the_leaf_of_a_chain_in_any_order(tmp_path, shared):
    leaf = (shared / "certs" / "leaf" / "shibbi-pki-itc-u-tokyo-ac-jp-g8-rsa.pem").read_text()
    issuer = (shared / "certs" / "ca" / "nii-open-domain-ca-g8-rsa.pem").read_text()
    (tmp_path / "a.pem").write_text(issuer + leaf)
    assert _x509.pem(_adopt.from_file(str(tmp_path / "a.pem"))) == _x509.pem(_x509.certificates_from_pem(leaf)[0])


@pytest.mark.parametrize(
    "content, code",
    [
        (b"", "certificate_broken"),
        (b"<html>not found</html>", "certificate_broken"),
        (b"-----BEGIN X-----\nAAAA\n-----END X-----\n", "current_certificate_empty"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate_broken"),
        (b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "pem_broken"),
    ],
)
def test_files_without_a_certificate(tmp_path, content, code):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UpkiError) as caught:
        _adopt.from_file(str(tmp_path / "a"))
    assert caught.value.code == code
    assert str(tmp_path / "a") in caught.value.message and caught.value.fix


def test_an_unreadable_file(tmp_path):
    with pytest.raises(UpkiError) as caught:
        _adopt.from_file(str(tmp_path))
    assert caught.value.code == "store_io"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("www.example.ac.jp", ("www.example.ac.jp", 443)),
        ("[::1]:443", ("::1", 443)),
        ("[fe80::1%eth0]", ("fe80::1%eth0", 443)),
    ],
)
def test_endpoint(text, expected):
    assert _adopt.parse_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", ":443", "host:", "host:0", "h:65536", "::1:443", "https://h/", "a b:1", "h:x"])
def test_endpoint_refused(text):
    with pytest.raises(UpkiError) as caught:
        _adopt.parse_endpoint(text)
    assert caught.value.code == "endpoint_invalid"


class Server:
    """One TLS handshake on a loopback port, with a certificate for each server name."""

    def __init__(self, folder, certificates, default):
        self.contexts = {}
        for name, (key, issued) in certificates.items():
            path = folder / (name + ".pem")
            path.write_bytes(_x509.private_key_pem(key) + _x509.pem(issued).encode("ascii"))
            self.contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.contexts[name].load_cert_chain(str(path))
        self.context = self.contexts[default]
        callback = "sni_callback" if hasattr(self.context, "sni_callback") else "set_servername_callback"
        if callback == "sni_callback":
            self.context.sni_callback = self.choose
        else:
            self.context.set_servername_callback(self.choose)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(1)
        self.endpoint = "127.0.0.1:{0}".format(self.socket.getsockname()[1])
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def choose(self, connection, name, _context):
        connection.context = self.contexts.get(name, self.context)

    def serve(self):
        connection, _address = self.socket.accept()
        with connection, contextlib.suppress(OSError):
            self.context.wrap_socket(connection, server_side=True).recv(1)

    def stop(self):
        self.thread.join(10)
        self.socket.close()


def test_what_a_port_serves_for_a_name(tmp_path, key):
    other = _x509.generate_key("p384")
    issued = certificate(key.public_key())
    certificates = {NAME: (key, issued), "default": (other, certificate(other.public_key(), issuer=NAME))}
    server = Server(tmp_path, certificates, "default")
    try:
        found = _adopt.from_endpoint(server.endpoint, NAME)
    finally:
        server.stop()
    assert _x509.der(found) == _x509.der(issued)


def test_a_port_where_nothing_listens():
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    endpoint = "127.0.0.1:{0}".format(closed.getsockname()[1])
    with pytest.raises(UpkiError) as caught:
        _adopt.from_endpoint(endpoint, NAME)
    closed.close()
    assert caught.value.code == "endpoint_unreachable"
    assert endpoint in caught.value.message and "current_endpoint" in caught.value.fix


def test_a_port_that_does_not_speak_tls():
    plain = socket.socket()
    plain.bind(("127.0.0.1", 0))
    plain.listen(1)

    def answer():
        connection, _address = plain.accept()
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(UpkiError) as caught:
        _adopt.from_endpoint("127.0.0.1:{0}".format(plain.getsockname()[1]), NAME, timeout=5)
    thread.join(10)
    plain.close()
    assert caught.value.code == "endpoint_unreachable"

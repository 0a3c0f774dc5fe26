# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a port serves, asked of small servers in this process."""

import socket
import ssl
import sys
import threading

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _probe
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

CA = pki.CA("Probe CA")


def context(path, name):
    leaf = CA.issue(name)
    (path / (name + ".pem")).write_text(pki.pem(leaf))
    (path / (name + ".key")).write_bytes(pki.key_pem(pki.key("leaf " + name)))
    made = ssl.SSLContext(getattr(ssl, "PROTOCOL_TLS_SERVER", ssl.PROTOCOL_TLS))
    made.load_cert_chain(str(path / (name + ".pem")), str(path / (name + ".key")))
    return made, pki.der(leaf)


@pytest.fixture
def serve():
    """serve(talk) → port; `talk` gets the first connection and may end it."""
    threads, sockets = [], []

    def start(talk):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        listener.settimeout(5)
        sockets.append(listener)

        def work():
            connection, _address = listener.accept()
            connection.settimeout(5)
            try:
                talk(connection)
            except OSError:
                pass
            finally:
                connection.close()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)
        return listener.getsockname()[1]

    yield start
    for thread in threads:
        thread.join(6)
    for listener in sockets:
        listener.close()


def tls(made, **before):
    def talk(connection):
        for word, answer in before.get("words", []):
            if word:
                heard = connection.recv(4096)
                assert word in heard
            connection.sendall(answer)
        wrapped = made.wrap_socket(connection, server_side=True)
        wrapped.recv(1)
        wrapped.close()

    return talk


def test_the_served_leaf_is_returned_even_if_nothing_trusts_it(serve, tmp_path):
    made, leaf = context(tmp_path, "www.example.ac.jp")
    seen = _probe.look("127.0.0.1", serve(tls(made)), "www.example.ac.jp")
    assert seen[:3] == (leaf, "", "")
    assert seen.chain == ([leaf] if sys.version_info >= (3, 10) else None)


def test_the_name_reaches_the_server(serve, tmp_path):
    default, _leaf = context(tmp_path, "default.example.ac.jp")
    wanted, leaf = context(tmp_path, "www.example.ac.jp")
    asked = []

    def choose(sock, name, _context):
        asked.append(name)
        sock.context = wanted

    default.set_servername_callback(choose)
    assert _probe.look("127.0.0.1", serve(tls(default)), "www.example.ac.jp").leaf == leaf
    assert asked == ["www.example.ac.jp"]


LDAP_GOOD = bytes.fromhex("300c02010178070a010004000400")
LDAP_BAD = bytes.fromhex("300c02010178070a010204000400")


@pytest.mark.parametrize(
    "protocol, words",
    [
        (
            "smtp",
            [
                (b"", b"220-hello\r\n220 ready\r\n"),
                (b"EHLO", b"250-localhost\r\n250-STARTTLS\r\n250 HELP\r\n"),
                (b"STARTTLS", b"220 go\r\n"),
            ],
        ),
        ("imap", [(b"", b"* OK ready\r\n"), (b"STARTTLS", b"* noise\r\na1 OK go\r\n")]),
        ("pop3", [(b"", b"+OK ready\r\n"), (b"STLS", b"+OK go\r\n")]),
        ("ldap", [(b"1.3.6.1.4.1.1466.20037", LDAP_GOOD)]),
    ],
)
def test_starttls_leads_to_the_leaf(serve, tmp_path, protocol, words):
    made, leaf = context(tmp_path, "mail.example.ac.jp")
    seen = _probe.look("127.0.0.1", serve(tls(made, words=words)), "mail.example.ac.jp", protocol)
    assert seen[:3] == (leaf, "", "")


@pytest.mark.parametrize(
    "protocol, words",
    [
        ("smtp", [(b"", b"220 ready\r\n"), (b"EHLO", b"250 bare\r\n"), (b"STARTTLS", b"502 no\r\n")]),
        ("smtp", [(b"", b"554 go away\r\n")]),
        ("imap", [(b"", b"* OK ready\r\n"), (b"STARTTLS", b"a1 BAD no\r\n")]),
        ("pop3", [(b"", b"+OK ready\r\n"), (b"STLS", b"-ERR no\r\n")]),
        ("ldap", [(b"1.3.6", LDAP_BAD)]),
        ("pop3", [(b"", b"")]),
    ],
)
def test_a_server_without_starttls_is_said_so(serve, protocol, words):
    def talk(connection):
        for word, answer in words:
            if word:
                connection.recv(4096)
            connection.sendall(answer)

    seen = _probe.look("127.0.0.1", serve(talk), "mail.example.ac.jp", protocol)
    assert (seen.leaf, seen.problem) == (None, "starttls")


def test_a_closed_port_is_refused():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert _probe.look("127.0.0.1", port, "www.example.ac.jp").problem == "refused"


def test_a_silent_server_ends_in_a_timeout(serve):
    wait = threading.Event()
    port = serve(lambda connection: wait.wait(2))
    assert _probe.look("127.0.0.1", port, "www.example.ac.jp", timeout=0.2).problem == "timeout"
    wait.set()


def test_a_server_that_speaks_something_else_is_no_tls(serve):
    port = serve(lambda connection: connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n"))
    seen = _probe.look("127.0.0.1", port, "www.example.ac.jp")
    assert seen.leaf is None
    assert seen.problem in ("tls", "closed")


def test_a_name_that_tls_cannot_carry_is_no_traceback(serve):
    port = serve(lambda connection: connection.recv(1))
    assert _probe.look("127.0.0.1", port, "a" * 64 + ".example.ac.jp").problem == "tls"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("127.0.0.1:443", ("127.0.0.1", 443)),
        ("[::1]:8443", ("::1", 8443)),
        ("[fe80::1%eth0]:443", ("fe80::1%eth0", 443)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_endpoints(text, expected):
    assert _probe.parse_endpoint(text) == expected


def test_an_endpoint_may_go_without_port_where_there_is_a_default_and_the_option_is_named():
    assert _probe.parse_endpoint("host", 443) == ("host", 443)
    with pytest.raises(UpkiError) as caught:
        _probe.parse_endpoint("host:", 443, "current_endpoint")
    assert "current_endpoint 'host:'" in caught.value.message


@pytest.mark.parametrize(
    "text, starttls, expected",
    [
        ("127.0.0.1:443", None, ("127.0.0.1", 443, "")),
        ("127.0.0.1:143", None, ("127.0.0.1", 143, "imap")),
        ("127.0.0.1:2525=smtp", "imap", ("127.0.0.1", 2525, "smtp")),
        ("127.0.0.1:2525", "imap", ("127.0.0.1", 2525, "imap")),
        ("[::1]:143=none", "imap", ("::1", 143, "")),
    ],
)
def test_a_place_says_how_it_comes_to_tls(text, starttls, expected):
    assert _probe.parse_place(text, starttls) == expected


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(UpkiError) as caught:
        _probe.parse_place("127.0.0.1:2525=stmp")
    assert caught.value.code == "endpoint_invalid"
    assert "'stmp'" in caught.value.message and "smtp" in caught.value.message


def test_a_chain_that_python_cannot_show_is_asked_of_openssl(monkeypatch):
    asked = []

    def chain(where, leaf, timeout):
        asked.append((where["address"], where["port"], where["server_name"], where["starttls"], leaf, timeout))
        return [leaf, b"inter"]

    monkeypatch.setattr(_probe._s_client, "chain", chain)
    ask = ["127.0.0.1", 25, "www.example.ac.jp", "smtp"]
    assert _probe.sent_chain(_probe.Seen(b"leaf", "", "", [b"leaf"]), *ask) == [b"leaf"]
    assert _probe.sent_chain(_probe.Seen(None, "refused", "x"), *ask) is None
    assert asked == []
    assert _probe.sent_chain(_probe.Seen(b"leaf", "", ""), *ask) == [b"leaf", b"inter"]
    assert asked == [tuple(ask) + (b"leaf", _probe.TIMEOUT)]


@pytest.mark.parametrize("text", ["", "443", "host", "host:", "host:0", "host:65536", "::1:443", "a b:443", "h:44a"])
def test_what_is_no_endpoint(text):
    with pytest.raises(UpkiError) as caught:
        _probe.parse_endpoint(text)
    assert caught.value.code == "endpoint_invalid"

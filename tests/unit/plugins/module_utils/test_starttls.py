# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to TLS in ten protocols, with servers that agree, refuse, or misbehave."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _starttls, _tls
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root", start=pki.NOW - pki.days(3000))
LEAF = ROOT.issue(NAME, start=pki.NOW - pki.days(900), end=pki.NOW + pki.days(2900))
KEY = pki.key("leaf " + NAME)

MYSQL = b"\x0a" + b"8.0.36\x00" + b"\x01\x00\x00\x00" + b"saltsalt\x00" + b"\xff\xff" + b"\x21" + b"\x00" * 40
NO_TLS = b"\x0a" + b"8.0.36\x00" + b"\x01\x00\x00\x00" + b"saltsalt\x00" + b"\xff\xf7" + b"\x21" + b"\x00" * 40
FEATURES = b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"


def packet(payload):
    return len(payload).to_bytes(3, "little") + b"\x00" + payload


# What the server says, and what it waits for before it goes on.
DIALOGUES = {
    "smtp": (
        (b"220-hello\r\n220 mail\r\n", b"EHLO "),
        (b"250-mail\r\n250 STARTTLS\r\n", b"STARTTLS"),
        (b"220 go\r\n", b""),
    ),
    "imap": ((b"* OK [CAPABILITY IMAP4rev1]\r\n", b"a1 STARTTLS"), (b"* x\r\na1 OK go\r\n", b"")),
    "pop3": ((b"+OK hello\r\n", b"STLS"), (b"+OK go\r\n", b"")),
    "ftp": ((b"220-a\r\n220 b\r\n", b"AUTH TLS"), (b"234 go\r\n", b"")),
    "nntp": ((b"200 hello\r\n", b"STARTTLS"), (b"382 go\r\n", b"")),
    "sieve": ((b'"IMPLEMENTATION" "x"\r\n"STARTTLS"\r\nOK\r\n', b"STARTTLS"), (b'OK "go"\r\n', b"")),
    "ldap": ((b"", b"1.3.6.1.4.1.1466.2003"), (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", b"")),
    "postgres": ((b"", b"\x04\xd2\x16"), (b"S", b"")),
    "mysql": ((packet(MYSQL), _starttls.MYSQL_REQUEST),),
    "xmpp": (
        (b"", b"streams'"),
        (b"<?xml version='1.0'?><stream:stream>" + FEATURES, b"<starttls"),
        (b"<proceed x='y'/>", b""),
    ),
}
# A server's refusal, in the first or in the last answer.
REFUSALS = {
    "smtp": ((b"220 mail\r\n", b"EHLO "), (b"250 mail\r\n", b"STARTTLS"), (b"502 not here\r\n", b"")),
    "imap": ((b"* OK\r\n", b"a1 STARTTLS"), (b"a1 BAD not here\r\n", b"")),
    "pop3": ((b"+OK\r\n", b"STLS"), (b"-ERR not here\r\n", b"")),
    "ftp": ((b"220 b\r\n", b"AUTH TLS"), (b"504 not here\r\n", b"")),
    "nntp": ((b"200 b\r\n", b"STARTTLS"), (b"580 not here\r\n", b"")),
    "sieve": ((b"OK\r\n", b"STARTTLS"), (b'NO "not here"\r\n', b"")),
    "ldap": ((b"", b"1466"), (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00", b"")),
    "postgres": ((b"", b"\x04\xd2\x16"), (b"N", b"")),
    "mysql": ((packet(NO_TLS), b""),),
    "xmpp": ((b"", b"streams'"), (b"<stream:stream><stream:features></stream:features>", b"")),
}


def hear(connection, wanted):
    """Reads up to the wanted bytes, and not further where they end what comes before the handshake."""
    heard = b""
    while wanted not in heard:
        piece = connection.recv(1)
        if not piece:
            return
        heard += piece


def rest_of_line(connection, wanted):
    """After a word of a line protocol the rest of the client's message; MySQL's client goes on without waiting."""
    if wanted != _starttls.MYSQL_REQUEST:
        connection.recv(4096)


def speaks(dialogue, then=None):
    def serve(connection):
        for says, wanted in dialogue:
            connection.sendall(says)
            if wanted:
                hear(connection, wanted)
                rest_of_line(connection, wanted)
        if then is not None:
            then(connection)
        else:
            connection.recv(4096)

    return tls_zoo.listening(serve)


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    path = tmp_path_factory.mktemp("trust") / "roots.pem"
    path.write_text(pki.pem(ROOT.certificate), encoding="ascii")
    return _tls.Trust(str(path))


def look(port, trust, protocol, timeout=5):
    endpoint = {"host": "127.0.0.1", "port": port, "server_name": NAME, "starttls": protocol}
    return _tls.probe(endpoint, trust, timeout)


def shake(connection):
    with tls_zoo.context([LEAF], KEY).wrap_socket(connection, server_side=True) as secured:
        secured.recv(1)


def test_every_protocol_has_a_dialogue_here():
    assert set(DIALOGUES) == set(REFUSALS) == set(_starttls.PORTS)


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
def test_the_upgrade(trust, protocol):
    with speaks(DIALOGUES[protocol], shake) as port:
        seen = look(port, trust, protocol)
    assert seen["error"] is None and seen["trusted"] is True and seen["chain"] == [pki.der(LEAF)]


@pytest.mark.parametrize("protocol", sorted(REFUSALS))
def test_the_refusal(trust, protocol):
    with speaks(REFUSALS[protocol]) as port:
        seen = look(port, trust, protocol)
    assert seen["error"]["code"] == "starttls_refused" and seen["error"]["phase"] == "STARTTLS"
    if protocol in _starttls.LINES:
        assert "not here" in seen["error"]["text"]


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
@pytest.mark.parametrize("junk", [b"\x00" * 300, b"\xff\xfe\n" * 50, b"<<<<\r\n" * 30], ids=["zeros", "bytes", "text"])
def test_junk_ends(trust, protocol, junk):
    with speaks([(junk, b"")]) as port:
        seen = look(port, trust, protocol, timeout=0.5)
    assert seen["error"]["code"] in ("starttls_refused", "timeout") and seen["chain"] == []


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
def test_hanging_up(trust, protocol):
    with tls_zoo.listening(lambda connection: connection.close()) as port:
        seen = look(port, trust, protocol)
    assert seen["error"]["code"] in ("starttls_refused", "connection_closed")


@pytest.mark.parametrize("protocol", ["smtp", "imap", "sieve", "xmpp"])
def test_an_endless_greeting_is_cut_off(trust, protocol):
    def serve(connection):
        while True:
            connection.sendall(b'"250-and so on"\r\n' * 200)

    with tls_zoo.listening(serve) as port:
        seen = look(port, trust, protocol)
    assert seen["error"]["code"] == "starttls_refused" and "65536" in seen["error"]["text"]


def test_text_after_the_go_ahead_is_refused(trust):
    dialogue = ((b"+OK hello\r\n", b"STLS"), (b"+OK go\r\n+OK injected\r\n", b""))
    with speaks(dialogue, shake) as port:
        assert look(port, trust, "pop3")["error"]["code"] == "starttls_refused"


def test_what_the_server_said_is_made_printable():
    assert str(_starttls.Refused(b"500 no\x1b[31m\x00way")) == "500 no [31m way"
    assert len(str(_starttls.Refused("x" * 1000))) == 120
    assert str(_starttls.Refused(b"\x00\x00")) == "no readable answer"

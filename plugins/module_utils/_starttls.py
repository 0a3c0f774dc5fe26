# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that lead from a plain connection to TLS, protocol by protocol. The reader is bounded in bytes and time.

Sources: RFC 3207 (SMTP), 9051 (IMAP), 2595 (POP3), 4217 (FTP), 4642 (NNTP), 5804 (ManageSieve), 4511 (LDAP),
6120 (XMPP); PostgreSQL's frontend/backend protocol; MySQL's connection phase.
"""

import re
import time

LIMIT = 65536  # bytes of plain text before TLS; greetings are far shorter

# Line protocols: (what to wait for, what to send) in order. A reply line that begins as given ends the wait, one that
# begins with a failure word ends the conversation.
LINES = {
    "smtp": {
        "port": 25,
        "steps": ((rb"220 ", b"EHLO verify.invalid\r\n"), (rb"250 ", b"STARTTLS\r\n"), (rb"220 ", b"")),
        "refusal": rb"[45]\d\d[ -]",
    },
    "imap": {
        "port": 143,
        "steps": ((rb"\* (OK|PREAUTH)", b"a1 STARTTLS\r\n"), (rb"a1 OK", b"")),
        "refusal": rb"(\* BYE|a1 (NO|BAD))",
    },
    "pop3": {"port": 110, "steps": ((rb"\+OK", b"STLS\r\n"), (rb"\+OK", b"")), "refusal": rb"-ERR"},
    "ftp": {"port": 21, "steps": ((rb"220 ", b"AUTH TLS\r\n"), (rb"234 ", b"")), "refusal": rb"[45]\d\d[ -]"},
    "nntp": {"port": 119, "steps": ((rb"20[01] ", b"STARTTLS\r\n"), (rb"382 ", b"")), "refusal": rb"[45]\d\d[ -]"},
    "sieve": {"port": 4190, "steps": ((rb"OK", b"STARTTLS\r\n"), (rb"OK", b"")), "refusal": rb"(NO|BYE)"},
}

# ExtendedRequest with the object identifier of StartTLS, message 1; the answer carries resultCode success.
LDAP_REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
LDAP_SUCCESS = re.compile(rb"^\x30[^\x00]{1,5}\x02\x01\x01\x78[^\x00]{1,5}\x0a\x01\x00", re.DOTALL)
POSTGRES_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
MYSQL_SSL = 0x0800
# Capabilities long password, protocol 4.1, SSL, secure connection; 16 MB packets; utf8; 23 reserved bytes.
MYSQL_REQUEST = b"\x20\x00\x00\x01" + b"\x01\x8a\x00\x00" + b"\x00\x00\x00\x01" + b"\x21" + b"\x00" * 23


class Refused(Exception):
    """The server speaks, but does not change to TLS. The text is what it said, made printable."""

    def __init__(self, said):
        text = said.decode("ascii", "replace") if isinstance(said, bytes) else said
        super(Refused, self).__init__(re.sub(r"[^ -~]+", " ", text).strip()[:120] or "no readable answer")


class Talk(object):
    """A bounded conversation over a plain socket."""

    def __init__(self, plain, deadline):
        self.plain = plain
        self.deadline = deadline
        self.heard = b""
        self.total = 0

    def send(self, data):
        self.plain.sendall(data)

    def more(self):
        """Hear at least one more byte; Refused when the other side hangs up or talks without end."""
        self.plain.settimeout(max(0.05, self.deadline - time.time()))
        piece = self.plain.recv(4096)
        self.total += len(piece)
        if not piece:
            raise Refused(self.heard or "it closed the connection")
        if self.total > LIMIT:
            raise Refused("more than {0} bytes without an end".format(LIMIT))
        self.heard += piece

    def line(self):
        """The next line without its end."""
        while b"\n" not in self.heard:
            self.more()
        line, self.heard = self.heard.split(b"\n", 1)
        return line.rstrip(b"\r")

    def exactly(self, count):
        """The next bytes."""
        while len(self.heard) < count:
            self.more()
        data, self.heard = self.heard[:count], self.heard[count:]
        return data

    def until(self, *marks):
        """Hear until one of the marks was said, and forget all up to there; which mark it was."""
        while True:
            for mark in marks:
                if mark in self.heard:
                    self.heard = self.heard.split(mark, 1)[1]
                    return mark
            self.more()


def upgrade(plain, protocol, server_name, deadline):
    """Bring the connection to where the TLS handshake begins. Refused when the server does not want to."""
    talk = Talk(plain, deadline)
    if protocol in LINES:
        _lines(talk, LINES[protocol])
    else:
        OTHERS[protocol](talk, server_name)
    if talk.heard:
        raise Refused("it sends plain text where TLS must begin")


def _lines(talk, row):
    for expected, answer in row["steps"]:
        while True:
            line = talk.line()
            if re.match(expected, line):
                break
            if re.match(row["refusal"], line) or not _printable(line):
                raise Refused(line)
        if answer:
            talk.send(answer)


def _printable(line):
    return all(byte >= 32 or byte == 9 for byte in bytearray(line))


def _ldap(talk, _server_name):
    talk.send(LDAP_REQUEST)
    head = talk.exactly(2)
    length = bytearray(head)[1]
    if head[:1] != b"\x30" or length > 0x84:
        raise Refused(head)
    if length > 0x80:
        size = talk.exactly(length - 0x80)
        head += size
        length = int.from_bytes(size, "big")
    if length > LIMIT:
        raise Refused("an answer of {0} bytes".format(length))
    answer = head + talk.exactly(length)
    if not LDAP_SUCCESS.match(answer):
        raise Refused(answer)


def _postgres(talk, _server_name):
    talk.send(POSTGRES_REQUEST)
    answer = talk.exactly(1)
    if answer != b"S":
        raise Refused("it answers '{0}' to the request for TLS".format(answer.decode("ascii", "replace")))


def _mysql(talk, _server_name):
    length = int.from_bytes(talk.exactly(4)[:3], "little")
    if not 40 <= length <= 1024:
        raise Refused("a greeting of {0} bytes".format(length))
    greeting = talk.exactly(length)
    version_end = greeting.find(b"\x00", 1)
    flags = greeting[version_end + 14 : version_end + 16]
    if greeting[:1] != b"\x0a" or version_end < 0 or not int.from_bytes(flags, "little") & MYSQL_SSL:
        raise Refused("its greeting does not offer TLS")
    talk.send(MYSQL_REQUEST)


def _xmpp(talk, server_name):
    talk.send(
        "<?xml version='1.0'?><stream:stream to='{0}' xmlns='jabber:client' version='1.0' "
        "xmlns:stream='http://etherx.jabber.org/streams'>".format(server_name).encode("ascii")
    )
    if talk.until(b"urn:ietf:params:xml:ns:xmpp-tls", b"</stream:features>", b"</stream:stream>")[:1] == b"<":
        raise Refused("its features do not offer TLS")
    talk.until(b"</stream:features>")
    talk.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    if talk.until(b"<proceed", b"<failure", b"</stream:stream>") != b"<proceed":
        raise Refused("it answers with a failure")
    talk.until(b">")


OTHERS = {"ldap": _ldap, "postgres": _postgres, "mysql": _mysql, "xmpp": _xmpp}
PORTS = dict({name: row["port"] for name, row in LINES.items()}, ldap=389, postgres=5432, mysql=3306, xmpp=5222)
# Ports that speak plain text first, by their registered meaning (IANA); any other is TLS from the first byte.
PROTOCOLS = {port: name for name, port in PORTS.items()}
PROTOCOLS[587] = "smtp"  # submission


def of_certificate(starttls, port):
    """The protocol to speak for a certificate's endpoint: as given, else the port's usual one; '' for plain TLS."""
    if starttls == "none":
        return ""
    return starttls or PROTOCOLS.get(port, "")

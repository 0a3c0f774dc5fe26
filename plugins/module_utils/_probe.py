# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate a port serves, asked with nothing but Python's own ssl. It judges nothing."""

import collections
import re
import socket
import ssl
import warnings

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

TIMEOUT = 5
ENDPOINT = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})$")

# leaf: DER of the served certificate or None. problem: '' or refused, timeout, unresolved, closed, tls, starttls.
Seen = collections.namedtuple("Seen", "leaf problem detail")


def parse_endpoint(text):
    """(host, port) of 'host:port' or '[address]:port'."""
    match = ENDPOINT.match(text)
    port = int(match.group("port")) if match else 0
    if not 0 < port < 65536:
        raise UpkiError(
            "endpoint_invalid",
            "The endpoint '{0}' is not of the form host:port.".format(text[:80]),
            "Write it like 127.0.0.1:443 or [::1]:443.",
        )
    return match.group("six") or match.group("host"), port


def _context():
    """A client context that takes any certificate and any version that the host's OpenSSL still speaks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if hasattr(ssl, "TLSVersion"):  # Python 3.7
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context


def look(host, port, server_name, starttls="", timeout=TIMEOUT):
    """Seen: what the port serves for this name (SNI). Never raises for what the other side does."""
    connection = None
    try:
        connection = socket.create_connection((host, port), timeout)
        connection.settimeout(timeout)
        if starttls:
            GREETINGS[starttls](connection)
        connection = _context().wrap_socket(connection, server_hostname=server_name)
        return Seen(connection.getpeercert(True), "", "")
    except OSError as error:  # ssl.SSLError, socket.timeout and socket.gaierror among them
        return Seen(None, _problem(error), str(error))
    except UpkiError as error:
        return Seen(None, error.code, str(error))
    finally:
        if connection is not None:
            connection.close()


def _problem(error):
    for kind, word in (
        (ConnectionRefusedError, "refused"),
        (socket.timeout, "timeout"),
        (socket.gaierror, "unresolved"),
        (ssl.SSLEOFError, "closed"),
        (ssl.SSLError, "tls"),
        (ConnectionError, "closed"),
    ):
        if isinstance(error, kind):
            return word
    return "unreachable"


# --- STARTTLS: plain words before the handshake ------------------------------------------------------------


def _line(connection):
    """One line of the peer, byte by byte so that nothing of the handshake is swallowed."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 4096:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


def _expect(connection, good):
    """Read lines until one is final; UpkiError unless it matches."""
    for _number in range(100):
        line = _line(connection)
        if re.match(good, line):
            return
        if not line or re.match(rb"^([45]\d\d |-ERR|\S+ (NO|BAD) )", line):
            break
    raise UpkiError("starttls", "The server does not offer STARTTLS (it said {0!r}).".format(line[:80]))


def _smtp(connection):
    _expect(connection, rb"^220 ")
    connection.sendall(b"EHLO localhost\r\n")
    _expect(connection, rb"^250 ")
    connection.sendall(b"STARTTLS\r\n")
    _expect(connection, rb"^220 ")


def _imap(connection):
    _expect(connection, rb"^\* OK")
    connection.sendall(b"a STARTTLS\r\n")
    _expect(connection, rb"^a OK")


def _pop3(connection):
    _expect(connection, rb"^\+OK")
    connection.sendall(b"STLS\r\n")
    _expect(connection, rb"^\+OK")


def _ldap(connection):
    # LDAPMessage { 1, ExtendedRequest 1.3.6.1.4.1.1466.20037 }
    oid = b"1.3.6.1.4.1.1466.20037"
    connection.sendall(b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + oid)
    answer = connection.recv(4096)
    if b"\x0a\x01\x00" not in answer[:16]:  # resultCode success
        raise UpkiError("starttls", "The server does not offer STARTTLS (LDAP extended operation refused).")


GREETINGS = {"smtp": _smtp, "imap": _imap, "pop3": _pop3, "ldap": _ldap}
# Ports that speak plain text first, by their registered meaning (IANA); any other is TLS from the first byte.
STARTTLS_PORTS = {25: "smtp", 587: "smtp", 143: "imap", 110: "pop3", 389: "ldap"}

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate a port serves, asked with Python's own ssl. It judges nothing."""

import collections
import contextlib
import re
import socket
import ssl
import time
import warnings

from ansible_collections.campus.upki.plugins.module_utils import _s_client, _starttls, _tls
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

TIMEOUT = 5
ENDPOINT = re.compile(
    r"^(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[^\]\s]+)?)\]|(?P<host>[^\s:\[\]/]+))(?::(?P<port>[0-9]{1,5}))?$"
)

# leaf: DER of the served certificate or None. problem: '' or refused, timeout, unresolved, closed, tls, starttls.
# chain: [DER, …] as sent, the leaf first; None where it is not known (Python before 3.10 shows the leaf alone).
Seen = collections.namedtuple("Seen", "leaf problem detail chain")
Seen.__new__.__defaults__ = (None,)


def parse_endpoint(text, default_port=None, option="endpoint"):
    """(host, port) of 'host:port' or '[address]:port'; the port may be missing where there is a default."""
    match = ENDPOINT.match(text)
    port = int(match.group("port") or default_port or 0) if match else 0
    if not 0 < port < 65536:
        raise UpkiError(
            "endpoint_invalid",
            "The {0} '{1}' is not of the form host:port.".format(option, text[:80]),
            "Write it like 127.0.0.1:443 or [::1]:8443.",
        )
    return match.group("six") or match.group("host"), port


def parse_place(text, starttls=None):
    """(host, port, STARTTLS protocol or '') of 'host:port' or 'host:port=protocol'; else starttls, else the port's."""
    place, _equals, spoken = text.partition("=")
    host, port = parse_endpoint(place)
    if spoken and spoken != "none" and spoken not in _starttls.PORTS:
        raise UpkiError(
            "endpoint_invalid",
            "The endpoint '{0}' asks for STARTTLS by '{1}', which is none of {2}.".format(
                text[:80], spoken[:20], ", ".join(sorted(_starttls.PORTS))
            ),
            "Write it like 127.0.0.1:2525=smtp, or =none for TLS from the first byte.",
        )
    return host, port, _starttls.of_certificate(spoken or starttls, port)


def _context():
    """A client that takes any certificate and any version that OpenSSL still speaks: it looks and does not judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if hasattr(ssl, "TLSVersion"):  # Python 3.7
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with contextlib.suppress(ssl.SSLError):  # a TLS library without security levels
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def look(host, port, server_name, starttls="", timeout=TIMEOUT):
    """Seen: what the port serves for this name (SNI). Never raises for what the other side does."""
    connection = None
    try:
        connection = socket.create_connection((host, port), timeout)
        connection.settimeout(timeout)
        if starttls:
            _starttls.upgrade(connection, starttls, server_name, time.time() + timeout)
            connection.settimeout(timeout)
        connection = _context().wrap_socket(connection, server_hostname=server_name)
        chain, whole = _tls.served_chain(connection)
        return Seen(connection.getpeercert(True), "", "", chain if whole else None)
    except OSError as error:  # ssl.SSLError, socket.timeout and socket.gaierror among them
        return Seen(None, _problem(error), str(error))
    except _starttls.Refused as error:
        return Seen(None, "starttls", "no STARTTLS: it said '{0}'".format(error))
    except ValueError as error:  # a name that cannot be put into SNI, such as a label of more than 63 letters
        return Seen(None, "tls", str(error))
    finally:
        if connection is not None:
            connection.close()


def sent_chain(seen, host, port, server_name, starttls=""):
    """The chain of a Seen; asked once more with the program openssl where this Python cannot show it. None: unknown."""
    if seen.chain is not None or seen.leaf is None:
        return seen.chain
    where = {"address": host, "port": port, "server_name": server_name, "starttls": starttls}
    return _s_client.chain(where, seen.leaf, TIMEOUT)


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

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on loopback for tests: TLS with any chain, and others that misbehave. Runs on Python 3.6 too."""

import contextlib
import os
import socket
import ssl
import tempfile
import threading

from ansible_collections.campus.upki.tests.unit import pki
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import serialization

PATIENCE = 10  # seconds after which a server's thread gives up, so that no test can hang


@contextlib.contextmanager
def listening(serve, address="127.0.0.1", port=0):
    """A thread that calls serve(connection) for each connection; gives the port."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.bind((address, port))
    listener.listen(32)
    stop = threading.Event()

    def accept():
        while not stop.is_set():
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            if stop.is_set():
                connection.close()
                return
            threading.Thread(target=_handle, args=(serve, connection), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield port
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            socket.create_connection((address, port), 1).close()
        listener.close()
        thread.join(PATIENCE)


def _handle(serve, connection):
    connection.settimeout(PATIENCE)
    with connection, contextlib.suppress(OSError, ssl.SSLError):
        serve(connection)


def context(chain, key, configure=None):
    """A server context that sends these certificates, the first of which belongs to the key."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if hasattr(ssl, "PROTOCOL_TLS_SERVER") else ssl.PROTOCOL_TLS)
    with contextlib.suppress(ssl.SSLError):
        made.set_ciphers("ALL:@SECLEVEL=0")
    handle, path = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(pki.key_pem(key).decode("ascii") + (chain if isinstance(chain, str) else pki.pem(*chain)))
        made.load_cert_chain(path)
    finally:
        os.unlink(path)
    if configure is not None:
        configure(made)
    return made


def load_key(pem):
    """The private key of a file that the code under test wrote."""
    return serialization.load_pem_private_key(pem, None, default_backend())


def tls(chain, key, configure=None, address="127.0.0.1", port=0):
    """A server that shakes hands and then waits for the client to go. chain: certificates, or PEM text."""
    made = context(chain, key, configure)

    def serve(connection):
        with made.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    return listening(serve, address, port)


def says(*pieces):
    """A server that sends some bytes, whatever the client says, and hangs up."""

    def serve(connection):
        for piece in pieces:
            connection.sendall(piece)
        connection.recv(4096)

    return listening(serve)


def hangs_up():
    """A server that reads the first message and closes."""

    def serve(connection):
        connection.recv(4096)

    return listening(serve)


def silent(stop, patience=PATIENCE):
    """A server that accepts and says nothing until the event is set."""

    def serve(connection):
        stop.wait(patience)

    return listening(serve)


# --- TLS 1.2 by hand, as far as it is plain ------------------------------------------------------------------

SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE = 2, 11, 14
RECORD = 16384  # the most that one record carries


def _handshake(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def certificate_message(ders):
    """A Certificate message as TLS 1.2 sends it, in the clear."""
    rows = b"".join(len(one).to_bytes(3, "big") + one for one in ders)
    return _handshake(CERTIFICATE, len(rows).to_bytes(3, "big") + rows)


def hand_made(message):
    """A server that speaks TLS 1.2 by hand: ServerHello, then this message in as many records as it takes.

    It has no key, so that a handshake never comes to its end. (RFC 5246, 6.2.1 and 7.4.)
    """
    secure_renegotiation = b"\x00\x05" + b"\xff\x01\x00\x01\x00"  # which OpenSSL 3 demands (RFC 5746)
    hello = b"\x03\x03" + b"\x5a" * 32 + b"\x00" + b"\xc0\x2b" + b"\x00"  # ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    hello += secure_renegotiation
    flight = _handshake(SERVER_HELLO, hello) + message

    def serve(connection):
        connection.recv(RECORD)
        for start in range(0, len(flight), RECORD):
            piece = flight[start : start + RECORD]
            connection.sendall(b"\x16\x03\x03" + len(piece).to_bytes(2, "big") + piece)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(RECORD)

    return listening(serve)


def has_ipv6():
    """Whether ::1 can be listened on."""
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def refusing_port():
    """A port of loopback where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCSP answer that a server staples to its handshake.

Python's ssl can neither ask for it nor show it, so the program openssl asks, and its record of the handshake's messages
is read. The answer is judged like one from the responder.
"""

import re
import subprocess

from ansible_collections.campus.upki.plugins.module_utils import _cards, _revocation, _s_client, _x509
from ansible_collections.campus.upki.plugins.module_utils._findings import finding
from ansible_collections.campus.upki.plugins.module_utils._where import where

MESSAGE = re.compile(
    r"^<<< [^\n]*Handshake[^\n]*, (Certificate|CertificateStatus)\n((?: {4}[0-9a-f ]+\n)+)", re.MULTILINE
)
STATUS_REQUEST = 5  # the extension's number (RFC 6066)


def read(seen, timeout):
    """(DER of the stapled answer, b'' where none was sent, or None where this could not be learned; why not)."""
    try:
        done = subprocess.run(
            _s_client.command(seen) + ["-status", "-msg"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return None, "the program openssl is not there"
    except (OSError, subprocess.SubprocessError) as error:
        return None, "the program openssl ended with {0}".format(type(error).__name__)
    messages = MESSAGE.findall(done.stdout[: _s_client.LARGEST].decode("ascii", "replace"))
    if not any(name == "Certificate" for name, _dump in messages):
        return None, "the program openssl shows no certificate message"
    try:
        found = [_answer(name, bytes(bytearray.fromhex("".join(dump.split())))) for name, dump in messages]
    except (ValueError, IndexError):
        return None, "the program openssl shows a message that cannot be read"
    return next((data for data in found if data), b""), ""


def _take(data, size):
    """(a field with a length of `size` bytes before it, the rest)."""
    length = int.from_bytes(data[:size], "big")
    if len(data) < size + length:
        raise ValueError("cut off")
    return data[size : size + length], data[size + length :]


def _answer(name, message):
    """The OCSP answer in a handshake message, or b''."""
    body, _rest = _take(message[1:], 3)
    if name == "CertificateStatus":  # TLS 1.2 and before (RFC 6066)
        return _status(body)
    # TLS 1.3 (RFC 8446 4.4.2): a context, then a list of (certificate, extensions); TLS 1.2 has no extensions there.
    if body[:1] != b"\x00" or len(body) < 7 or int.from_bytes(body[1:4], "big") != len(body) - 4:
        return b""
    _certificate, rest = _take(body[4:], 3)
    extensions, _rest = _take(rest, 2)
    while extensions:
        number = int.from_bytes(extensions[:2], "big")
        value, extensions = _take(extensions[2:], 2)
        if number == STATUS_REQUEST:
            return _status(value)
    return b""


def _status(value):
    return _take(value[1:], 3)[0] if value[:1] == b"\x01" else b""


def check(pairs, seen, timeout, now):
    """(findings, [verdict about the server certificate]) of what was stapled; pairs as for _revocation.check."""
    data, problem = read(seen, timeout)
    if data is None:
        return [finding("staple_unseen", where=where(seen), text=problem)], []
    leaf = pairs[0][0] if pairs else None
    if not data:
        must = leaf is not None and _x509.must_staple(leaf["certificate"])
        return [finding("staple_invalid", "missing", where=where(seen), subject=_cards.label(leaf))] if must else [], []
    if leaf is None:
        return [finding("staple_unseen", where=where(seen), text="the issuer's certificate is not known")], []
    status, text = _revocation.judge_ocsp(leaf["certificate"], pairs[0][1]["certificate"], data, now)
    if status == "unknown":
        return [finding("staple_invalid", where=where(seen), text=text)], []
    return [], [(status, text + " (stapled)")]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for other names, as a host knows them: by their public keys, and in few bytes.

A fleet's inbox holds hundreds of them, every host must compare its pending key with each, and nearly always none fits.
So the controller sends the beginnings of their hashes in one string, and puts file and names into the error afterwards.
"""

DIGITS = 16  # of the public key's SHA-256, in hexadecimal
KNOWN_AS = "the certificate in the inbox whose public key's SHA-256 begins with {0}"


def pack(keys):
    """Option C(others) of campus.upki.install, from SHA-256 of public keys in hexadecimal."""
    return "".join(sorted(key[:DIGITS] for key in keys))


def has(packed, key):
    """Whether the key is among them."""
    short = key[:DIGITS]
    return short in (packed[start : start + DIGITS] for start in range(0, len(packed), DIGITS))


def known_as(key):
    """What the host calls one of them in a message."""
    return KNOWN_AS.format(key[:DIGITS])

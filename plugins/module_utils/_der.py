# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a CSR in DER, read at a glance.

cryptography has read the CSR before and decides what is valid. This only finds the parts, because building the
library's objects for subject, key and extensions takes longer than verifying an RSA signature. What does not look
exactly like an ordinary CSR gives None, and the caller takes the long way.
"""

import functools

OIDS = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}
STRINGS = {0x0C: "utf-8", 0x13: "ascii"}  # UTF8String, PrintableString

# SubjectPublicKeyInfo of the two key types: how it begins, its length, how it ends (RSA: exponent 65537).
KEYS = (
    (
        "rsa2048",
        bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100"),
        294,
        bytes.fromhex("0203010001"),
    ),
    ("p384", bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"), 120, b""),
)
HASHES = {
    bytes.fromhex("300d06092a864886f70d01010b0500"): "sha256",  # sha256WithRSAEncryption
    bytes.fromhex("300a06082a8648ce3d040302"): "sha256",  # ecdsa-with-SHA256
    bytes.fromhex("300a06082a8648ce3d040303"): "sha384",  # ecdsa-with-SHA384
}
NO_ATTRIBUTES = b"\xa0\x00"


def _element(data, at):
    """(start of the content, end) of the element at this place."""
    length = data[at + 1]
    if length < 0x80:
        return at + 2, at + 2 + length
    size = length & 0x7F
    start = at + 2 + size
    return start, start + int.from_bytes(data[at + 2 : start], "big")


def request_parts(data):
    """(relative names [bytes], SubjectPublicKeyInfo, attributes, signature algorithm) of a CSR that is valid DER."""
    info = _element(data, 0)[0]
    at, info_end = _element(data, info)
    at = _element(data, at)[1]  # version
    name, name_end = _element(data, at)
    key_end = _element(data, name_end)[1]
    names = []
    while name < name_end:
        end = _element(data, name)[1]
        names.append(data[name:end])
        name = end
    algorithm_end = _element(data, info_end)[1]
    return names, data[name_end:key_end], data[key_end:info_end], data[info_end:algorithm_end]


@functools.lru_cache(maxsize=1024)
def field(relative_name):
    """(short name, value) of SET { SEQUENCE { OID, string } }, or None for any other shape."""
    pair, end = _element(relative_name, 0)
    oid, pair_end = _element(relative_name, pair)
    if pair_end != end:
        return None  # several values in one
    start, oid_end = _element(relative_name, oid)
    text, text_end = _element(relative_name, oid_end)
    name = OIDS.get(relative_name[start:oid_end])
    encoding = STRINGS.get(relative_name[oid_end])
    if name is None or encoding is None or text_end != pair_end:
        return None
    try:
        return name, relative_name[text:text_end].decode(encoding)
    except UnicodeDecodeError:
        return None


def fields(relative_names):
    """[(short name, value)] of a subject, or None."""
    found = [field(one) for one in relative_names]
    return None if None in found else found


def key_type(info):
    """rsa2048, p384, or None for any other SubjectPublicKeyInfo."""
    for name, start, length, end in KEYS:
        if len(info) == length and info.startswith(start) and info.endswith(end):
            return name if name != "rsa2048" or info[len(start)] >= 0x80 else None
    return None

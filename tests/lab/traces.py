# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would betray a private key, whole or in part, in whatever form it went astray, and where that stands."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import pathlib
import re
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping

from ansible_collections.campus.upki.plugins.module_utils import _x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# So many bytes of a trace in a row tell it from all else. Every GRAM-th place of the data is looked at, so that
# 2 * GRAM - 1 bytes of a trace are found wherever they stand: less than half a line of PEM.
GRAM = 16
ESCAPES = re.compile(rb"\\+[nrt]")
PLAIN_BASE64 = bytes.maketrans(b"-_", b"+/")
BETWEEN = b"\r\n\t :"  # what divides lines, and the bytes of `openssl pkey -text`
DEPTH = 3  # archives in archives


def traces(key_pem: bytes) -> list[bytes]:
    """Every usual form of a key's secret numbers; what the certificate shows as well is not among them."""
    key = _x509.private_key_from_pem(key_pem)
    numbers = secret_numbers(key)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    raw = [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in numbers]
    begin, end = min(map(der.index, raw)), max(der.index(one) + len(one) for one in raw)
    secret = der[begin:end]
    forms = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    forms += [str(number).encode() for number in numbers]
    forms += base64_forms(secret)  # PEM lines too, whatever their length and whatever the key is wrapped in
    # The file itself in base64, as slurp and b64encode give it: of its text the part that stands for the secret bytes.
    head = key_pem.index(b"\n") + 1
    first, last = (head + place + place // 64 for place in (-(-begin * 4 // 3), end * 4 // 3))
    return forms + base64_forms(key_pem[first:last])


def secret_numbers(key: object) -> list[int]:
    numbers = key.private_numbers()  # type: ignore[attr-defined]
    if isinstance(numbers, rsa.RSAPrivateNumbers):
        return [numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp]
    return [numbers.private_value]


def base64_forms(data: bytes) -> list[bytes]:
    """Base64 of the data with anything in front of it and behind it: it may begin at three places in a group."""
    return [base64.b64encode(bytes(shift) + data)[(0, 2, 3)[shift] : -4] for shift in range(3)]


class Search:
    """Looks for several keys, each with a name, in one go."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self.names = {
            trace[place : place + GRAM]: name
            for name, key in keys.items()
            for trace in traces(key)
            for place in range(len(trace) - GRAM + 1)
        }

    def found(self, data: bytes) -> set[str]:
        """The names of the keys of which there is a trace."""
        return {name for part in contents(data) for text in (part, unwrapped(part)) for name in self._found(text)}

    def _found(self, data: bytes) -> set[str]:
        pieces = {data[place : place + GRAM] for place in range(0, len(data), GRAM)}
        return {self.names[piece] for piece in self.names.keys() & pieces}

    def places(self, places: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
        """{place: names} of the places that hold a trace."""
        return {place: names for place, data in places if (names := self.found(data))}


def unwrapped(data: bytes) -> bytes:
    """Without ends of lines, real ones and written ones, and base64 in its usual letters."""
    return ESCAPES.sub(b"", data).translate(PLAIN_BASE64, BETWEEN)


def contents(data: bytes, depth: int = DEPTH) -> Iterator[bytes]:
    """The data itself, and what a zip or gzip file holds."""
    yield data
    for inner in (*zipped(data), *gzipped(data)) if depth else ():
        yield from contents(inner, depth - 1)


def zipped(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    if data.startswith(b"PK"):
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(data)) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return found


def gzipped(data: bytes) -> list[bytes]:
    """Also of a file that is not written to its end yet."""
    if not data.startswith(b"\x1f\x8b"):
        return []
    with contextlib.suppress(zlib.error):
        return [zlib.decompressobj(wbits=31).decompress(data)]
    return []


# --- files -----------------------------------------------------------------------------------------------------


def files(folders: Iterable[pathlib.Path], without: Collection[pathlib.Path] = ()) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file below the folders, but for those at exactly these paths."""
    for folder in folders:
        for path in walk(folder):
            if path not in without:
                with contextlib.suppress(FileNotFoundError):  # hosts go on living
                    yield str(path), path.read_bytes()


def walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Regular files; a pipe or a socket cannot be read to its end."""
    for base, _folders, names in os.walk(folder):
        for path in (pathlib.Path(base, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def stored_keys(root: pathlib.Path) -> list[pathlib.Path]:
    """The one kind of place below the root of a host where keys belong."""
    return sorted(root.glob("etc/upki/*/generations/*/key.pem"))

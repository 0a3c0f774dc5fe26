# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for traces of keys finds what there is to find. Needs no host; test_secrets.py searches hosts with it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pathlib
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.sampling import Processes, Sampler, TemporaryFiles
from ansible_collections.campus.upki.tests.lab.traces import (
    GRAM,
    Search,
    files,
    secret_numbers,
    stored_keys,
    traces,
    unwrapped,
)
from ansible_collections.campus.upki.tests.unit import pki

KINDS = ("rsa2048", "p384")
OTHER = pki.key_pem(pki.new_key())
AROUND = b"text before it ", b" and behind it"


def pem(kind: str) -> bytes:
    return bytes(pki.key_pem(pki.key("traces", kind)))


def pkey(kind: str, *options: str) -> bytes:
    return subprocess.run(["openssl", "pkey", *options], input=pem(kind), capture_output=True, check=True).stdout


def zipped(data: bytes, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a/b.key", data)
    return stream.getvalue()


def wrapped(data: bytes, width: int) -> bytes:
    text = base64.b64encode(data)
    return b"\n  ".join(text[place : place + width] for place in range(0, len(text), width))


FORMS: dict[str, Callable[[str], bytes]] = {
    "PEM": pem,
    "PEM of the older form": lambda kind: bytes(pki.traditional_pem(pki.key("traces", kind))),
    "PEM in JSON": lambda kind: json.dumps({"a": pem(kind).decode()}).encode(),
    "PEM in JSON in JSON": lambda kind: json.dumps(json.dumps({"a": pem(kind).decode()})).encode(),
    "PEM as a list of lines": lambda kind: json.dumps(pem(kind).decode().splitlines()).encode(),
    "PEM in YAML, CRLF": lambda kind: pem(kind).replace(b"\n", b"\r\n    "),
    "half a line of PEM": lambda kind: pem(kind).splitlines()[{"rsa2048": 20, "p384": 2}[kind]][: 2 * GRAM - 1],
    "DER": lambda kind: pkey(kind, "-outform", "DER"),
    "DER in lines of 20": lambda kind: wrapped(pkey(kind, "-outform", "DER"), 20),
    "DER in lines of 76": lambda kind: wrapped(pkey(kind, "-outform", "DER"), 76),
    "DER in hexadecimal": lambda kind: pkey(kind, "-outform", "DER").hex().encode(),
    "DER in capital hexadecimal": lambda kind: pkey(kind, "-outform", "DER").hex().upper().encode(),
    "DER for URLs": lambda kind: base64.urlsafe_b64encode(pkey(kind, "-outform", "DER")),
    "openssl's text": lambda kind: pkey(kind, "-noout", "-text"),
    **{
        f"the file in base64, {shift} bytes behind a group's begin": lambda kind, shift=shift: base64.b64encode(  # type: ignore[misc]
            bytes(shift) + pem(kind)
        )
        for shift in range(3)
    },
    "the file in lines of base64": lambda kind: base64.encodebytes(pem(kind)),
    **{
        f"a number in {name}": lambda kind, form=form: form(secret_numbers(_x509.private_key_from_pem(pem(kind)))[0])  # type: ignore[misc]
        for name, form in {
            "decimal": lambda number: str(number).encode(),
            "hexadecimal": lambda number: f"{number:x}".encode(),
            "bytes": lambda number: number.to_bytes(256, "big"),
            "base64": lambda number: base64.b64encode(number.to_bytes(257, "big")),
            "base64, one byte on": lambda number: base64.b64encode(number.to_bytes(258, "big")),
            "base64, two bytes on": lambda number: base64.b64encode(number.to_bytes(259, "big")),
        }.items()
    },
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "a gzip without its end": lambda data: gzip.compress(data)[:-100],
    "zip": lambda data: zipped(data, zipfile.ZIP_DEFLATED),
    "zip in a gzip": lambda data: gzip.compress(zipped(data, zipfile.ZIP_DEFLATED)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_key_is_found(kind: str) -> None:
    search = Search({"mine": pem(kind), "other": OTHER})
    made = {form: AROUND[0] + make(kind) + AROUND[1] for form, make in FORMS.items()}
    missed = [
        (form, shift)
        for form, data in made.items()
        for shift in range(GRAM)  # it may stand anywhere
        if search.found(bytes(shift) + data) != {"mine"}
    ]
    assert not missed


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_in_an_archive_is_found(kind: str) -> None:
    search = Search({"mine": pem(kind), "other": OTHER})
    missed = [form for form, pack in PACKED.items() if search.found(pack(AROUND[0] + pem(kind))) != {"mine"}]
    assert not missed
    assert not search.found(b"PK\3\4 no archive") and not search.found(b"\x1f\x8b no archive")


@pytest.mark.parametrize("kind", KINDS)
def test_each_secret_number_alone_is_found(kind: str) -> None:
    search = Search({"mine": pem(kind)})
    numbers = secret_numbers(_x509.private_key_from_pem(pem(kind)))
    assert len(numbers) == {"rsa2048": 6, "p384": 1}[kind]
    assert all(search.found(form) for number in numbers for form in (str(number).encode(), f"{number:x}".encode()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_everybody_may_see_of_a_key_is_no_trace(kind: str) -> None:
    key = pki.key("traces", kind)
    ca = pki.CA("Traces Root")
    public = [
        pki.pem(pki.csr(key, "www.example.ac.jp")),
        pki.pem(ca.issue("www.example.ac.jp", key.public_key())),
        _x509.spki_sha256(key.public_key()),
        f"{_x509.private_key_from_pem(pem(kind)).public_key().public_numbers()}",
    ]
    search = Search({"mine": pem(kind)})
    for text in (*public, *(base64.b64encode(text.encode()).decode() for text in public)):
        assert not search.found(text.encode())
    assert not search.found(pkey(kind, "-pubout")) and not search.found(pkey(kind, "-noout", "-text_pub"))
    assert not search.found(OTHER)
    assert min(map(len, traces(pem(kind)))) >= 2 * GRAM - 1


def test_a_key_is_left_out_at_its_own_place_only(tmp_path: pathlib.Path) -> None:
    own = tmp_path / "etc/upki/www/generations/1/key.pem"
    others = [
        *("tmp/x/key.pem", "etc/upki/key.pem", "etc/upki/www/key.pem", "etc/upki/www/generations/1/.key.pem.tmp"),
        *("srv/etc/upki/www/generations/1/key.pem", "etc/upki/www/generations/1/old/key.pem"),
    ]
    for path in (own, *(tmp_path / name for name in others)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pem("p384"))
    (tmp_path / "link").symlink_to(own)
    assert stored_keys(tmp_path) == [own]
    found = Search({"mine": pem("p384")}).places(files([tmp_path], stored_keys(tmp_path)))
    assert found == {str(tmp_path / name): {"mine"} for name in others}


def test_arguments_and_environments_are_seen() -> None:
    keys = {part: bytes(pki.key_pem(pki.new_key())) for part in ("cmdline", "environ")}
    command = [sys.executable, "-c", "import time; time.sleep(0.5)", keys["cmdline"].decode()]
    with Processes() as processes:
        subprocess.run(command, env={"KEY": keys["environ"].decode()}, check=True)
    found = Search(keys).places(processes.seen)
    assert sorted((place.split()[0], *names) for place, names in found.items()) == [(part, part) for part in keys]


def test_files_that_are_gone_again_are_seen(tmp_path: pathlib.Path) -> None:
    with TemporaryFiles([tmp_path / "later"]) as passing:
        folder = tmp_path / "later" / "deep"
        folder.mkdir(parents=True)
        for content in (b"nothing yet", pem("p384")):
            (folder / "file").write_bytes(content)
            await_seen(passing, (f"passing file {folder / 'file'}", content))
        (folder / "file").unlink()
    assert list(Search({"mine": pem("p384")}).places(passing.seen)) == [f"passing file {folder / 'file'}"]


def await_seen(passing: Sampler, what: tuple[str, bytes]) -> None:
    end = time.monotonic() + 20
    while what not in passing.seen and time.monotonic() < end:
        time.sleep(0.01)


def test_lines_are_joined_and_base64_for_urls_is_read_as_the_usual_one() -> None:
    assert unwrapped(b"ab-_\\n  cd\\\\r\r\n\tef:01") == b"ab+/cdef01"


def test_a_sampler_that_fails_or_hangs_says_so() -> None:
    class Broken(Sampler):
        def look(self) -> None:
            raise PermissionError("may not look")

    with pytest.raises(PermissionError, match="may not look"), Broken():
        time.sleep(0.1)

    class Hanging(Sampler):
        def look(self) -> None:
            time.sleep(1)

    with pytest.raises(AssertionError, match="does not end"), Hanging(patience=0.1):
        time.sleep(0.1)

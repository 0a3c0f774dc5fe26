# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people save, from the controller's folders to the files that a server reads: clean PEM, or nothing at all."""

from __future__ import annotations

import email.mime.application
import email.mime.multipart
import io
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.integration import servers
from ansible_collections.campus.upki.tests.unit import pki
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

NAME = servers.NAME
ITEM = {"name": NAME}


class Desk:
    """A request that waits, the certificate that answers it, and an inbox that is still empty."""

    def __init__(self, path: pathlib.Path) -> None:
        self.issuer = servers.Issuer(path)
        self.pending = self.issuer.request()
        self.leaf = self.issuer.issue(self.pending)
        self.inter = self.issuer.inter.certificate
        self.inbox, self.intermediates = path / "inbox", path / "intermediates"
        for file in self.inbox.iterdir():
            file.unlink()

    def save(self, data: bytes) -> None:
        (self.inbox / "whatever.txt").write_bytes(data)

    def goes_live(self) -> None:
        (row,) = self.issuer.install(ITEM)["certificates"]
        assert (row["state"], row["reason_code"]) == ("live", "installed")
        live = pathlib.Path(self.issuer.store.path, NAME, "live")
        assert (live / "fullchain.pem").read_text() == pki.pem(self.leaf, self.inter)
        assert (live / "certificate.pem").read_text() == pki.pem(self.leaf)
        assert (live / "chain.pem").read_text() == pki.pem(self.inter)
        assert self.issuer.install(ITEM)["changed"] is False

    def refused(self, *codes: str) -> UpkiError:
        with pytest.raises(UpkiError) as caught:
            self.issuer.install(ITEM)
        error: UpkiError = caught.value
        assert error.code in codes, str(error)
        assert error.message and error.fix
        self.untouched()
        return error

    def untouched(self) -> None:
        slot = self.issuer.store.certificate(NAME)
        assert slot.live is None and slot.pending == self.pending
        assert not self.pending.has("fullchain.pem")


@pytest.fixture
def desk(tmp_path: pathlib.Path) -> Desk:
    return Desk(tmp_path)


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("certificates/server.cer", data)
    return stream.getvalue()


def mailed(data: bytes) -> bytes:
    message = email.mime.multipart.MIMEMultipart()
    message["Subject"], message["From"] = "サーバ証明書発行受付通知", "ca@example.ac.jp"
    part = email.mime.application.MIMEApplication(data)
    part.add_header("Content-Disposition", "attachment", filename="server.cer")
    message.attach(part)
    return message.as_bytes()


def quoted(text: str) -> str:
    return "".join(f"> {line}" for line in text.splitlines(keepends=True))


TRUST = bytes.fromhex("300a060355041d0603551d0f")
CURVE = pki.armour("EC PARAMETERS", bytes.fromhex("06052b81040022"))
NORMALISED: dict[str, Callable[[str, bytes], bytes]] = {
    "as it should be": lambda pem, der: pem.encode(),
    "DER": lambda pem, der: der,
    "UTF-8 BOM": lambda pem, der: b"\xef\xbb\xbf" + pem.encode(),
    "UTF-16": lambda pem, der: pem.encode("utf-16"),
    "UTF-16 without BOM": lambda pem, der: pem.encode("utf-16-le"),
    "CRLF": lambda pem, der: pem.replace("\n", "\r\n").encode(),
    "CR only": lambda pem, der: pem.replace("\n", "\r").encode(),
    "text around": lambda pem, der: f"subject=/CN=x\n証明書です\n{pem}以上\n".encode(),
    "text around in Shift_JIS": lambda pem, der: "証明書です\n".encode("shift_jis") + pem.encode(),
    "mail-quoted lines": lambda pem, der: quoted(pem).encode(),
    "no final newline": lambda pem, der: pem.rstrip().encode(),
    "trailing junk": lambda pem, der: pem.encode() + b"\x00\x1a junk",
    "trailing junk after DER": lambda pem, der: der + b"\x00\x1a junk",
    "TRUSTED CERTIFICATE": lambda pem, der: pki.armour("TRUSTED CERTIFICATE", der + TRUST).encode(),
    "EC PARAMETERS first": lambda pem, der: (CURVE + pem).encode(),
    "zip": lambda pem, der: zipped(der),
    "mail": lambda pem, der: mailed(der),
    "zip in a mail": lambda pem, der: mailed(zipped(pem.encode())),
}


@pytest.mark.parametrize("form", sorted(NORMALISED))
def test_a_certificate_in_this_form_is_served_as_clean_pem(desk: Desk, form: str) -> None:
    desk.save(NORMALISED[form](pki.pem(desk.leaf), pki.der(desk.leaf)))
    desk.goes_live()


@pytest.mark.parametrize("form", sorted(NORMALISED))
def test_an_intermediate_in_this_form_is_served_as_clean_pem(desk: Desk, form: str) -> None:
    desk.save(pki.der(desk.leaf))
    (desk.intermediates / "ca.cer").write_bytes(NORMALISED[form](pki.pem(desk.inter), pki.der(desk.inter)))
    desk.goes_live()


BUNDLES: dict[str, Callable[[Desk, Any], bytes]] = {
    "chain first": lambda desk, root: pki.pem(root, desk.inter, desk.leaf).encode(),
    "glued without newline": lambda desk, root: (
        pki.pem(desk.inter, desk.leaf).replace("\n-----BEGIN", "-----BEGIN").encode()
    ),
    "PKCS#7 in any order": lambda desk, root: pki.pkcs7(root, desk.leaf, desk.inter),
    "PKCS#7 in PEM": lambda desk, root: pki.armour("PKCS7", pki.pkcs7(desk.inter, desk.leaf)).encode(),
    "two leaves": lambda desk, root: pki.pem(
        desk.issuer.inter.issue(NAME, pki.key("somebody else").public_key(), start=servers.now() - pki.days(1)),
        desk.leaf,
        desk.inter,
    ).encode(),
}


@pytest.mark.parametrize("form", sorted(BUNDLES))
def test_several_certificates_in_one_file_are_sorted_out(desk: Desk, form: str) -> None:
    (desk.intermediates / "ca.cer").unlink()
    desk.save(BUNDLES[form](desk, desk.issuer.root.certificate))
    desk.goes_live()


def der_key() -> bytes:
    return pki.key("x").private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key(desk: Desk) -> bytes:
    key: bytes = desk.leaf.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key


def p12(desk: Desk) -> bytes:
    key: Any = serialization.load_pem_private_key(pathlib.Path(desk.pending.key_path).read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    return pkcs12.serialize_key_and_certificates(b"x", key, desk.leaf, None, secret)


USELESS: dict[str, tuple[Callable[[Desk], bytes], str]] = {
    "empty": (lambda desk: b"", "empty"),
    "HTML page": (lambda desk: b"<!doctype html><title>Login</title>", "HTML page"),
    "CSR": (lambda desk: str(desk.pending.request()).encode(), "CSR"),
    "public key": (public_key, "public key"),
    "private key": (lambda desk: pathlib.Path(desk.pending.key_path).read_bytes(), "PRIVATE KEY"),
    "private key in DER": (lambda desk: der_key(), "PRIVATE KEY"),
    "encrypted key": (lambda desk: pki.key_pem(pki.key("x"), b"secret"), "PRIVATE KEY"),
    "P12": (p12, "PKCS#12"),
    "truncated PEM": (lambda desk: pki.pem(desk.leaf)[:600].encode(), "cut off"),
    "truncated DER": (lambda desk: bytes(pki.der(desk.leaf)[:400]), "cut off"),
}


@pytest.mark.parametrize("form", sorted(USELESS))
def test_what_is_no_certificate_is_refused_by_its_name(desk: Desk, form: str) -> None:
    make, words = USELESS[form]
    desk.save(make(desk))
    error = desk.refused("unusable_file")
    assert "whatever.txt" in error.message and words in error.message
    secret = pathlib.Path(desk.pending.key_path).read_text().splitlines()[1]
    assert secret not in str(error.result())


@pytest.mark.parametrize("form", ["truncated PEM", "truncated DER", "HTML page"])
def test_a_useless_intermediate_is_named_beside_what_lacks(desk: Desk, form: str) -> None:
    desk.save(pki.der(desk.leaf))
    useless = {
        "truncated PEM": pki.pem(desk.inter)[:600].encode(),
        "truncated DER": pki.der(desk.inter)[:400],
        "HTML page": b"<html></html>",
    }
    (desk.intermediates / "ca.cer").write_bytes(useless[form])
    error = desk.refused("intermediate_missing")
    assert str(desk.intermediates / "ca.cer") in error.fix
    (desk.intermediates / "again.cer").write_bytes(pki.der(desk.inter))
    desk.goes_live()


def flips(data: bytes) -> list[bytes]:
    """The data with one byte changed, at places all over it."""
    return [data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :] for place in range(3, len(data), 17)]


def test_one_flipped_byte_anywhere_in_the_certificate_never_goes_live(desk: Desk) -> None:
    codes = set()
    for data in flips(pki.der(desk.leaf)):
        desk.save(data)
        try:
            (row,) = desk.issuer.install(ITEM)["certificates"]
            codes.add(row["reason_code"])  # its name was hit, so it is nobody's
        except UpkiError as error:
            codes.add(error.code)
        desk.untouched()
    assert codes <= {
        "certificate_damaged",
        "unusable_file",
        "waiting",
        "intermediate_missing",
        "issuer_unfit",
        "names_missing",
    }
    assert "certificate_damaged" in codes
    desk.save(pki.der(desk.leaf))
    desk.goes_live()


def test_one_flipped_byte_anywhere_in_the_intermediate_never_goes_live(desk: Desk) -> None:
    desk.save(pki.der(desk.leaf))
    codes = set()
    for data in flips(pki.der(desk.inter)):
        (desk.intermediates / "ca.cer").write_bytes(data)
        with pytest.raises(UpkiError) as caught:
            desk.issuer.install(ITEM)
        codes.add(caught.value.code)
        desk.untouched()
    assert codes <= {"certificate_damaged", "intermediate_missing", "issuer_unfit", "issuer_expired", "untrusted_chain"}
    assert "certificate_damaged" in codes


def test_a_passphrase_on_the_key_is_refused_and_nobody_is_asked(desk: Desk) -> None:
    key = serialization.load_pem_private_key(pathlib.Path(desk.pending.key_path).read_bytes(), None)
    pathlib.Path(desk.pending.key_path).write_bytes(pki.key_pem(key, b"secret"))
    desk.save(pki.der(desk.leaf))
    desk.refused("key_encrypted")


def test_the_certificate_of_the_request_before_is_listed_and_the_right_one_awaited(desk: Desk) -> None:
    desk.save(pki.der(desk.leaf))
    desk.pending = desk.issuer.request()
    result = desk.issuer.install(ITEM)
    assert result["certificates"][0]["reason_code"] == "waiting"
    assert [row["reason_code"] for row in result["ignored"]] == ["older"]
    desk.untouched()


@pytest.mark.parametrize("wanted", ["WWW.Example.AC.jp", "www.example.ac.jp."])
def test_names_in_capitals_or_with_a_final_dot_are_the_same(desk: Desk, wanted: str) -> None:
    (desk.inbox / "x.cer").write_bytes(pki.der(desk.leaf))
    (row,) = desk.issuer.install({"name": wanted, "dns_names": [wanted]})["certificates"]
    assert (row["name"], row["state"]) == (NAME, "live")


@pytest.mark.parametrize("written", ["WWW.EXAMPLE.AC.JP", "www.example.ac.jp."])
def test_so_are_those_in_the_certificate(desk: Desk, written: str) -> None:
    key = _x509.request_from_pem(desk.pending.request()).public_key()
    dates = {"start": servers.now() - pki.days(0.5), "end": servers.now() + pki.days(197.5)}
    desk.leaf = desk.issuer.inter.issue(written, key, **dates)
    desk.save(pki.der(desk.leaf))
    desk.goes_live()

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people save, good and bad."""

import base64
import contextlib
import email.mime.application
import email.mime.multipart
import email.mime.text
import io
import os
import random
import time
import zipfile

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _chain, _containers, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

CA = pki.CA("Container CA")
ONE = CA.issue("one.example.ac.jp")
TWO = CA.issue("two.example.ac.jp")
PEM = pki.pem(ONE)
DER = pki.der(ONE)
KEY = pki.key_pem(pki.key("a key in the wrong place"))


def read(data):
    contents = _containers.Contents()
    _containers.read(data, "file", contents)
    return contents


def codes(contents):
    return [note.code for note in contents.notes]


def test_a_pipe_or_a_device_in_the_folder_holds_nobody_up(tmp_path):
    os.mkfifo(str(tmp_path / "pipe.pem"))
    (tmp_path / "zero.cer").symlink_to("/dev/zero")
    (tmp_path / "good.pem").write_text(PEM)
    contents = _containers.collect([str(tmp_path), str(tmp_path / "pipe.pem")])
    assert codes(contents) == ["no_file", "no_file", "no_file"]
    assert [_x509.der(row.certificate) for row in contents.certificates] == [DER]


def found(contents):
    return [one.certificate for one in contents.certificates]


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def mail(*parts, **fields):
    message = email.mime.multipart.MIMEMultipart()
    for field, value in dict({"Subject": "サーバ証明書発行受付通知", "From": "ca@example.ac.jp"}, **fields).items():
        message[field] = value
    for part in parts:
        message.attach(part)
    return message.as_bytes()


def attachment(data, name="file.bin"):
    part = email.mime.application.MIMEApplication(data)
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def quoted(text):
    return "".join("> " + line for line in text.splitlines(True))


LINES = PEM.splitlines()
BODY = "\n".join(LINES[1:-1])

GOOD = {
    "PEM": PEM.encode(),
    "DER": DER,
    "CRLF": PEM.replace("\n", "\r\n").encode(),
    "CR only": PEM.replace("\n", "\r").encode(),
    "no final newline": PEM.rstrip().encode(),
    "UTF-8 with BOM": b"\xef\xbb\xbf" + PEM.encode(),
    "UTF-16 with BOM": PEM.encode("utf-16"),
    "UTF-16 big endian with BOM": b"\xfe\xff" + PEM.encode("utf-16-be"),
    "UTF-16 without BOM": PEM.encode("utf-16-le"),
    "UTF-16 big endian without BOM": PEM.encode("utf-16-be"),
    "text around": ("Subject: CN=one\nIssuer: CN=x\n" + PEM + "以上\n").encode(),
    "Shift_JIS text around": "証明書をお送りします\n".encode("shift_jis") + PEM.encode() + "以上\n".encode("shift_jis"),
    "quoted by a mail": quoted(PEM).encode(),
    "quoted twice": quoted(quoted(PEM)).encode(),
    "indented": "".join("    " + line for line in PEM.splitlines(True)).encode(),
    "one long line": (LINES[0] + "\n" + "".join(LINES[1:-1]) + "\n" + LINES[-1]).encode(),
    "trailing junk after DER": DER + b"\x00\x01junk",
    "trailing text after PEM": (PEM + "-- \nsent from my phone").encode(),
    "base64 without armour": "".join(LINES[1:-1]).encode(),
    "TRUSTED CERTIFICATE": pki.armour("TRUSTED CERTIFICATE", DER + bytes.fromhex("300a060355041d0603551d0f")).encode(),
    "X509 CERTIFICATE": pki.armour("X509 CERTIFICATE", DER).encode(),
    "EC PARAMETERS first": (pki.armour("EC PARAMETERS", bytes.fromhex("06052b81040022")) + PEM).encode(),
    "PKCS#7 DER": pki.pkcs7(ONE),
    "PKCS#7 PEM": pki.armour("PKCS7", pki.pkcs7(ONE)).encode(),
    "zip": zipped(**{"folder/x.cer": DER}),
    "zip in zip": zipped(**{"a.zip": zipped(**{"x.pem": PEM})}),
    "mail with attachment": mail(email.mime.text.MIMEText("本文", "plain", "utf-8"), attachment(DER)),
    "mail with PEM in its text": mail(email.mime.text.MIMEText("どうぞ\n" + PEM, "plain", "iso-2022-jp")),
    "mail with a zip": mail(attachment(zipped(**{"x.cer": PEM}), "x.zip")),
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_certificate_is_found_however_it_is_wrapped(name):
    contents = read(GOOD[name])
    assert found(contents) == [ONE]
    assert codes(contents) == []


@pytest.mark.parametrize(
    "data",
    [
        (pki.pem(ONE) + pki.pem(TWO)).encode(),
        (pki.pem(ONE).rstrip() + pki.pem(TWO)).encode(),
        pki.pkcs7(ONE, TWO),
        zipped(**{"1.cer": DER, "2.cer": pki.der(TWO), "__MACOSX/._1.cer": b"x", ".DS_Store": b"x"}),
    ],
    ids=["two blocks", "glued without newline", "pkcs7", "zip"],
)
def test_several_certificates_in_one_file_are_all_found(data):
    contents = read(data)
    assert {pki.der(one) for one in found(contents)} == {DER, pki.der(TWO)}
    assert codes(contents) == []


def encrypted_zip():
    data = bytearray(zipped(**{"x.cer": PEM}))
    data[6] |= 1  # general purpose bit 0 in the local header …
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1  # … and in the central directory
    return bytes(data)


BAD = {
    "empty": (b"", "empty"),
    "only spaces": (b" \r\n\t\n", "empty"),
    "HTML page": (b"<!DOCTYPE html>\n<html><body>Login</body></html>", "html"),
    "HTML page with BOM": (b"\xef\xbb\xbf\r\n<HTML><head></head></HTML>", "html"),
    "XHTML": (b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"></html>', "html"),
    "CSR": (pki.pem(pki.csr(pki.key("leaf one"), "one.example.ac.jp")).encode(), "csr"),
    "CSR in DER": (pki.der(pki.csr(pki.key("leaf one"), "one.example.ac.jp")), "csr"),
    "private key": (KEY, "private_key"),
    "encrypted key": (pki.key_pem(pki.key("x"), b"secret"), "private_key"),
    "traditional encrypted key": (pki.traditional_pem(pki.key("x"), b"secret"), "private_key"),
    "cut key": (KEY[:120], "private_key"),
    "key in DER": (
        pki.key("x").private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "private_key",
    ),
    "traditional key in DER": (
        pki.key("x").private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
        "private_key",
    ),
    "encrypted key in DER": (
        pki.key("x").private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
        "private_key",
    ),
    "public key": (
        pki.key("x")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "public_key",
    ),
    "P12": (
        pkcs12.serialize_key_and_certificates(
            b"x", pki.key("leaf one.example.ac.jp"), ONE, None, serialization.BestAvailableEncryption(b"secret")
        ),
        "p12",
    ),
    "truncated PEM": (PEM[: len(PEM) // 2].encode(), "truncated"),
    "truncated DER": (DER[: len(DER) // 2], "short"),
    "body cut inside": (
        ("-----BEGIN CERTIFICATE-----\n" + BODY[:200] + "\n-----END CERTIFICATE-----").encode(),
        "broken",
    ),
    "a letter that is not base64": (PEM.replace(LINES[3], "*" + LINES[3][1:]).encode(), "broken"),
    "broken PKCS#7": (pki.armour("PKCS7", pki.pkcs7(ONE)[:-40]).encode(), "broken"),
    "random bytes": (bytes(range(256)) * 4, "binary"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "binary"),
    "PDF": (b"%PDF-1.7\n1 0 obj", "pdf"),
    "broken zip": (zipped(**{"x.cer": PEM})[:60], "zip_broken"),
    "zip with a password": (encrypted_zip(), "zip_encrypted"),
    "mail without certificate": (mail(email.mime.text.MIMEText("https://example.ac.jp/download", "plain")), "mail"),
    "words": ("証明書はあとで送ります\n".encode("utf-8"), "text"),
    "Shift_JIS table": ("CN=a\t3\t\t\t利用管理者\r\n".encode("shift_jis"), "text"),
    "revocation list": (pki.armour("X509 CRL", b"\x30\x03\x02\x01\x00").encode(), "crl"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_is_no_certificate_is_named(name):
    data, code = BAD[name]
    contents = read(data)
    assert found(contents) == []
    assert codes(contents) == [code]
    described = _containers.describe(contents.notes[0])
    assert "'file" in described["message"]
    assert described["fix"]
    assert "PRIVATE" + " KEY-----" not in str(described)


@pytest.mark.parametrize("code", ["text", "mail", "crl"])
def test_words_and_mails_are_no_faults(code):
    assert not _containers.describe(_containers.Note(code, "file", ""))["fault"]


def test_every_position_of_a_flipped_byte_gives_a_note_or_another_certificate_but_no_traceback():
    for position in range(0, len(DER), 7):
        data = bytearray(DER)
        data[position] ^= 0x55
        contents = read(bytes(data))
        assert ONE not in found(contents)
        assert len(contents.certificates) + len(contents.notes) == 1


def test_every_cut_gives_exactly_one_note():
    for length in range(1, len(DER), 11):
        contents = read(DER[:length])
        assert found(contents) == []
        assert len(contents.notes) == 1


def test_a_key_beside_the_certificate_is_told_and_the_certificate_taken():
    contents = read(KEY + PEM.encode())
    assert found(contents) == [ONE]
    assert codes(contents) == ["private_key"]


def test_a_key_inside_a_mail_or_an_archive_is_told():
    assert codes(read(mail(attachment(KEY)))) == ["private_key"]
    assert codes(read(zipped(**{"k.pem": KEY, "x.cer": PEM}))) == ["private_key"]


def test_one_damaged_block_does_not_hide_the_good_one():
    damaged = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n"
    contents = read((damaged + PEM).encode())
    assert found(contents) == [ONE]
    assert codes(contents) == ["broken"]


def test_a_small_archive_cannot_fill_the_memory():
    bomb = zipped(zeros=bytes(40 * 1024 * 1024))
    assert len(bomb) < 100000
    assert codes(read(bomb)) == ["too_large"]


def test_endless_nesting_ends():
    data = PEM.encode()
    for _level in range(8):
        data = zipped(**{"x.zip": data})
    assert codes(read(data)) == ["too_large"]


def test_a_file_that_is_too_large_is_not_read():
    assert codes(read(bytes(_containers.MAX_BYTES + 1))) == ["too_large"]


# --- folders ---------------------------------------------------------------------------------------------------


def test_folders_are_read_with_their_subfolders_and_without_hidden_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "any name at all").write_bytes(DER)
    (tmp_path / ".gitkeep").write_bytes(b"")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x").write_bytes(pki.der(TWO))
    contents = _containers.collect([str(tmp_path)])
    assert found(contents) == [ONE]
    assert codes(contents) == []
    assert contents.certificates[0].source == str(tmp_path / "sub" / "any name at all")


def test_a_file_can_be_named_and_a_member_is_named_with_its_archive(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(**{"in/x.cer": DER}))
    contents = _containers.collect([str(path)])
    assert contents.certificates[0].source == "{0}!in/x.cer".format(path)


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(UpkiError) as caught:
        _containers.collect([str(tmp_path / "nowhere")])
    assert caught.value.code == "path_missing"
    assert "nowhere" in caught.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_an_error(tmp_path):
    path = tmp_path / "x.cer"
    path.write_bytes(DER)
    path.chmod(0)
    with pytest.raises(UpkiError) as caught:
        _containers.collect([str(path)])
    assert caught.value.code == "path_unreadable"


def test_base64_of_something_else_is_text():
    assert codes(read(base64.b64encode(b"no certificate, only long enough words " * 10))) == ["text"]


# --- random damage -----------------------------------------------------------------------------------------------

SEEDS = [
    DER,
    pki.pem(ONE, CA.certificate).encode(),
    pki.pkcs7(ONE, CA.certificate),
    zipped(**{"x.cer": DER, "y.pem": PEM}),
    mail(attachment(DER)),
]


def damaged(data, chance):
    data = bytearray(data)
    for _number in range(chance.randint(1, 6)):
        place = chance.randrange(len(data))
        kind = chance.choice(["change", "insert", "remove"])
        if kind == "change":
            data[place] = chance.randrange(256)
        elif kind == "insert":
            data[place:place] = bytes(chance.randrange(256) for _byte in range(4))
        elif len(data) > 60:
            del data[place : place + chance.randint(1, 30)]
    return bytes(data)


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_no_damage_ends_in_a_traceback_and_what_is_found_can_be_used(number):
    chance = random.Random(number)
    for _round in range(150):
        contents = read(damaged(SEEDS[number], chance))
        for certificate in found(contents):
            assert _x509.is_ca(certificate) in (True, False)
            assert isinstance(_x509.dns_names(certificate), list)
            with contextlib.suppress(UpkiError):  # a chain is not what this is about
                _chain.build(certificate, [CA.certificate], [], pki.NOW)


def test_a_zip_whose_content_is_damaged_is_named():
    data = bytearray(zipped(**{"x.cer": DER}))
    start = data.index(b"x.cer") + 5
    data[start : start + 40] = bytes(range(40))
    assert codes(read(bytes(data))) == ["zip_broken"]


@pytest.mark.parametrize(
    "line",
    ["-----BEGIN CERTIFICATE-----\n", "-----BEGIN A-----", "-----BEGIN A-----\n-----END B-----\n", "-----BEGIN "],
)
def test_thousands_of_blocks_that_do_not_end_are_read_once(line):
    started = time.process_time()
    contents = read((line * 100000).encode("ascii"))
    assert codes(contents) in (["truncated"], ["text"])
    assert time.process_time() - started < 10  # 300 kB of this took more than five minutes once


def test_a_block_ends_at_the_first_end_of_its_own_kind():
    inside = PEM.replace("-----END", "-----END X-----\n-----END")
    assert codes(read(inside.encode("ascii"))) == ["broken"]
    assert len(found(read((PEM + "-----END CERTIFICATE-----\n" + PEM).encode("ascii")))) == 2
    assert codes(read(("-----BEGIN CSR-----\n" + PEM).encode("ascii"))) == ["truncated"]


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: message/rfc822\r\n\r\n" * 5000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000)),
    ],
)
def test_a_mail_that_breaks_the_parser_is_named(fields):
    assert codes(read(b"From: a\r\nSubject: b\r\n" + fields + b"\r\nx")) == ["mail_broken"]


def test_a_mail_whose_file_name_has_an_absurd_number_ends_in_no_traceback():
    name = b"Content-Disposition: attachment; filename*" + b"9" * 5000 + b"=x"
    assert codes(read(b"From: a\r\nSubject: b\r\n" + name + b"\r\n\r\nx"))[0] in ("mail", "mail_broken")


def test_mails_inside_archives_inside_mails_share_one_limit():
    bomb = zipped(zeros=b" " * (_containers.MAX_BYTES // 2))
    inner = mail(*[attachment(bomb) for _number in range(4)])
    assert "too_large" in codes(read(inner))
    assert "too_large" in codes(
        read(mail(*[attachment(zipped(**{"a.eml": mail(attachment(bomb))})) for _n in range(4)]))
    )


def test_an_archive_with_a_damaged_lzma_member_is_named():
    stream = io.BytesIO()
    pytest.importorskip("lzma")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.cer", PEM)
    data = bytearray(stream.getvalue())
    data[30 + len("a.cer") + 4] = 255  # the first byte of the compressor's settings
    assert codes(read(bytes(data))) == ["zip_broken"]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates out of whatever people save: PEM, DER, PKCS#7, zip archives and mails with these inside.

Found by content; names mean nothing. What yields nothing is reported with what it looks like and what to do, as data
(NOTES below), because whether it matters depends on who is waiting for a certificate. Used on the controller.
"""

import base64
import binascii
import collections
import email
import email.policy
import io
import os
import re
import zipfile
import zlib

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it reads no such archives
    LZMAError = zlib.error

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

MAX_BYTES = 16 * 1024 * 1024  # of one file, and of all that is unpacked from it
MAX_MEMBERS = 2000
MAX_DEPTH = 4
CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
PKCS7_LABELS = ("PKCS7", "PKCS #7 SIGNED DATA", "CMS")
OTHER_LABELS = {
    "CERTIFICATE REQUEST": "csr",
    "NEW CERTIFICATE REQUEST": "csr",
    "PUBLIC KEY": "public_key",
    "RSA PUBLIC KEY": "public_key",
    "X509 CRL": "crl",
}

# code: (fault, what it looks like, what to do). fault: True when somebody seems to have meant it as the certificate.
NOTES = {
    "empty": (True, "is empty", "Save the certificate again."),
    "html": (
        True,
        "is an HTML page, not a certificate",
        "Open the download URL in a browser, go through its confirmation pages and save the file that it offers.",
    ),
    "csr": (
        True,
        "is a CSR (certificate signing request), not a certificate",
        "Put the certificate there that the CA issued; the CSR belongs into the application.",
    ),
    "private_key": (
        True,
        "is or contains a PRIVATE KEY",
        "Remove it from this folder and from wherever it was sent: the key never leaves its server. If others could "
        "read it, make a new request.",
    ),
    "public_key": (True, "is a public key, not a certificate", "Put the certificate there that the CA issued."),
    "p12": (
        True,
        "is a PKCS#12 file (.p12, .pfx), which usually holds a private key",
        "Remove it. Put the certificate alone there, as PEM or DER.",
    ),
    "truncated": (True, "is cut off: a PEM block begins and does not end", "Save the certificate again, whole."),
    "short": (True, "is cut off: it is shorter than its own beginning says", "Save the certificate again, whole."),
    "broken": (True, "has a PEM block that is damaged", "Save the certificate again from where it came from."),
    "binary": (True, "is no certificate in any form known here", "Save the certificate again, as PEM or DER."),
    "pdf": (True, "is a PDF document, not a certificate", "Save the certificate itself, as PEM or DER."),
    "zip_encrypted": (True, "is in a zip archive with a password", "Unpack it and put its content there."),
    "zip_broken": (True, "is a damaged zip archive", "Save it again, or unpack it and put its content there."),
    "no_file": (True, "is a pipe, a socket or a device, not a file", "Put only files with certificates there."),
    "too_large": (True, "is larger than any file with certificates", "Put only the certificate there."),
    "mail_broken": (
        True,
        "is a damaged mail",
        "Save the attachment with the certificate by itself, or open the download URL in a browser.",
    ),
    "mail": (
        False,
        "is a mail without a certificate in it",
        "If it carries a download URL, open that in a browser and save the certificate here.",
    ),
    "text": (False, "is a text without a certificate in it", "Remove it if nobody needs it here."),
    "crl": (False, "is a revocation list, not a certificate", "Remove it if nobody needs it here."),
}

# source: the file, with the member's name after '!' inside archives and mails.
Found = collections.namedtuple("Found", "certificate source")
Note = collections.namedtuple("Note", "code source detail")


class Contents(object):
    """What a folder or file yielded: certificates [Found], notes [Note]."""

    def __init__(self, outer=None):
        self.certificates = []
        self.notes = []
        self._used = outer._used if outer else {"bytes": 0, "members": 0}  # shared by all that one file holds

    def note(self, code, source, detail=""):
        self.notes.append(Note(code, source, detail))

    def room_for(self, size):
        """Count what is unpacked, so that a small archive cannot fill the memory."""
        self._used["bytes"] += size
        self._used["members"] += 1
        return self._used["bytes"] <= MAX_BYTES and self._used["members"] <= MAX_MEMBERS

    def start_file(self):
        """The limits hold for each file of its own."""
        self._used.update(bytes=0, members=0)


def describe(note):
    """A note as a dict for results: code, file, fault, message, fix."""
    fault, looks, fix = NOTES[note.code]
    detail = " ({0})".format(note.detail) if note.detail else ""
    return {
        "code": note.code,
        "file": note.source,
        "fault": fault,
        "message": "The file '{0}' {1}{2}.".format(note.source, looks, detail),
        "fix": fix,
    }


# --- files and folders -------------------------------------------------------------------------------------


def collect(paths):
    """Contents of files and folders (with their subfolders). A path that does not exist raises UpkiError."""
    contents = Contents()
    for path in paths:
        for name in files(path):
            _read_file(name, contents)
    return contents


def files(path):
    """The files of a folder and its subfolders that count, or the file itself."""
    if os.path.isdir(path):
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):  # .gitkeep, .DS_Store, an editor's swap file
                    yield os.path.join(folder, name)
    elif os.path.exists(path):
        yield path
    else:
        raise UpkiError(
            "path_missing",
            "The file or folder '{0}' does not exist on the controller.".format(path),
            "Make it, or name the right one.",
        )


def _read_file(path, contents):
    contents.start_file()
    if _atomic.is_special(path):
        contents.note("no_file", path)
        return
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UpkiError(
            "path_unreadable", "The file '{0}' cannot be read: {1}.".format(path, os.strerror(error.errno or 0))
        )
    read(data, path, contents)


# --- one piece of data -------------------------------------------------------------------------------------


def read(data, source, contents, depth=0):
    """Add what `data` (bytes) holds to `contents`."""
    if len(data) > MAX_BYTES or depth > MAX_DEPTH:
        contents.note("too_large", source)
    elif not data.strip():
        contents.note("empty", source)
    elif data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _read_zip(data, source, contents, depth)
    elif data.startswith(b"%PDF"):
        contents.note("pdf", source)
    elif data[:1] == b"\x30" and not _looks_like_text(data):
        _read_der(data, source, contents)
    else:
        text = decode(data)
        if text is None:
            contents.note("binary", source)
        elif _is_mail(text):
            _read_mail(data, source, contents, depth)
        else:
            _read_text(text, source, contents)


def _looks_like_text(data):
    return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:64])


def decode(data):
    """Text of UTF-8 or UTF-16 (with or without BOM) or of an 8-bit encoding, or None for binary data."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\x00" in data:
        for encoding, high, low in (("utf-16-le", data[1::2], data[0::2]), ("utf-16-be", data[0::2], data[1::2])):
            if high.count(b"\x00") > len(high) // 2 and b"\x00" not in low:
                return data.decode(encoding, "replace")
        return None if b"-----BEGIN " not in data else data.decode("latin-1")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # PEM is ASCII; around it may stand a mail in Shift_JIS or ISO-2022-JP, of which nothing is needed
        return data.decode("latin-1") if b"-----BEGIN " in data or _mostly_text(data) else None


def _mostly_text(data):
    sample = data[:4096]
    controls = sum(1 for byte in sample if byte < 32 and byte not in b"\t\n\r\x0c\x1b")
    return controls * 50 < len(sample)


# --- PEM and other text ------------------------------------------------------------------------------------

MARK = re.compile(r"-----(BEGIN|END) ([A-Z0-9 #]+)-----")
QUOTE = re.compile(r"^[ \t]*(?:[>|][ \t]?)+", re.MULTILINE)
BASE64 = re.compile(r"^[A-Za-z0-9+/\s]+={0,2}\s*$")


def normalise(text):
    """Text with LF line ends and without a mail's quote marks."""
    return QUOTE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _split(text):
    """([(label, body)] of the whole blocks, [label] of those that begin and do not end), in one pass.

    A regular expression from BEGIN to END would search the whole text again for every BEGIN without its END.
    """
    marks = list(MARK.finditer(text))
    ends = {}
    for mark in reversed(marks):
        if mark.group(1) == "END":
            ends.setdefault(mark.group(2), []).append(mark)  # the next one is the last in its list
    blocks, open_ones, done = [], [], 0
    for mark in marks:
        word, label = mark.groups()
        if word == "END" or mark.start() < done:
            continue
        waiting = ends.get(label, [])
        while waiting and waiting[-1].start() < mark.end():
            waiting.pop()
        if waiting:
            blocks.append((label, text[mark.end() : waiting[-1].start()]))
            done = waiting[-1].end()
        else:
            open_ones.append(label)
    return blocks, open_ones


def _read_text(text, source, contents):
    text = normalise(text)
    blocks, open_ones = _split(text)
    for label, body in blocks:
        _read_block(label.strip(), body, source, contents)
    for cause in sorted({"private_key" if "PRIVATE KEY" in label else "truncated" for label in open_ones}):
        contents.note(cause, source)
    if not blocks and not open_ones:
        _read_unarmoured(text, source, contents)


def _read_block(label, body, source, contents):
    if "PRIVATE KEY" in label:
        contents.note("private_key", source)
        return
    if label not in CERTIFICATE_LABELS + PKCS7_LABELS:
        if label in OTHER_LABELS:  # EC PARAMETERS and the like: nothing to take, nothing to say
            contents.note(OTHER_LABELS[label], source)
        return
    try:
        data = base64.b64decode("".join(body.split()).encode("ascii"), validate=True)
        found = _certificates(label, data)
    except (binascii.Error, ValueError) as error:
        contents.note("broken", source, "its base64 text: {0}".format(error))
    except UpkiError as error:
        contents.note("broken", source, error.message.rstrip("."))
    else:
        contents.certificates.extend(Found(certificate, source) for certificate in found)


def _certificates(label, data):
    if label in PKCS7_LABELS:
        return _from_pkcs7(data)
    return [_x509.checked_certificate(first_element(data))]


def _from_pkcs7(data):
    return [_x509.checked_certificate(_x509.der(one)) for one in _x509.certificates_from_pkcs7(data)]


def _read_unarmoured(text, source, contents):
    """Text without PEM armour: a page, base64 of DER alone, or words."""
    start = text.lstrip("\ufeff \t\n")[:1024].lower()
    if "<html" in start or start.startswith("<!doctype html"):
        contents.note("html", source)
        return
    body = "".join(text.split())
    if len(body) > 200 and BASE64.match(body):
        try:
            data = base64.b64decode(body.encode("ascii"), validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if data[:1] == b"\x30":
            _read_der(data, source, contents)
            return
    contents.note("text", source)


# --- DER ---------------------------------------------------------------------------------------------------


def first_element(data):
    """The first ASN.1 element of the data, without what follows it (OpenSSL's trust settings, junk)."""
    length, start = _length(data)
    return data[: start + length] if length is not None and start + length <= len(data) else data


def _length(data):
    """(length of the content, offset of the content) of the element at the start; length None when unknown."""
    if len(data) < 2 or data[1] == 0x80:
        return None, 2
    if data[1] < 0x80:
        return data[1], 2
    count = data[1] & 0x7F
    return int.from_bytes(data[2 : 2 + count], "big"), 2 + count


def _read_der(data, source, contents):
    element = first_element(data)
    for reader in (lambda found: [_x509.checked_certificate(found)], _from_pkcs7):
        try:
            found = reader(element)
        except UpkiError:
            continue
        if found:
            contents.certificates.extend(Found(certificate, source) for certificate in found)
            return
    contents.note(_der_kind(element), source)


def _der_kind(data):
    """Which NOTES code DER data without certificates deserves, told by its first elements."""
    try:
        _x509.request_from_der(data)
        return "csr"
    except UpkiError:
        pass
    content = data[_length(data)[1] :]
    length, _start = _length(data)
    if length is not None and length > len(content):
        return "short"
    if content[:4] == b"\x02\x01\x03\x30":  # PFX ::= SEQUENCE { version 3, authSafe …
        return "p12"
    if content[:4] in (b"\x02\x01\x00\x30", b"\x02\x01\x00\x02", b"\x02\x01\x01\x04"):  # PKCS#8, PKCS#1, SEC 1
        return "private_key"
    if b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d" in content[:40]:  # PBES2: an encrypted PKCS#8 key
        return "private_key"
    return "binary"


# --- archives and mails ------------------------------------------------------------------------------------


def _read_zip(data, source, contents, depth):
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                _read_member(archive, info, "{0}!{1}".format(source, info.filename), contents, depth)
    except (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, RuntimeError, ValueError) as error:
        contents.note("zip_broken", source, str(error))


def _read_member(archive, info, source, contents, depth):
    name = os.path.basename(info.filename)
    if not name or name.startswith(".") or info.filename.startswith("__MACOSX/"):
        return
    if info.flag_bits & 1:
        contents.note("zip_encrypted", source)
    elif not contents.room_for(info.file_size):
        contents.note("too_large", source)
    else:
        with archive.open(info) as stream:
            read(stream.read(MAX_BYTES + 1), source, contents, depth + 1)


MAIL_FIELD = re.compile(
    r"^(from|to|subject|date|received|return-path|message-id|mime-version|content-type|delivered-to|x-[a-z-]+):", re.I
)


def _is_mail(text):
    """True when the text starts with at least two header fields of a mail."""
    head = text.lstrip("\ufeff")
    if head.startswith("From "):  # mbox
        head = head.split("\n", 1)[-1]
    lines = [line for line in head.splitlines()[:40] if line[:1] not in (" ", "\t")]
    fields = 0
    for line in lines:
        if not re.match(r"^[A-Za-z][A-Za-z0-9-]*:", line):
            break
        fields += bool(MAIL_FIELD.match(line))
    return fields >= 2


def _mail_parts(data):
    """[(name, bytes)] of a mail's parts; None for a mail on which Python's parser fails."""
    try:
        message = email.message_from_bytes(data.lstrip(b"\xef\xbb\xbf"), policy=email.policy.compat32)
        return [
            (part.get_filename() or "part {0}".format(number), part.get_payload(decode=True))
            for number, part in enumerate(message.walk())
            if not part.is_multipart()
        ]
    except Exception:  # RecursionError, ValueError, LookupError …: what it raises differs between versions of Python
        return None


def _read_mail(data, source, contents, depth):
    parts = _mail_parts(data)
    if parts is None:
        contents.note("mail_broken", source)
        return
    inner = Contents(contents)
    for name, payload in parts:
        if not payload or not payload.strip():
            continue
        if not inner.room_for(len(payload)):
            inner.note("too_large", source)
            break
        read(payload, "{0}!{1}".format(source, name), inner, depth + 1)
    contents.certificates.extend(inner.certificates)
    # a mail's own text, its HTML twin and pictures are no faults; a key or an archive in it may be
    notes = [note for note in inner.notes if note.code not in ("text", "html", "binary", "pdf", "empty", "mail")]
    contents.notes.extend(notes)
    if not inner.certificates and not notes:
        contents.note("mail", source)

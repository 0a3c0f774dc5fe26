# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the practice CA reads an uploaded TSV file, and with which codes it refuses one.

Written from the published rules on purpose without a look at the code that builds TSV files: two readings of one
text, so that one misreading cannot hide in both. Do not import the builder's table here.

Sources: NII, UPKI certificate issuing service, TSV file format (columns, lengths, kinds), 99 records a file, the error
codes of the registration officer's upload; abolition of OU on 2022-07-26; lower case in names since 2024-08-20.
Where the CA's number for a refusal is not published, the code is a word.
"""

import base64
import binascii
import re

from ansible_collections.campus.upki.plugins.module_utils import _keys, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

KINDS = ("server_issue", "server_renew", "server_revoke", "acme_create", "acme_renew", "acme_suspend", "acme_revoke")
# item in the form, English, longest, and one mark for each of KINDS: ○ required, △ may be given, — must be empty.
COLUMNS = (
    ("主体者DN", "subject DN", 250, "○○○○○△○"),
    ("証明書プロファイルID", "certificate profile ID", 2, "○○—○○——"),
    ("ACME account ID", "ACME account ID", 128, "————○○—"),
    ("失効対象証明書シリアル番号", "serial of the old certificate", 50, "—○○———○"),
    ("失効理由", "revocation reason", 1, "——○——○○"),
    ("失効理由コメント", "comment on the reason", 128, "——△——△△"),
    ("CSR", "CSR", 2048, "○○—————"),
    ("利用管理者氏名", "manager's name", 64, "△△—△△——"),
    ("利用管理者所属", "manager's affiliation", 64, "△△—△△——"),
    ("利用管理者mail", "manager's mail", 78, "○○△○○△△"),
    ("利用管理者FQDN", "manager's FQDN", 64, "○○—○○——"),
    ("Webサーバソフトウェア名等", "server software", 128, "○○—○○——"),
    ("dNSName", "dNSName", 250, "△△—△△——"),
)
DN, PROFILE, ACCOUNT, SERIAL, REASON, COMMENT, CSR, PERSON, SECTION, MAIL, FQDN, SOFTWARE, NAMES = range(13)
MOST_RECORDS = 99
MOST_NAMES = 8
REASONS = (0, 1, 3, 4, 5)
SHOWN = 60  # characters of a value in a message
FILE_NAME_KIND = re.compile("|".join(KINDS))

HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+\Z")
ORGANIZATION = re.compile(r"[A-Za-z0-9 '(),\-./:=]+\Z")
PLACE = re.compile(r"[A-Za-z0-9 '()\-./:]+\Z")
MAILBOX = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\Z")
UNIT = re.compile(r"(?:^|,)\s*OU\s*=", re.IGNORECASE)
E_MAIL = re.compile(r"(?:^|,)\s*(?:E|emailAddress|Email)\s*=", re.IGNORECASE)
STRICT_DN = re.compile(r"CN=[^ ,][^,]*,(?:OU=[^,]+,)*O=\S.*?(?:,L=[^ ,][^,]*)?(?:,ST=[^ ,][^,]*)?,C=JP\Z")


def item(column):
    """How a column is called in answers."""
    japanese, english = COLUMNS[column][:2]
    return japanese if japanese == english else "{0} ({1})".format(japanese, english)


def fault(code, record, column, value, message, fix=""):
    """One reason for a refusal. column: number from 0, or a text for what is no column."""
    name = column if isinstance(column, str) else item(column)
    value = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    return {"code": code, "record": record, "item": name, "value": value, "message": message, "fix": fix}


def answer(row):
    """A fault in the form of the CA's upload: CODE:RECORD,ITEM,MESSAGE."""
    return "{0}:{1},{2},{3}".format(row["code"], row["record"] or "", row["item"].split(" (")[0], row["message"])


class Refused(Exception):
    """A value breaks a rule; caught in this file."""

    def __init__(self, code, message, fix=""):
        super(Refused, self).__init__(message)
        self.code, self.message, self.fix = code, message, fix


# --- bytes to columns ------------------------------------------------------------------------------------


def _is_utf8(line):
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return any(byte > 0x7F for byte in line)


def _decoded(line):
    """The text, Shift_JIS as in the standard; what only Microsoft's table knows is kept, to be named later.

    The two tables read a few pairs of bytes differently (〜 and ～), so the standard one goes first.
    """
    characters, position = [], 0
    while position < len(line):
        pair = 0x81 <= line[position] <= 0x9F or 0xE0 <= line[position] <= 0xFC
        part = line[position : position + (2 if pair else 1)]
        try:
            characters.append(part.decode("shift_jis"))
        except UnicodeDecodeError:
            characters.append(part.decode("cp932"))
        position += len(part)
    return "".join(characters)


def _text(line, number):
    """(text, faults) of one line. A wrong encoding of the whole line is one fault."""
    if not _is_utf8(line):
        try:
            return _decoded(line), []
        except UnicodeDecodeError:
            pass
    utf8 = _is_utf8(line)
    message = "the line is not Shift_JIS" + (" but UTF-8" if utf8 else "")
    fix = "Save the file in Shift_JIS, or have the module campus.upki.tsv write it."
    code = "encoding_utf8" if utf8 else "encoding_unknown"
    return "", [fault(code, number, "文字コード (encoding)", "", message, fix)]


def _allowed(character):
    """JIS X 0201 Latin letters and JIS X 0208, as far as all Shift_JIS tables agree on them."""
    if " " <= character <= "~":
        return True
    try:
        data = character.encode("shift_jis")
        return len(data) == 2 and data == character.encode("cp932") and data.decode("shift_jis") == character
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False


def _character_faults(columns, number):
    found = []
    for column, text in enumerate(columns):
        bad = sorted({character for character in text if not _allowed(character)})
        if bad:
            shown = " ".join("{0} (U+{1:04X})".format(c if c.isprintable() else "?", ord(c)) for c in bad)
            code = 205 if column == COMMENT else "character"
            message = "contains characters that are not safe in Shift_JIS: " + shown
            found.append(
                fault(code, number, column, text, message, "Write them in another way, 髙 as 高 for instance.")
            )
    return found


def split(data):
    """[(number, columns, faults)] of a file's bytes; columns is None where they cannot be told apart."""
    lines = [line[:-1] if line.endswith(b"\r") else line for line in data.split(b"\n")]
    if lines[-1] == b"":  # the last newline is optional
        lines.pop()
    rows = []
    for number, line in enumerate(lines, 1):
        text, faults = _text(line, number)
        columns = text.split("\t")
        if faults:
            columns = None
        elif len(columns) != len(COLUMNS):
            message = "the line has {0} columns, and there must be {1}, empty ones included".format(
                len(columns), len(COLUMNS)
            )
            faults = [fault("columns", number, "列数 (number of columns)", str(len(columns)), message)]
            columns = None
        else:
            faults = _character_faults(columns, number)
        rows.append((number, columns, faults))
    return rows


def guess_kind(name, rows):
    """The kind that the file's name says, else what its first readable record looks like."""
    named = FILE_NAME_KIND.search(name)
    if named:
        return named.group(0)
    for _number, columns, _faults in rows:
        if columns is not None:
            return _looks_like(columns)
    return "server_issue"


def _looks_like(columns):
    if columns[CSR]:
        return "server_renew" if columns[SERIAL] else "server_issue"
    if columns[REASON]:
        return "acme_suspend" if columns[ACCOUNT] else "server_revoke"
    if columns[ACCOUNT]:
        return "acme_renew"
    return "acme_create" if columns[PROFILE] and not columns[SERIAL] else "server_issue"


# --- the values ------------------------------------------------------------------------------------------


def _host(name, code, what):
    if len(name) > 64:
        raise Refused(202, "{0} '{1}' is longer than 64 characters".format(what, name))
    if name != name.lower():
        raise Refused(code, "{0} '{1}' has upper-case letters".format(what, name), "Write it in lower case.")
    if not HOST.match(name) or name.rsplit(".", 1)[1].isdigit():
        message = "{0} '{1}' is not a host name of lower-case letters, digits, '.' and '-'".format(what, name)
        raise Refused(code, message, "No '*', no '_', no IP address; give the full name with its domain.")
    return name


def _pair(text, wanted, kind):
    key, equals, value = text.partition("=")
    strict = kind.startswith("acme")
    shown = key if strict else key.strip().upper()
    value = value if strict else value.strip()
    if not equals or shown != wanted or not value:
        raise Refused(
            206,
            "'{0}' stands where {1}=… must stand".format(text, wanted),
            "Form: CN=…,O=…,L=…,ST=…,C=JP, all of them.",
        )
    return value


def _dn_parts(text, kind):
    """[(field, text)] from both ends: only O in the middle may hold commas and '='."""
    first, dummy, rest = text.partition(",")
    tail = rest.rsplit(",", 3)
    fields = ["L", "ST", "C"]
    if kind in ("acme_suspend", "acme_revoke"):  # an old name without ST or without L can still be stopped
        present = [name for name in fields if re.search(r",{0}=".format(name), text)]
        if len(present) == 2 and "C" in present:
            fields = present
            tail = rest.rsplit(",", 2)
    if len(tail) != len(fields) + 1:
        raise Refused(206, "the form is not CN=…,O=…,L=…,ST=…,C=JP", "Give all five, in this order.")
    return [("CN", first), ("O", tail[0])] + list(zip(fields, tail[1:]))


def _dn(text, kind):
    if UNIT.search(text) and kind != "acme_revoke":
        raise Refused(371, "OU is not allowed in '{0}'".format(text), "Leave OU out, in the CSR as well.")
    if E_MAIL.search(text):
        raise Refused(206, "an e-mail address is not allowed in '{0}'".format(text), "Leave it out.")
    if kind.startswith("acme") and not STRICT_DN.match(text):
        raise Refused(206, "'{0}' is not exactly CN=…,O=…,L=…,ST=…,C=JP without spaces between".format(text))
    text = re.sub(r",OU=[^,]*", "", text)
    fields = {field: _pair(part, field, kind) for field, part in _dn_parts(text, kind)}
    _dn_values(fields)
    if kind.startswith("acme") and sum(len(value) for value in fields.values()) > 128:
        raise Refused(202, "the values of the DN are together longer than 128 characters")
    return fields


def _dn_values(fields):
    _host(fields["CN"], 206, "CN")
    if len(fields["O"]) > 64:
        raise Refused(202, "O is longer than 64 characters")
    if not ORGANIZATION.match(fields["O"]):
        raise Refused(206, "O '{0}' has other characters than letters, digits, space and '(),-./:=".format(fields["O"]))
    for field in ("L", "ST"):
        if not PLACE.match(fields.get(field, "none")):
            raise Refused(206, "{0} '{1}' has characters that are not allowed".format(field, fields[field]))
    if fields["C"] != "JP":
        raise Refused(206, "C is '{0}' and must be JP".format(fields["C"]))


def _digits(text):
    if not re.match(r"[0-9]+\Z", text):
        raise Refused(204, "'{0}' is not a number in half-width digits".format(text))
    return int(text)


def _profile(text, kind):
    _digits(text)
    if text not in _keys.PROFILES:
        raise Refused("profile", "'{0}' is neither 3 (RSA) nor 11 (ECDSA)".format(text))
    return text


def _serial(text, kind):
    if re.match(r"0[xX][0-9A-Fa-f]+\Z", text):
        return int(text, 16)
    if not re.match(r"[0-9]+\Z", text):
        raise Refused(
            204, "'{0}' is neither decimal nor hexadecimal with 0x".format(text), "Give the serial in decimal."
        )
    return int(text)


def _reason(text, kind):
    if _digits(text) not in REASONS:
        raise Refused("reason", "'{0}' is none of 0, 1, 3, 4, 5".format(text))
    return int(text)


def _mail(text, kind):
    if not MAILBOX.match(text):
        message = "'{0}' is not a mail address of half-width letters, digits and - _ . with one @".format(text)
        raise Refused(206, message)
    return text


def _fqdn(text, kind):
    return _host(text, 206, "the FQDN")


def _names(text, kind):
    names = []
    for part in text.split(","):
        if not part.startswith("dNSName="):
            message = "'{0}' is not dNSName=…,dNSName=… without spaces and without a comma at the end".format(text)
            raise Refused("dns_name", message)
        names.append(_host(part[len("dNSName=") :], "dns_name", "dNSName"))
    return names


def _csr(text, kind):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
        request = _x509.request_from_der(data)
    except (binascii.Error, ValueError, UpkiError):
        message = "is not a CSR in base64 on one line without BEGIN and END"
        raise Refused("csr", message, "Take the body of the CSR's PEM file and join its lines.")
    try:
        _x509.name_fields(request.subject)
    except ValueError:
        raise Refused("csr", "the CSR's subject cannot be read")
    if not _x509.request_signature_holds(request):
        raise Refused("csr", "the CSR's signature does not hold", "Make a new CSR with openssl or campus.upki.request.")
    return request


def _plain(text, kind):
    return text


READERS = {
    DN: _dn,
    PROFILE: _profile,
    SERIAL: _serial,
    REASON: _reason,
    CSR: _csr,
    MAIL: _mail,
    FQDN: _fqdn,
    NAMES: _names,
}


def _presence(column, text, kind):
    longest, mark = COLUMNS[column][2], COLUMNS[column][3][KINDS.index(kind)]
    if mark == "○" and not text.strip():
        raise Refused(201, "is required for {0}".format(kind))
    if mark == "—" and text:
        raise Refused("not_empty", "must be empty for {0}".format(kind))
    if len(text) > longest:
        raise Refused(202, "has {0} characters, and {1} are allowed".format(len(text), longest))


def _values(columns, number, kind):
    """({column: value}, faults): every column that says something and breaks no rule of its own."""
    values, faults = {}, []
    for column, text in enumerate(columns):
        try:
            _presence(column, text, kind)
            if text:
                values[column] = READERS.get(column, _plain)(text, kind)
        except Refused as error:
            faults.append(fault(error.code, number, column, text, error.message, error.fix))
    return values, faults


# --- columns that must agree -----------------------------------------------------------------------------


def _fqdn_is_cn(values):
    if DN in values and FQDN in values and values[DN]["CN"] != values[FQDN]:
        yield FQDN, "fqdn", "'{0}' is not the CN '{1}'".format(values[FQDN], values[DN]["CN"])


def _all_names(values):
    fqdn = values.get(FQDN) or values.get(DN, {}).get("CN")
    names = ([fqdn] if fqdn else []) + [name for name in values.get(NAMES, []) if name != fqdn]
    return [name for index, name in enumerate(names) if name not in names[:index]]


def _not_too_many_names(values):
    names = _all_names(values)
    if len(names) > MOST_NAMES:
        yield NAMES, "dns_names", "{0} names with the FQDN, and {1} are allowed".format(len(names), MOST_NAMES)
    length = len(",".join("dNSName=" + name for name in names))
    if length > COLUMNS[NAMES][2]:
        message = "has {0} characters with the FQDN that the CA adds, and {1} are allowed".format(
            length, COLUMNS[NAMES][2]
        )
        yield NAMES, 202, message


def _csr_subject(values):
    fields = _x509.name_fields(values[CSR].subject)
    if any(field == "OU" for field, dummy in fields):
        yield CSR, 371, "the CSR's subject has an OU ({0})".format(_x509.name_text(values[CSR].subject))
    elif DN in values:
        wanted = [(field, values[DN][field]) for field in ("C", "ST", "L", "O", "CN")]
        if fields not in (wanted, wanted[::-1]):
            message = "the CSR's subject is '{0}', and the DN gives '{1}'".format(
                _x509.name_text(values[CSR].subject), ", ".join("=".join(pair) for pair in wanted)
            )
            yield CSR, "csr_subject", message


def _csr_key(values):
    found = _x509.key_type(values[CSR].public_key())
    row = _keys.KEY_TYPES.get(found)
    if row is None:
        yield CSR, "key", "the CSR's key is {0}, and RSA of exactly 2048 bit or P-384 is needed".format(found)
        return
    if PROFILE in values and values[PROFILE] != row["profile"]:
        message = "profile {0} does not fit the CSR's key, {1}, which needs {2}".format(
            values[PROFILE], row["text"], row["profile"]
        )
        yield PROFILE, "profile", message
    signature = _x509.signature_hash(values[CSR])
    if signature != row["hash"]:
        yield CSR, "csr_hash", "the CSR is signed with {0}, and {1} is needed".format(signature, row["hash"])


def _csr_extensions(values):
    if _x509.request_has_extensions(values[CSR]):
        yield CSR, "csr_extensions", "the CSR asks for extensions; further names belong into the column dNSName"


def _together(values, number, columns):
    checks = [_fqdn_is_cn, _not_too_many_names]
    if CSR in values:
        checks += [_csr_subject, _csr_key, _csr_extensions]
    return [
        fault(code, number, column, columns[column], message)
        for check in checks
        for column, code, message in check(values)
    ]


def _record(values, number, kind):
    return {
        "number": number,
        "kind": kind,
        "subject": values.get(DN, {}),
        "names": _all_names(values),
        "account": values.get(ACCOUNT, ""),
        "serial": values.get(SERIAL),
        "reason": values.get(REASON),
        "comment": values.get(COMMENT, ""),
        "request": values.get(CSR),
        "person": values.get(PERSON, ""),
        "section": values.get(SECTION, ""),
        "mail": values.get(MAIL, ""),
        "software": values.get(SOFTWARE, ""),
    }


def read(data, name="", kind=None):
    """(kind, records, faults) of an uploaded file's bytes; records are complete only where faults are none."""
    rows = split(data)
    if not data.strip():
        return kind or guess_kind(name, rows), [], [fault(213, None, "ファイル (file)", name, "the file is empty")]
    kind = kind or guess_kind(name, rows)
    records, faults = [], []
    if len(rows) > MOST_RECORDS:
        message = "the file has {0} records, and {1} are allowed".format(len(rows), MOST_RECORDS)
        faults.append(fault(214, None, "ファイル (file)", str(len(rows)), message, "Split it into several files."))
    for number, columns, found in rows:
        faults.extend(found)
        if columns is not None:
            values, broken = _values(columns, number, kind)
            faults.extend(broken + _together(values, number, columns))
            records.append(_record(values, number, kind))
    return kind, records, faults

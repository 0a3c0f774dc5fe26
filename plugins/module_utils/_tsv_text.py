# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes of a TSV file to its columns, whatever an editor or a spreadsheet has done to it."""

import collections
import re

from ansible_collections.campus.upki.plugins.module_utils import _characters
from ansible_collections.campus.upki.plugins.module_utils._faults import EMPTY_FILE, fault
from ansible_collections.campus.upki.plugins.module_utils._rules import EMPTY, REQUIRED, RULES

FILE = "ファイル (file)"
RIGHT = "shift_jis"

# What a file may be in place of Shift_JIS: fault code, how a person calls it, name for iconv.
ENCODINGS = {
    "utf-8": ("encoding_utf8", "UTF-8", "UTF-8"),
    "utf-8-sig": ("encoding_utf8_bom", "UTF-8 with a byte order mark (BOM)", "UTF-8"),
    "utf-16": ("encoding_utf16", "UTF-16 (Excel's 'Unicode text')", "UTF-16"),
    "euc_jp": ("encoding_euc_jp", "EUC-JP", "EUC-JP"),
    "iso2022_jp": ("encoding_iso2022_jp", "ISO-2022-JP (JIS)", "ISO-2022-JP"),
    "unknown": ("encoding_unknown", "no encoding that is known here", ""),
}
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
GUESSES = (RIGHT, "cp932", "utf-8", "euc_jp")  # in this order when equally likely

# What people name by mistake; only looked at where the file has no tab.
OTHER_FILES = (
    (re.compile("-----BEGIN [A-Z0-9 ]*PRIVATE KEY"), "a private key"),
    (re.compile("-----BEGIN [A-Z ]*CERTIFICATE REQUEST"), "a CSR in PEM"),
    (re.compile("-----BEGIN [A-Z0-9 ]*CERTIFICATE"), "a certificate in PEM"),
    (re.compile(r"<(!DOCTYPE|html)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(r"(?m)^[^\n]*CN=[^\n]*,[^\n]*@"), "a table with commas (CSV)"),
    (re.compile("\x00"), "a binary file"),
)

HEADINGS = re.compile("主体者|プロファイル|利用管理者|失効|シリアル|^CSR$|^subject|^profile|^csr$", re.MULTILINE)
# Columns that are known by their look: place from 0, pattern, how a person calls it.
ANCHORS = (
    (0, re.compile(r"\s*CN\s*=", re.IGNORECASE), "the subject DN"),
    (6, re.compile(r"MI[A-Za-z0-9+/=]{100,}"), "the CSR"),
    (9, re.compile(r"[^@\s]+@[^@\s]+"), "the mail address"),
    (12, re.compile(r"dNSName\s*=", re.IGNORECASE), "the dNSNames"),
)


class Line:
    """One line of the file: its number from 1, its 13 texts, and whether they stand where they belong."""

    def __init__(self, number, texts, aligned):
        self.number = number
        self.texts = texts
        self.aligned = aligned


def read(data, rules=RULES):
    """(lines, faults, encoding) of a file's bytes; a header row and empty lines are faults, not lines."""
    if not data.strip(b"\r\n\t \x1a\x00\xef\xbb\xbf\xff\xfe"):
        return [], [fault(EMPTY_FILE, FILE, "", "The file is empty.", "Write one application a line.")], RIGHT
    text, encoding = decode(data)
    if rules["file"]["separator"] not in text:
        return [], [_no_tsv_fault(text)], encoding
    faults = [_encoding_fault(encoding)] if encoding in ENCODINGS else []
    pieces, found = _pieces(text)
    faults += found
    lines = []
    for number, piece in enumerate(pieces, 1):
        line, found = _line(number, piece, rules)
        faults += found
        if line:
            lines.append(line)
    return lines, faults, encoding


# --- encoding --------------------------------------------------------------------------------------------


def decode(data):
    """(text, encoding): Shift_JIS, or the most likely other; what cannot be read becomes U+FFFD."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding
    if data.count(b"\x00") > len(data) // 4:
        encoding = "utf-16-be" if data[:1] == b"\x00" else "utf-16-le"
        return data.decode(encoding, "replace"), "utf-16"
    if b"\x1b$" in data:
        return data.decode("iso2022_jp", "replace"), "iso2022_jp"
    readings = [(guess, _decoded(data, guess)) for guess in GUESSES]
    readings = [(guess, text) for guess, text in readings if text is not None]
    if not readings:
        return data.decode(RIGHT, "replace"), "unknown"
    encoding, text = min(readings, key=lambda reading: _oddness(*reading))
    return text, RIGHT if encoding == "cp932" else encoding


def _decoded(data, encoding):
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _oddness(encoding, text):
    """How unlikely the reading is: rare characters among those that are not ASCII. 0 for plain ASCII."""
    others = collections.Counter(re.findall("[^\x00-~]", text))
    if encoding == "utf-8" and max(others, default="") >= "\u3000" and not _characters.refused("".join(others)):
        return -1.0  # Shift_JIS is hardly ever valid UTF-8 by chance, but the other way round happens
    if not others:
        return 0.0
    return sum(_rarity(one) * count for one, count in others.items()) / sum(others.values())


def _rarity(character):
    if "｡" <= character <= "ﾟ":
        return 0.5  # half-width kana: EUC-JP read as Shift_JIS is full of them
    try:
        code = character.encode(RIGHT)
    except UnicodeEncodeError:
        return 0.9 if _characters.spelling(character) else 2.0
    return 1.0 if code[0] >= 0x98 else 0.0  # level 2: UTF-8 read as Shift_JIS is full of them


def _encoding_fault(encoding):
    code, name, iconv = ENCODINGS[encoding]
    fix = "Save it as Shift_JIS, or: iconv -f {0} -t SHIFT_JIS old.tsv > new.tsv".format(iconv)
    if encoding == "utf-8-sig":
        fix = "Save it as Shift_JIS, which has no BOM."
    if encoding == "unknown":
        fix = "Write it again with campus.upki.tsv, or take it again from where it came from."
    return fault(code, FILE, name, "The file is {0}; the service reads Shift_JIS only.".format(name), fix)


def _no_tsv_fault(text):
    """A file without a single tab is something else: one fault says so, instead of one for each of its lines.

    The fault has no value: the file may be a key.
    """
    what = next((name for pattern, name in OTHER_FILES if pattern.search(text)), None)
    message = "There is no tab in the file, so it holds no columns."
    if what:
        message = "This is {0}, not a TSV file.".format(what)
    fix = "Name the TSV file; it has one tab between columns (not commas or spaces)."
    return fault("columns", FILE, "", message, fix)


# --- lines and columns -----------------------------------------------------------------------------------


def _pieces(text):
    """(lines, faults); CRLF or LF ends a line, CR alone is a fault."""
    if "\n" not in text and "\r" in text.rstrip("\r"):
        message = "The lines end with CR alone, as on an old Macintosh."
        fix = "Save it with CRLF (Windows) or LF (Unix) at the end of the lines."
        pieces, faults = text.split("\r"), [fault("line_ends_cr", FILE, "CR", message, fix)]
    else:
        pieces, faults = re.split("\r\n|\n", text), []
    pieces[-1] = pieces[-1].rstrip("\x1a\r")
    if not pieces[-1]:
        pieces.pop()  # the last line end is optional
    return pieces, faults


def _line(number, piece, rules):
    """(Line or None, faults) of one line of text."""
    if not piece.strip():
        message = "Line {0} is empty.".format(number)
        return None, [fault("blank_line", FILE, "", message, "Delete it; there is one application a line.", number)]
    if number == 1 and is_header(piece):
        message = "The first line is a header row; the service reads it as an application."
        return None, [fault("header_row", FILE, piece, message, "Delete it.", number)]
    faults = []
    if "\r" in piece:
        piece = piece.replace("\r", "")
        message = "There is a CR in the middle of the line."
        faults.append(fault("carriage_return", FILE, "CR", message, "Put each application on one line.", number))
    texts, found = _unquoted(number, piece.split(rules["file"]["separator"]))
    faults += found
    count = rules["file"]["columns"]
    if len(texts) == count:
        return Line(number, texts, True), faults
    shifted = _shifted(texts)
    faults.append(_count_fault(number, texts, shifted, count))
    aligned = shifted is None and len(texts) > 1
    return Line(number, (texts + [""] * count)[:count], aligned), faults


def is_header(piece):
    """True for a line of item names."""
    cells = [cell.strip('" ') for cell in piece.split("\t")]
    return "CN=" not in cells[0] and sum(bool(HEADINGS.search(cell)) for cell in cells) >= 2


def _unquoted(number, texts):
    quoted = [at for at, text in enumerate(texts) if len(text) > 1 and text[0] == text[-1] == '"']
    if not quoted:
        return texts, []
    plain = [text[1:-1].replace('""', '"') if at in quoted else text for at, text in enumerate(texts)]
    where = ", ".join(str(at + 1) for at in quoted)
    message = "Quotes stand around column {0}, as a spreadsheet writes them.".format(where)
    fix = "Delete the quotes; columns are not quoted."
    return plain, [fault("quoted", FILE, texts[quoted[0]], message, fix, number)]


def _shifted(texts):
    """(place from 0 where it is, place where it belongs, name) of the first column that is not in its place."""
    for place, pattern, name in ANCHORS:
        if place < len(texts) and pattern.match(texts[place]):
            continue
        for at, text in enumerate(texts):
            if at != place and pattern.match(text):
                return at, place, name
    return None


def _count_fault(number, texts, shifted, count):
    found = len(texts)
    message = "The record has {0} columns; it must have {1}.".format(found, count)
    if found == 1:
        return fault("columns", FILE, found, message, "Put one tab between columns (not commas or spaces).", number)
    if shifted:
        at, place, name = shifted
        message += " Column {0} holds {1}, which belongs in column {2}.".format(at + 1, name, place + 1)
        fix = "Add the tab that is missing before it." if at < place else "Take the surplus tab before it out."
    elif found > count:
        fix = "Take the surplus tab out; a tab inside a column is not possible."
    else:
        fix = "Add {0} tab{1}: unused columns stay empty, the last ones too.".format(
            count - found, "" if count - found == 1 else "s"
        )
    return fault("columns", FILE, found, message, fix, number)


# --- kind ------------------------------------------------------------------------------------------------


def filled(texts):
    """Which columns hold something."""
    return tuple(map(bool, texts))


def misses(pattern, kind, rules=RULES):
    """How many columns are empty that the kind needs, or filled that it does not have."""
    marks = rules["kinds"][kind]
    return sum((mark == REQUIRED) != there for there, mark in zip(pattern, marks) if mark in (REQUIRED, EMPTY))


def guess_kind(lines, rules=RULES):
    """(kind that fits best, True when it can be no other: an ACME creation looks like an issue without its CSR)."""
    patterns = collections.Counter(filled(line.texts) for line in lines)
    totals = {
        kind: sum(misses(pattern, kind, rules) * count for pattern, count in patterns.items())
        for kind in rules["kinds"]
    }
    best = min(totals, key=totals.get)
    rivals = [kind for kind in totals if kind != best and totals[kind] <= totals[best] + len(lines) // 2]
    return best, totals[best] == 0 and not rivals and best.startswith("server")


def other_kind(line, kind, rules=RULES):
    """The kind that a line fits wholly while it is far from `kind`, or None."""
    pattern = filled(line.texts)
    if misses(pattern, kind, rules) < 2:
        return None
    return next((other for other in rules["kinds"] if misses(pattern, other, rules) == 0), None)

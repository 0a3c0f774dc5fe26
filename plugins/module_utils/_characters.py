# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters that survive the trip through Shift_JIS: ASCII and JIS X 0208, nothing else.

The service wants Shift_JIS but publishes no range. A character is accepted when Python's `shift_jis` and
`cp932` both write it, with the same bytes, and it is half-width ASCII or a two-byte character: these are the
6,879 characters of JIS X 0208 (levels 1 and 2 and the symbols). Everything else has another spelling, which
is proposed where it is obvious.
"""

import functools
import unicodedata

SHOWN = 5  # refused characters that a message names

# Spellings that Unicode's compatibility forms do not give. Source: the name's standard form in JIS X 0208,
# and the pairs that Windows (cp932) and JIS (shift_jis) map to the same bytes.
SPELLINGS = {
    # personal and place names
    "髙": "高", "德": "徳", "濵": "浜", "瀨": "瀬", "增": "増", "橫": "横", "淸": "清", "黑": "黒", "綠": "緑",
    "緖": "緒", "薰": "薫", "賴": "頼", "郞": "郎", "靑": "青", "敎": "教", "寬": "寛", "栁": "柳", "桒": "桑",
    "鄕": "郷", "凞": "熙", "悅": "悦", "曻": "昇", "閒": "間", "戾": "戻", "步": "歩", "卽": "即", "吳": "呉",
    "\ufa11": "崎", "\ufa1f": "臈", "𠮷": "吉", "𠮟": "叱",
    # pairs of the two mappings: what Windows types, and what JIS X 0208 means
    "～": "〜", "－": "−", "∥": "‖", "￠": "¢", "￡": "£", "￢": "¬", "—": "―", "–": "−", "‑": "-",
    "¥": "円", "‾": "〜", "˜": "〜", "•": "・", "©": "(C)", "®": "(R)", "丨": "｜",
    # whose compatibility form is no character of its own
    "ﾞ": "゛", "ﾟ": "゜", "\t": " ", "\u3099": "゛", "\u309a": "゜",
}  # fmt: skip


def accepted(character):
    """True for printable ASCII and for the characters of JIS X 0208."""
    if " " <= character <= "~":
        return True
    try:
        return len(character.encode("shift_jis")) == 2 and character.encode("shift_jis") == character.encode("cp932")
    except UnicodeEncodeError:
        return False


def spelling(text):
    """A spelling of a refused character, or of a run of them, that works; '' where none is known."""
    plain = "".join(SPELLINGS.get(one, one) for one in unicodedata.normalize("NFKC", text))
    for candidate in (SPELLINGS.get(text, ""), unicodedata.normalize("NFC", text), plain):
        if candidate and candidate != text and all(accepted(one) for one in candidate):
            return candidate
    return ""


@functools.lru_cache(maxsize=1024)
def _refused(text):
    return tuple((position, character) for position, character in enumerate(text, 1) if not accepted(character))


def refused(text):
    """[(position from 1, character)] of all the characters that cannot be sent."""
    return [] if is_plain(text) else list(_refused(text))


def is_plain(text):
    """True when all is printable ASCII (the common case, decided at once)."""
    try:
        text.encode("ascii")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def describe(found):
    """'髙' (U+9AD9) at position 1 — for messages; the first few of many."""
    texts = [
        "'{0}' (U+{1:04X}) at position {2}".format(one if one.isprintable() else repr(one)[1:-1], ord(one), position)
        for position, one in found[:SHOWN]
    ]
    more = len(found) - SHOWN
    return ", ".join(texts) + (" and {0} more".format(more) if more > 0 else "")


def runs(found):
    """Neighbouring refused characters joined: half-width ｶﾞ is one letter, ガ."""
    joined = []
    end = None
    for position, one in found:
        if position == end:
            joined[-1] += one
        else:
            joined.append(one)
        end = position + 1
    return joined


def remedy(found):
    """What to write in place of the refused characters."""
    wanted = [(run, spelling(run)) for run in runs(found)]
    pieces = []
    for run, spelled in wanted:
        pieces.extend([(run, spelled)] if spelled else [(one, spelling(one)) for one in run])
    known = ["{0} → {1}".format(run, spelled) for run, spelled in pieces if spelled]
    if not known:
        return "Write it with other characters (JIS X 0208, levels 1 and 2; kana and Latin letters always work)."
    others = "" if all(spelled for run, spelled in pieces) else " Write the others in kana or Latin letters."
    return "Write {0}.{1}".format(", ".join(list(dict.fromkeys(known))[:SHOWN]), others)

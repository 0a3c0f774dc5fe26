# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes of a TSV file to its columns: encoding, line ends, number of columns, kind."""

import re

from ansible_collections.campus.upki.plugins.module_utils._faults import EMPTY_FILE, fault
from ansible_collections.campus.upki.plugins.module_utils._rules import EMPTY, KEYS, REQUIRED, RULES

FILE = "ファイル (file)"


def lines(data, rules=RULES):
    """([(number from 1, [13 texts])], faults)."""
    return read(data, rules)[:2]


def read(data, rules=RULES):
    """([(number from 1, [13 texts])], faults, encoding)."""
    if not data.strip():
        return [], [fault(EMPTY_FILE, FILE, "", "The file is empty.", "Write one application a line.")], "shift_jis"
    text = data.decode("cp932", "replace")
    pieces = re.split("\r\n|\n", text)
    if not pieces[-1]:
        pieces.pop()
    rows, faults = [], []
    for number, piece in enumerate(pieces, 1):
        texts = piece.split("\t")
        if len(texts) != 13:
            message = "The record has {0} columns; it must have 13.".format(len(texts))
            faults.append(fault("columns", FILE, len(texts), message, "Write 13 columns.", number))
        rows.append((number, (texts + [""] * 13)[:13]))
    return rows, faults, "shift_jis"


def guess_kind(rows, rules=RULES):
    """The kind whose columns fit the rows best."""
    def misses(kind):
        wrong = 0
        for texts in rows:
            for value, mark in zip(texts, rules["kinds"][kind]):
                wrong += (mark == REQUIRED and not value) or (mark == EMPTY and bool(value))
        return wrong
    return min(rules["kinds"], key=misses)

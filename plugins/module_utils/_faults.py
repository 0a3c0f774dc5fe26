# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: what is wrong with an application, as data, and as the lines that the CA's upload form would show.

A fault is a dict: `code` (the CA's number where it has one, else a word), `record` (from 1, or None for the
file), `item` (Japanese name with English beside it), `value` (shortened), `message` (one sentence), `fix`.

The CA's numbers (source: NII, UPKI certificate issuing service, answers of the upload form, form
CODE:RECORD,ITEM,MESSAGE) are named here once.
"""

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

REQUIRED_ITEM = 201
LENGTH = 202
DIGITS = 204
COMMENT_CHARACTER = 205
FORM = 206
NO_FILE = 208
EXTENSION = 209
DN_EXISTS = 212
EMPTY_FILE = 213
TOO_MANY_RECORDS = 214
INSTITUTION_STATE = 215
DNS_CHECK = 338
OU_NOT_ALLOWED = 371

SHOWN = 60  # characters of a value in a message


def shorten(value):
    """A value for one line of text: visible, and not longer than SHOWN characters."""
    text = str(value)
    if not text.isprintable():
        text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def fault(code, item, value, message, fix, record=None):
    """One fault as a dict; the value is shortened."""
    return {
        "code": code,
        "record": record,
        "item": item,
        "value": shorten(value),
        "message": message,
        "fix": fix,
    }


def numbered(faults, record):
    """The same faults with the record's number filled in."""
    return [dict(row, record=record) for row in faults]


def line(row):
    """CODE:RECORD,ITEM,MESSAGE and what to do, on one line; RECORD is - where the whole file is meant."""
    record = "-" if row["record"] is None else row["record"]
    return "{0}:{1},{2},{3} {4}".format(row["code"], record, row["item"], row["message"], row["fix"]).rstrip()


def report(faults):
    """All the faults, one a line."""
    return "\n".join(line(row) for row in faults)


def refusal(faults, records, consequence):
    """The UpkiError that reports all the faults of a set of records, one a line."""
    bad = len({row["record"] for row in faults if row["record"] is not None})
    head = "{0} fault{1} in {2} of {3} record{4}; {5}:".format(
        len(faults), "" if len(faults) == 1 else "s", bad, records, "" if records == 1 else "s", consequence
    )
    return UpkiError("faults", head + "\n" + report(faults), "", faults=faults)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications as sets and as files: all the records of one call, and the bytes of a TSV file. One: _tsv_record.py."""

import re

from ansible_collections.campus.upki.plugins.module_utils import (
    _csr,
    _names,
    _subject,
    _tsv_forms,
    _tsv_record,
    _tsv_set,
    _tsv_text,
)
from ansible_collections.campus.upki.plugins.module_utils._faults import TOO_MANY_RECORDS, fault, numbered
from ansible_collections.campus.upki.plugins.module_utils._rules import KEYS, RULES

KINDS = tuple(RULES["kinds"])
FILE = "ファイル (file)"


# --- records → rows and groups ---------------------------------------------------------------------------


def examine_set(records, known_keys=(), confirmed=False, without_csr=False, rules=RULES):
    """(rows [(number, Row)], faults, notes) of all the records of one call."""
    rows, faults = [], []
    for number, record in enumerate(records, 1):
        found, row = _tsv_record.examine(record, rules, confirmed, without_csr)
        faults += numbered(found, number)
        if row is not None:
            rows.append((number, row))
    faults += _tsv_set.check(rows, known_keys, rules)
    faults.sort(key=lambda one: one["record"] or 0)
    return rows, faults, _tsv_set.notes(rows, rules)


def split(records, rules=RULES):
    """[(kind, [records])]: one kind a group, at most 99 records each, in the order of kinds and of the input."""
    most = rules["file"]["records"]
    groups = []
    for kind in rules["kinds"]:
        same = [record for record in records if record["kind"] == kind]
        groups += [(kind, same[start : start + most]) for start in range(0, len(same), most)]
    return groups


# --- bytes → records -------------------------------------------------------------------------------------


def parse(data, kind=None, rules=RULES):
    """(records, faults) of a TSV file's bytes; never stops at the first fault. Each record has its `record` number."""
    found = read(data, kind, rules)
    return found["records"], found["faults"]


def read(data, kind=None, rules=RULES):
    """records, faults, notes, kind, encoding, rows ([(number, Row)]) of a TSV file's bytes."""
    lines, faults, encoding = _tsv_text.read(data, rules)
    notes = []
    if not kind:
        kind, certain = _tsv_text.guess_kind(lines, rules)
        if lines and not certain:
            notes.append(_guess_note(kind, rules))
    if len(lines) > rules["file"]["records"]:
        message = "The file has {0} records; at most {1} are allowed.".format(len(lines), rules["file"]["records"])
        faults.append(fault(TOO_MANY_RECORDS, FILE, len(lines), message, "Split it into several files."))
    rows = []
    for line in lines:
        row, found = _read_line(line, kind, rules)
        faults += numbered(found, line.number)
        rows.append((line.number, row))
    faults += _tsv_set.check(rows, (), rules)
    faults.sort(key=lambda one: one["record"] or 0)
    return {
        "records": [_record(number, row) for number, row in rows],
        "faults": faults,
        "notes": notes + _tsv_set.notes(rows, rules),
        "kind": kind,
        "encoding": encoding,
        "rows": rows,
    }


def _guess_note(kind, rules):
    name = "{0} ({1})".format(rules["kind_names"][kind], kind)
    message = "The file was read as {0}, because its columns fit that best.".format(name)
    return fault("kind_guessed", _tsv_record.KIND, kind, message, "Give the option kind where it is another.")


def _read_line(line, kind, rules):
    """(Row, faults) of one line of a file."""
    columns = dict(zip(KEYS, line.texts))
    if not line.aligned:
        return _tsv_forms.Row(kind, columns, rules, confirmed=True), []
    other = _tsv_text.other_kind(line, kind, rules)
    row = _tsv_forms.Row(other or kind, columns, rules, confirmed=True)
    faults = _tsv_record.check_row(row)
    if other:
        message = "The record is of kind {0}, the file of kind {1}; one file holds one kind.".format(
            _tsv_record.kind_text(row), kind
        )
        faults.insert(0, fault("kind_mixed", _tsv_record.KIND, other, message, "Put it into a file of its own."))
    return row, faults


def _record(number, row):
    texts = row.columns
    record = {key: texts[key] or None for key in KEYS}
    subject = row.subject
    if subject is None and texts["subject"]:
        subject = _subject.read(texts["subject"], row.kind, row.rules)[0]
    record["subject"] = None if subject is None else {key: subject[key] or None for key in _tsv_forms.PARTS}
    record["dns_names"] = _names.read_column(texts["dns_names"], row.rules)[0]
    record["csr"] = _csr.pem_text(texts["csr"]) if texts["csr"] else None
    record["reason"] = int(texts["reason"]) if re.fullmatch("[0-9]{1,9}", texts["reason"]) else None
    record["serial"] = _tsv_forms.decimal_serial(texts["serial"], row.rules)[0] or None
    return dict(record, kind=row.kind, record=number)

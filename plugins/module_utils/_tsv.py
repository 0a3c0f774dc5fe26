# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications as records, as lines of a TSV file, and as files.

A record is a dict: kind, subject (common_name, organization, locality, state), profile, account_id, serial,
reason, comment, csr (PEM), manager_name, manager_affiliation, manager_email, fqdn, software, dns_names (list).
"""

import re

from ansible_collections.campus.upki.plugins.module_utils import (
    _csr,
    _names,
    _outbox,
    _subject,
    _tsv_forms,
    _tsv_set,
    _tsv_text,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import (
    LENGTH,
    REQUIRED_ITEM,
    TOO_MANY_RECORDS,
    fault,
    numbered,
    shorten,
)
from ansible_collections.campus.upki.plugins.module_utils._rules import EMPTY, KEYS, REQUIRED, RULES, item

KINDS = tuple(RULES["kinds"])
encode = _outbox.encode
FILE = "ファイル (file)"
KIND = "TSVファイルの種別 (kind)"


# --- records → lines -------------------------------------------------------------------------------------


def columns_of(record, rules=RULES):
    """(dict of the 13 texts by key, faults of what could not be put into a column)."""
    faults = []
    texts = {key: _plain(record.get(key)) for key in KEYS}
    subject = record.get("subject") or {}
    texts["subject"] = _subject.distinguished_name(subject, subject.get("common_name"), rules) if subject else ""
    texts["dns_names"] = _names.column_text(record.get("dns_names") or [], rules)
    if texts["serial"]:
        texts["serial"] = _tsv_forms.decimal_serial(texts["serial"], rules)[0]
    if not texts["fqdn"] and has(record["kind"], "fqdn", rules):
        texts["fqdn"] = subject.get("common_name") or ""
    try:
        texts["csr"] = _csr.column_text(record.get("csr"))
    except UpkiError as error:
        faults.append(fault(error.code, item("csr", rules), "", error.message, error.fix or _csr.AGAIN))
    return texts, faults


def _plain(value):
    return "" if value is None else str(value)


def has(kind, key, rules=RULES):
    """True when the kind has the column at all."""
    return mark(kind, key, rules) != EMPTY


def mark(kind, key, rules=RULES):
    """○, △ or — of the table."""
    return rules["kinds"][kind][KEYS.index(key)]


def check_record(record, rules=RULES, confirmed=False, without_csr=False):
    """All the faults of one record (their `record` is None).

    confirmed: reason 1 is meant. without_csr: check mode, the CSR is not made yet.
    """
    return examine(record, rules, confirmed, without_csr)[0]


def examine(record, rules=RULES, confirmed=False, without_csr=False):
    """(faults, Row) of one record; Row is None when the kind is unknown."""
    kind = record.get("kind")
    if kind not in rules["kinds"]:
        message = "The kind '{0}' is unknown; it must be one of {1}.".format(kind, ", ".join(rules["kinds"]))
        return [fault("kind", KIND, kind, message, "Choose the kind of application.")], None
    texts, faults = columns_of(record, rules)
    row = _tsv_forms.Row(kind, texts, rules, record.get("subject") or None, confirmed)
    hidden = set()
    if faults or (without_csr and not texts["csr"]):
        hidden = {"csr", "profile"}
    if has(kind, "csr", rules) and not texts["profile"]:
        texts["profile"] = row.profile_of_csr()
        if not texts["profile"]:
            hidden.add("profile")  # what is wrong with the CSR is said there
    if row.subject:
        needed = _needed(kind, row.subject, rules)
        faults = _common_name(row) + _subject.check(row.subject, rules, needed) + faults
    return faults + check_row(row, hidden), row


def _common_name(row):
    if row.common_name():
        return []
    return [
        fault(REQUIRED_ITEM, "主体者DN CN (common name)", "", "common_name is missing.", "Write the server's FQDN.")
    ]


def _needed(kind, subject, rules):
    if kind in rules["subject"]["one_place_enough"]:
        return ("organization",) if subject.get("state") or subject.get("locality") else ("organization", "locality")
    return ("organization", "state", "locality")


def check_row(row, hidden=()):
    """The faults of the 13 columns of a row, in the order of the columns; `hidden` keys are left out."""
    faults = []
    columns = row.columns
    for column, needed in zip(row.rules["columns"], row.rules["kinds"][row.kind]):
        key = column["key"]
        value = columns[key]
        if key in hidden or (not value and needed != REQUIRED):
            continue
        if value and needed != EMPTY and not value.isspace():
            faults += _check_value(value, column, row)
        else:
            faults += _check_presence(value, column, needed, row)
    return faults


def _check_presence(value, column, needed, row):
    what = column["item"]
    if needed == EMPTY:
        message = "'{0}' stands here, but {1} has no such item.".format(shorten(value), _kind_text(row))
        return [fault("must_be_empty", what, value, message, "Leave it empty.")]
    if needed == REQUIRED:
        message = "This item is empty, but {0} needs it.".format(_kind_text(row))
        return [fault(REQUIRED_ITEM, what, "", message, column["missing"])]
    return []


def _check_value(value, column, row):
    faults = _tsv_forms.FORMS[column["form"]](value, column, row)
    if len(value) <= column["max"] or column["form"] in _tsv_forms.OWN_LENGTH:
        return faults
    message = "'{0}' has {1} characters; at most {2} are allowed.".format(shorten(value), len(value), column["max"])
    return [fault(LENGTH, column["item"], value, message, "Shorten it.")] + faults


def _kind_text(row):
    return "{0} ({1})".format(row.rules["kind_names"][row.kind], row.kind)


def build_line(record, rules=RULES):
    """The line of a record that has passed check_record, without line end."""
    texts = columns_of(record, rules)[0]
    row = _tsv_forms.Row(record["kind"], texts, rules)
    if has(record["kind"], "csr", rules) and not texts["profile"]:
        texts["profile"] = row.profile_of_csr()
    return _tsv_set.line_of(texts, rules)


def examine_set(records, known_keys=(), confirmed=False, without_csr=False, rules=RULES):
    """(rows [(number, Row)], faults, notes) of all the records of one call."""
    rows, faults = [], []
    for number, record in enumerate(records, 1):
        found, row = examine(record, rules, confirmed, without_csr)
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
    return fault("kind_guessed", KIND, kind, message, "Give the option kind where it is another.")


def _read_line(line, kind, rules):
    """(Row, faults) of one line of a file."""
    columns = dict(zip(KEYS, line.texts))
    if not line.aligned:
        return _tsv_forms.Row(kind, columns, rules, confirmed=True), []
    other = _tsv_text.other_kind(line, kind, rules)
    row = _tsv_forms.Row(other or kind, columns, rules, confirmed=True)
    faults = check_row(row)
    if other:
        message = "The record is of kind {0}, the file of kind {1}; one file holds one kind.".format(
            _kind_text(row), kind
        )
        faults.insert(0, fault("kind_mixed", KIND, other, message, "Put it into a file of its own."))
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

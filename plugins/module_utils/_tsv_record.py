# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One application: as a record, as the thirteen columns of a TSV file, as a line.

A record is a dict: kind, subject (common_name, organization, locality, state), profile, account_id, serial,
reason, comment, csr (PEM), manager_name, manager_affiliation, manager_email, fqdn, software, dns_names (list).
"""

from ansible_collections.campus.upki.plugins.module_utils import _csr, _names, _subject, _tsv_forms
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import LENGTH, REQUIRED_ITEM, fault, shorten
from ansible_collections.campus.upki.plugins.module_utils._rules import EMPTY, KEYS, REQUIRED, RULES, item

KIND = "TSVファイルの種別 (kind)"


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
        message = "'{0}' stands here, but {1} has no such item.".format(shorten(value), kind_text(row))
        return [fault("must_be_empty", what, value, message, "Leave it empty.")]
    if needed == REQUIRED:
        message = "This item is empty, but {0} needs it.".format(kind_text(row))
        return [fault(REQUIRED_ITEM, what, "", message, column["missing"])]
    return []


def _check_value(value, column, row):
    faults = _tsv_forms.FORMS[column["form"]](value, column, row)
    if len(value) <= column["max"] or column["form"] in _tsv_forms.OWN_LENGTH:
        return faults
    message = "'{0}' has {1} characters; at most {2} are allowed.".format(shorten(value), len(value), column["max"])
    return [fault(LENGTH, column["item"], value, message, "Shorten it.")] + faults


def kind_text(row):
    return "{0} ({1})".format(row.rules["kind_names"][row.kind], row.kind)


def build_line(record, rules=RULES):
    """The line of a record that has passed check_record, without line end."""
    texts = columns_of(record, rules)[0]
    row = _tsv_forms.Row(record["kind"], texts, rules)
    if has(record["kind"], "csr", rules) and not texts["profile"]:
        texts["profile"] = row.profile_of_csr()
    return line_of(texts, rules)


def line_of(texts, rules=RULES):
    """13 columns joined by tabs."""
    return rules["file"]["separator"].join(texts[key] for key in KEYS)


def encode(lines, rules=RULES):
    """Bytes of a file: Shift_JIS, CRLF after each line."""
    end = rules["file"]["line_end"]
    return "".join(line + end for line in lines).encode(rules["file"]["encoding"])

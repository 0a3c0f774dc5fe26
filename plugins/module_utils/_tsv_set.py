# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shows only when the records of a set stand side by side, and what is no fault but worth a word."""

import re

from ansible_collections.campus.upki.plugins.module_utils import _csr, _names, _tsv_forms, _tsv_record
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import DN_EXISTS, fault, numbered, shorten
from ansible_collections.campus.upki.plugins.module_utils._rules import EMPTY, KEYS, REQUIRED, RULES, item

FILE = "ファイル (file)"
SAY_THEIR_NAME = ("phishing_like",)  # a record's number would add nothing, and make it differ from request's warning


def final_line(row, rules=RULES):
    """The line of a row without faults, or None where check mode has no CSR for it yet."""
    marks = dict(zip(KEYS, rules["kinds"][row.kind]))
    if marks["csr"] == REQUIRED and not row.columns["csr"]:
        return None
    return _tsv_record.line_of(row.columns, rules)


def check(rows, known_keys=(), rules=RULES):
    """Faults that show only beside the other records: the same key, the same DN, the same line twice.

    rows: [(record number, Row)].
    """
    faults = []
    seen = {"key": {}, "dn": {}, "line": {}}
    known = {_fingerprint(key) for key in known_keys}
    for number, row in rows:
        faults += numbered(_check_twice(number, row, seen, known, rules), number)
    return faults


def _fingerprint(text):
    """A SHA-256 fingerprint as cryptography's hex; a list that could never match must not pass in silence."""
    plain = str(text).replace(":", "").strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", plain):
        raise UpkiError(
            "known_key_form",
            "known_keys has '{0}', which is no SHA-256 fingerprint of 64 hexadecimal digits.".format(shorten(text)),
            "Take it from the result spki_sha256 of campus.upki.info or campus.upki.request.",
        )
    return plain


def _check_twice(number, row, seen, known, rules):
    first = seen["line"].setdefault(_tsv_record.line_of(row.columns, rules), number)
    if first != number:
        message = "The record is the same as record {0}.".format(first)
        return [fault("record_twice", FILE, row.common_name(), message, "Leave one of them out.")]
    faults = []
    key = row.csr["spki_sha256"] if row.csr else None
    first = seen["key"].setdefault(key, number) if key else number
    if first != number:
        message = "The CSR has the same key as record {0}; each certificate needs a key of its own.".format(first)
        faults.append(fault("key_twice", item("csr", rules), key, message, _csr.AGAIN))
    if key in known:
        message = "The CSR's key was used before; every issue and renewal needs a new key."
        faults.append(fault("key_known", item("csr", rules), key, message, _csr.AGAIN))
    if row.kind == "server_issue" and row.columns["subject"]:
        first = seen["dn"].setdefault(row.columns["subject"], number)
        if first != number:
            message = "Record {0} applies for the same DN, so it exists already when this one is read.".format(first)
            fix = (
                "Leave one of them out, or use one certificate with dNSNames. Where two hosts have asked, give up the "
                "request of one of them with state: cancelled."
            )
            faults.append(fault(DN_EXISTS, item("subject", rules), row.columns["subject"], message, fix))
    return faults


def notes(rows, rules=RULES):
    """Warnings, as dicts like faults: nothing that the CA refuses."""
    found = []
    places = {}
    for number, row in rows:
        found += numbered(_notes_of(row, rules), number)
        subject = row.subject or {}
        place = (subject.get("locality"), subject.get("state"))
        first, first_place = places.setdefault(subject.get("organization"), (number, place))
        if subject and place != first_place:
            message = "L and ST are {0}, but {1} in record {2} of the same organization.".format(
                " and ".join(map(str, place)), " and ".join(map(str, first_place)), first
            )
            fix = "They are fixed for an institution, case included; a mismatch is refused (215)."
            found.append(fault("place_differs", item("subject"), "", message, fix, number))
    return found


def _notes_of(row, rules):
    found = []
    for key in ("manager_name", "manager_affiliation"):
        if not row.columns[key] and rules["kinds"][row.kind][KEYS.index(key)] != EMPTY:
            message = "{0} is empty; the service's mails are addressed with it.".format(item(key))
            found.append(fault(key + "_empty", item(key), "", message, "Fill it in."))
    if row.columns["reason"] == str(rules["reason_with_comment"]) and not row.columns["comment"]:
        message = "Reason 0 (unspecified) is expected to come with a comment."
        found.append(fault("comment_expected", item("comment"), "", message, "Write the reason in words."))
    if "x" in row.columns["serial"].lower() and _tsv_forms.is_hexadecimal(row.columns["serial"], rules):
        message = "The serial {0} is hexadecimal; some institutions refuse that.".format(row.columns["serial"])
        decimal = _tsv_forms.decimal_serial(row.columns["serial"], rules)[0]
        found.append(fault("serial_hexadecimal", item("serial"), row.columns["serial"], message, decimal))
    names = [row.common_name(), row.columns["fqdn"]] + _names.read_column(row.columns["dns_names"], rules)[0]
    for warning in _names.phishing_like(names):
        found.append(fault(warning["code"], "主体者DN (subject DN)", warning["name"], warning["message"], ""))
    return found


def warnings(found):
    """The notes for module.warn: one line for each cause, with the numbers of the records."""
    texts = {}
    for row in found:
        numbers = texts.setdefault("{0} {1}".format(row["message"], row["fix"]).rstrip(), [])
        if row["record"] is not None and row["code"] not in SAY_THEIR_NAME:
            numbers.append(str(row["record"]))
    return ["{0} (record {1})".format(text, ", ".join(numbers)) if numbers else text for text, numbers in texts.items()]

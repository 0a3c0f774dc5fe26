# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of each column of a TSV record: one small function for each `form` of the table."""

import functools
import re

from ansible_collections.campus.upki.plugins.module_utils import _characters, _csr, _names, _subject
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import (
    COMMENT_CHARACTER,
    DIGITS,
    FORM,
    LENGTH,
    fault,
    shorten,
)

PARTS = ("common_name", "organization", "locality", "state")
LONGEST_NUMBER = 200  # characters; Python refuses to turn thousands of digits into a number, and no serial has them


class Row:
    """One application on its way through the checks: its 13 texts by key, and what was read from them."""

    def __init__(self, kind, columns, rules, subject=None, confirmed=False):
        self.kind = kind
        self.columns = columns
        self.rules = rules
        self.subject = subject  # dict of column 1 once read; None when the column is empty
        self.csr = None  # facts of _csr.read
        self.confirmed = confirmed  # reason 1 is meant

    def read_csr(self):
        """The CSR's facts, read once; UpkiError when it is none."""
        if self.csr is None:
            self.csr = _csr.read(self.columns["csr"])
        return self.csr

    def profile_of_csr(self):
        """The profile that the CSR's key asks for, or ''."""
        try:
            key_type = self.read_csr()["key_type"] if self.columns["csr"] else ""
        except UpkiError:
            return ""
        return next((number for number, name in self.rules["profiles"].items() if name == key_type), "")

    def common_name(self):
        """The CN, or '' where there is no DN."""
        return (self.subject or {}).get("common_name") or ""


def subject(value, column, row):
    """Column 1 as a text; the parts are in row.subject already when the record came as a dict."""
    faults = []
    if row.subject is None:
        row.subject, faults = _subject.read(value, row.kind, row.rules)
        faults = faults + _subject.check(row.subject, row.rules, needed=())
    name = row.common_name()
    if name:
        faults = faults + _names.check_fqdn(name, "主体者DN CN (common name)", row.rules, FORM)
    limit = row.rules["subject"]["acme_values_max"]
    length = sum(len(row.subject.get(part) or "") for part in PARTS) + len(row.rules["subject"]["country"])
    if row.kind in row.rules["subject"]["strict"] and length > limit:
        message = "The values of an ACME application's DN make {0} characters; at most {1} are allowed."
        faults = faults + [
            fault(LENGTH, column["item"], value, message.format(length, limit), "Use a shorter name for the server.")
        ]
    return faults


def profile(value, column, row):
    """Column 2: 3 or 11."""
    if value in row.rules["profiles"]:
        return []
    allowed = ", ".join(row.rules["profiles"])
    message = "The profile is '{0}'; the service knows {1}.".format(shorten(value), allowed)
    return [fault("profile", column["item"], value, message, column["missing"])]


def account(value, column, row):
    """Column 3: half-width, no space."""
    if re.fullmatch(row.rules["account"], value):
        return []
    message = "The account ID '{0}' has a space or a character that is not half-width.".format(shorten(value))
    return [fault("account_id", column["item"], value, message, column["missing"])]


def decimal_serial(text, rules):
    """(decimal text, '' or what is wrong) of a serial: decimal, 0x hexadecimal, or openssl's AB:CD form."""
    text = text.strip()
    if len(text) > LONGEST_NUMBER:
        return text, "is too long"
    if text.lower().startswith("serial="):  # as openssl x509 -serial prints it: hexadecimal without 0x
        text = "0x" + text[len("serial=") :].strip()
    if ":" in text and re.fullmatch(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{2})+", text):
        text = "0x" + text.replace(":", "")
    if re.fullmatch(rules["serial"]["decimal"], text):
        number = int(text)
    elif re.fullmatch(rules["serial"]["hexadecimal"], text):
        number = int(text, 16)
    else:
        return text, "is no number"
    return str(number), "" if number > 0 else "is zero"


def is_hexadecimal(text, rules):
    """True for 0x1F: readable, but not what is written."""
    return bool(re.fullmatch(rules["serial"]["hexadecimal"], text))


def serial(value, column, row):
    """Column 4: decimal (0x hexadecimal can be read)."""
    table = row.rules["serial"]
    if re.fullmatch(table["decimal"], value) and value.strip("0"):
        return []
    if re.fullmatch(table["decimal"], value) or re.fullmatch(table["hexadecimal"], value):
        if decimal_serial(value, row.rules)[1] == "":
            return []
        message = "The serial '{0}' {1}; no certificate has it.".format(
            shorten(value), decimal_serial(value, row.rules)[1]
        )
        return [fault(DIGITS, column["item"], value, message, column["missing"])]
    decimal, problem = decimal_serial(value, row.rules)
    hexadecimal = "0x" + value.strip()
    if problem and len(value) <= LONGEST_NUMBER and re.fullmatch(table["hexadecimal"], hexadecimal):
        decimal, problem = str(int(hexadecimal, 16)), ""
    fix = column["missing"] if problem else "Write it in decimal: {0}.".format(decimal)
    message = "The serial '{0}' is not a decimal number in half-width digits.".format(shorten(value))
    return [fault(DIGITS, column["item"], value, message, fix)]


def reason(value, column, row):
    """Column 5: one of the codes; 1 only when it is meant."""
    reasons = row.rules["reasons"]
    if not re.fullmatch("[0-9]+", value):
        message = "The reason '{0}' is not a half-width digit.".format(shorten(value))
        return [fault(DIGITS, column["item"], value, message, column["missing"])]
    if len(value) > LONGEST_NUMBER or int(value) not in reasons:
        allowed = ", ".join("{0} {1}".format(*pair) for pair in sorted(reasons.items()))
        message = "The reason is {0}; the service knows {1}.".format(shorten(value), allowed)
        return [fault("reason", column["item"], value, message, column["missing"])]
    if int(value) == row.rules["reason_to_confirm"] and not row.confirmed:
        message = "Reason 1 (keyCompromise) says that the private key has leaked."
        fix = "If it has, set confirm_key_compromise: true; else choose 4 (superseded) or 5 (cessationOfOperation)."
        return [fault("key_compromise", column["item"], value, message, fix)]
    return []


def _characters_fault(value, column, code):
    found = _characters.refused(value)
    if not found:
        return []
    message = "'{0}' has {1}, which Shift_JIS (JIS X 0208) does not hold.".format(
        shorten(value), _characters.describe(found)
    )
    return [fault(code, column["item"], value, message, _characters.remedy(found))]


def text(value, column, row):
    """Columns 8, 9, 12: half-width and full-width text."""
    return _quotes_fault(value, column) + _characters_fault(value, column, "bad_character")


def _quotes_fault(value, column):
    if len(value) < 2 or not value[0] == value[-1] == '"':
        return []
    message = "{0} stands in quotes; columns are not quoted.".format(shorten(value))
    return [fault("quoted", column["item"], value, message, "Leave the quotes out.")]


def comment(value, column, row):
    """Column 6; the CA has a number for its characters."""
    return _quotes_fault(value, column) + _characters_fault(value, column, COMMENT_CHARACTER)


def csr(value, column, row):
    """Column 7, and against columns 1 and 2."""
    try:
        facts = row.read_csr()
    except UpkiError as error:
        return [fault(error.code, column["item"], value, error.message, error.fix or _csr.AGAIN)]
    return _csr.check(facts, row.subject, row.columns["profile"], row.rules)


@functools.lru_cache(maxsize=1024)
def _is_mail(value, local_pattern, domain_pattern):
    local, at, domain = value.rpartition("@")
    good_local = re.fullmatch(local_pattern, local) and not re.search(r"^\.|\.\.|\.$", local)
    good_domain = re.fullmatch(domain_pattern, domain) and not re.search(r"^[.-]|\.\.|[.-]$", domain)
    return bool(at and good_local and good_domain and "." in domain)


def mail(value, column, row):
    """Column 10: half-width, one @, few symbols."""
    table = row.rules["mail"]
    if _is_mail(value, table["local"], table["domain"]):
        return []
    message = "'{0}' is not an address of half-width letters, digits and - _ . with one @.".format(shorten(value))
    return [fault(FORM, column["item"], value, message, _mail_remedy(value, table))]


def _mail_remedy(value, table):
    if any(ord(one) > 127 for one in value):
        return "Write it in half-width characters."
    if "+" in value or "%" in value:
        return "Give an address without + and %; whether the service takes them is not known."
    return "Correct the address; the download URL is sent to it."


def fqdn(value, column, row):
    """Column 11: the CN."""
    if value == row.common_name():
        return []  # checked as CN
    faults = _names.check_form(value, column["item"], row.rules)
    if row.common_name():
        message = "The FQDN is '{0}', but the CN is '{1}'.".format(shorten(value), row.common_name())
        faults.append(fault("fqdn_differs", column["item"], value, message, "Write the same name in both."))
    return faults


def dns_names(value, column, row):
    """Column 13: form, number, length, each name."""
    names, faults = _names.read_column(value, row.rules)
    fqdn_or_cn = row.columns["fqdn"] or row.common_name()
    return faults + _names.check_dns_names(fqdn_or_cn, names, row.rules)


FORMS = {
    "subject": subject,
    "profile": profile,
    "account": account,
    "serial": serial,
    "reason": reason,
    "comment": comment,
    "csr": csr,
    "text": text,
    "mail": mail,
    "fqdn": fqdn,
    "dns_names": dns_names,
}
OWN_LENGTH = ("dns_names",)  # counted with the FQDN by its own form

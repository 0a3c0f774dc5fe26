# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject DN (主体者DN): its rules, its text form in column 1 of the TSV, its order in a CSR."""

import re

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import (
    FORM,
    LENGTH,
    OU_NOT_ALLOWED,
    REQUIRED_ITEM,
    fault,
)
from ansible_collections.campus.upki.plugins.module_utils._rules import RULES, item

# What a person calls the parts. example: shown in the remedy.
PARTS = (
    {"key": "organization", "field": "O", "name": "主体者DN O (organization)", "example": "Example University"},
    {"key": "state", "field": "ST", "name": "主体者DN ST (state)", "example": "Tokyo"},
    {"key": "locality", "field": "L", "name": "主体者DN L (locality)", "example": "Chiyoda-ku"},
)
UNIT = "主体者DN OU (organizational unit)"
EMAIL = "主体者DN Email"
COUNTRY = "主体者DN C (country)"

# One attribute of a DN in text: at the start or after a comma. O may hold commas and '=', so only these names count.
ATTRIBUTE = re.compile(r"(?:^|,)\s*(CN|OU|O|L|ST|S|C|E|EMAIL|EMAILADDRESS)\s*=\s*", re.IGNORECASE)
LIKE_ATTRIBUTE = re.compile(r",\s*(CN|OU|O|L|ST|C)\s*=", re.IGNORECASE)
ORDERED = re.compile(
    r"\s*CN\s*=\s*(?P<CN>[^,]*?)\s*,\s*O\s*=\s*(?P<O>.*?)\s*,\s*L\s*=\s*(?P<L>[^,=]*?)\s*,"
    r"\s*ST\s*=\s*(?P<ST>[^,=]*?)\s*,\s*C\s*=\s*(?P<C>[^,=]*?)\s*",
    re.IGNORECASE,
)
EMAIL_FIELDS = ("E", "EMAIL", "EMAILADDRESS")


def check(subject, rules=RULES, needed=("organization", "state", "locality")):
    """Faults of the institution's part of the DN (dict organization, state, locality)."""
    faults = _refused_parts(subject, rules)
    for part in PARTS:
        value = subject.get(part["key"]) or ""
        if value:
            faults += _check_part(part, value, rules)
        elif part["key"] in needed:
            faults.append(
                fault(
                    REQUIRED_ITEM,
                    part["name"],
                    "",
                    "'{0}' is missing from the subject; it is fixed for each institution.".format(part["key"]),
                    "Write it exactly as the institution registered it, case included (such as {0}={1}).".format(
                        part["field"], part["example"]
                    ),
                )
            )
    return faults


def _refused_parts(subject, rules):
    faults = []
    unit = subject.get("organizational_unit")
    if unit:
        faults.append(unit_fault(unit))
    if subject.get("email"):
        faults.append(email_fault(subject["email"]))
    country = subject.get("country")
    if country and country != rules["subject"]["country"]:
        faults.append(_country_fault(country, rules))
    return faults


def unit_fault(value):
    """OU was abolished on 2022-07-26."""
    return fault(
        OU_NOT_ALLOWED,
        UNIT,
        value,
        "An OU ('{0}') is not allowed in the subject since 2022-07-26.".format(value),
        "Leave the OU out; a certificate that had one is applied for as a new issue (新規発行).",
    )


def email_fault(value):
    """An e-mail address never belongs in the DN."""
    return fault(
        FORM,
        EMAIL,
        value,
        "An e-mail address ('{0}') is not allowed in the subject.".format(value),
        "Leave it out of the subject; the manager's address has a column of its own.",
    )


def _country_fault(country, rules):
    return fault(
        FORM,
        COUNTRY,
        country,
        "C is '{0}'; it must be {1}.".format(country, rules["subject"]["country"]),
        "Write C={0}.".format(rules["subject"]["country"]),
    )


def _check_part(part, value, rules):
    table = rules["subject"]
    faults = []
    if part["field"] == "O" and len(value) > table["organization_max"]:
        faults.append(
            fault(
                LENGTH,
                part["name"],
                value,
                "O has {0} characters; at most {1} are allowed.".format(len(value), table["organization_max"]),
                "Use the registered English name of the institution.",
            )
        )
    pattern = table["organization"] if part["field"] == "O" else table["place"]
    if not re.fullmatch(pattern, value) or value != value.strip():
        bad = "".join(sorted({one for one in value if not re.fullmatch(pattern, one)})) or "a space at the edge"
        faults.append(
            fault(
                FORM,
                part["name"],
                value,
                "{0} is '{1}'; {2} is not allowed in it.".format(part["field"], value, _quoted(bad)),
                "Use half-width letters, digits, space and {0} only, as registered.".format(
                    "'(),-./:=" if part["field"] == "O" else "'()-./:"
                ),
            )
        )
    if part["field"] == "O" and LIKE_ATTRIBUTE.search(value):
        faults.append(
            fault(
                FORM,
                part["name"],
                value,
                "O is '{0}'; it reads like further attributes of the DN.".format(value),
                "Give organization, locality and state each by itself.",
            )
        )
    return faults


def _quoted(bad):
    return bad if bad.startswith("a space") else "'{0}'".format(bad)


def distinguished_name(subject, cn, rules=RULES):
    """Column 1: CN=…,O=…,L=…,ST=…,C=JP. Parts without a value (allowed in some ACME kinds) are left out."""
    values = _values(subject, cn, rules)
    return ",".join("{0}={1}".format(field, values[field]) for field in rules["subject"]["order"] if values[field])


def request_fields(subject, cn, rules=RULES):
    """[("C", "JP"), ("ST", …), ("L", …), ("O", …), ("CN", …)]: the order of a CSR."""
    values = _values(subject, cn, rules)
    return [(field, values[field]) for field in rules["subject"]["csr_order"]]


def _values(subject, cn, rules):
    return {
        "CN": cn or "",
        "O": subject.get("organization") or "",
        "L": subject.get("locality") or "",
        "ST": subject.get("state") or "",
        "C": rules["subject"]["country"],
    }


def parse_distinguished_name(text, rules=RULES):
    """common_name, organization, locality, state, country of a DN in the order of column 1.

    UpkiError `subject_form` (or `subject_unit`) when it is none. O may hold commas and '='.
    """
    fields, faults = read(text, "", rules)
    if faults:
        code = "subject_unit" if any(row["code"] == OU_NOT_ALLOWED for row in faults) else "subject_form"
        first = faults[0]
        raise UpkiError(code, first["message"], first["fix"], faults=faults)
    return fields


def read(text, kind="", rules=RULES):
    """(dict of the parts, faults) of column 1; as much as can be read of a DN with faults."""
    table = rules["subject"]
    match = ORDERED.fullmatch(text)
    if match and not _hidden_attribute(match.group("O")):
        return _named(match.groupdict(), rules), _spelling(text, match.groupdict(), kind, rules)
    pairs = _split(text)
    fields = _named(dict(reversed([pair for pair in pairs if pair[0] in table["order"]])), rules)
    return fields, _shape(text, pairs, kind, rules)


def _hidden_attribute(organization):
    return re.search(r",\s*(OU|E|EMAIL|EMAILADDRESS)\s*=", organization, re.IGNORECASE)


def _named(values, rules):
    return {
        "common_name": values.get("CN") or "",
        "organization": values.get("O") or "",
        "locality": values.get("L") or "",
        "state": values.get("ST") or "",
        "country": values.get("C") or "",
    }


def _split(text):
    """[(attribute in upper case, value)] at every comma that is followed by the name of an attribute."""
    marks = list(ATTRIBUTE.finditer(text))
    pairs = []
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        field = mark.group(1).upper()
        pairs.append(("ST" if field == "S" else field, text[mark.end() : end].strip()))
    return pairs


def _spelling(text, values, kind, rules):
    """Faults of a DN that has all five parts in the right order."""
    table = rules["subject"]
    faults = []
    if values["C"] != table["country"]:
        faults.append(_country_fault(values["C"], rules))
    if kind in table["strict"] and text != ",".join("{0}={1}".format(key, values[key]) for key in table["order"]):
        faults.append(
            _form(
                text,
                "The DN of an ACME application has attribute names in lower case or spaces around '=' or ','.",
                "Write CN=…,O=…,L=…,ST=…,C=JP without spaces between the parts.",
            )
        )
    return faults


def _shape(text, pairs, kind, rules):
    """Faults of a DN that lacks a part, has one too many or another order."""
    table = rules["subject"]
    names = [field for field, value in pairs]
    values = dict(pairs)
    faults = []
    if "OU" in names and kind not in table["old_unit_tolerated"]:
        faults.append(unit_fault(values["OU"]))
    for field in EMAIL_FIELDS:
        if field in names:
            faults.append(email_fault(values[field]))
    known = [field for field in names if field in table["order"]]
    missing = [field for field in table["order"] if field not in known]
    if kind in table["one_place_enough"] and missing in (["L"], ["ST"]):
        missing = []
    if missing:
        faults.append(
            _form(
                text,
                "The DN '{0}' lacks {1}.".format(text, ", ".join(missing)),
                "Write CN=…,O=…,L=…,ST=…,C=JP with all the parts.",
            )
        )
    elif known != [field for field in table["order"] if field in known] or not text.strip().upper().startswith("CN"):
        faults.append(
            _form(
                text,
                "The DN has the order {0}; it must be {1}.".format(", ".join(known), ", ".join(table["order"])),
                "Write CN=…,O=…,L=…,ST=…,C=JP in this order, each part once.",
            )
        )
    if values.get("C", table["country"]) != table["country"]:
        faults.append(_country_fault(values["C"], rules))
    return faults


def _form(text, message, fix):
    return fault(FORM, item("subject"), text, message, fix)

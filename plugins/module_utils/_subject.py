# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject DN (主体者DN): its rules, its text form in column 1 of the TSV, its order in a CSR."""

import collections
import functools
import re

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import (
    FORM,
    LENGTH,
    OU_NOT_ALLOWED,
    REQUIRED_ITEM,
    fault,
    shorten,
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
ATTRIBUTE = re.compile(r"(?:^|,)\s*(CN|OU|O|L|ST|S|C|EMAILADDRESS|EMAIL|E)\s*=\s*", re.IGNORECASE)
LIKE_ATTRIBUTE = re.compile(r",\s*(CN|OU|O|L|ST|C)\s*=", re.IGNORECASE)
UNIT_OR_EMAIL = re.compile(r",\s*(OU|EMAILADDRESS|EMAIL|E)\s*=", re.IGNORECASE)
# The whole DN in its right order. No two neighbours match the same characters: thousands of spaces must not take years.
ORDERED = re.compile(
    r"\s*(CN)\s*=([^,]+),\s*(O)\s*=(.+?),\s*(L)\s*=([^,=]+),\s*(ST)\s*=([^,=]+),\s*(C)\s*=([^,=]+)",
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
        "An OU ('{0}') is not allowed in the subject since 2022-07-26.".format(shorten(value)),
        "Leave the OU out; a certificate that had one is applied for as a new issue (新規発行).",
    )


def email_fault(value):
    """An e-mail address never belongs in the DN."""
    return fault(
        FORM,
        EMAIL,
        value,
        "An e-mail address ('{0}') is not allowed in the subject.".format(shorten(value)),
        "Leave it out of the subject; the manager's address has a column of its own.",
    )


def _country_fault(country, rules):
    return fault(
        FORM,
        COUNTRY,
        country,
        "C is '{0}'; it must be {1}.".format(shorten(country), rules["subject"]["country"]),
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
    if not _allowed(pattern, value):
        bad = [one for one in value if not re.fullmatch(pattern, one)]
        bad = "".join(collections.OrderedDict.fromkeys(bad)) or "a space at the edge"
        faults.append(
            fault(
                FORM,
                part["name"],
                value,
                "{0} is '{1}'; {2} is not allowed in it.".format(part["field"], shorten(value), _quoted(bad)),
                "Use half-width letters, digits, space and {0} only, as registered.".format(
                    "'(),-./:=" if part["field"] == "O" else "'()-./:"
                ),
            )
        )
    if part["field"] == "O" and "," in value and LIKE_ATTRIBUTE.search(value):
        faults.append(
            fault(
                FORM,
                part["name"],
                value,
                "O is '{0}'; it reads like further attributes of the DN.".format(shorten(value)),
                "Give organization, locality and state each by itself.",
            )
        )
    return faults


@functools.lru_cache(maxsize=1024)
def _allowed(pattern, value):
    return bool(re.fullmatch(pattern, value)) and value == value.strip()


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
    faults = faults + check(fields, rules, needed=())
    if faults:
        code = "subject_unit" if any(row["code"] == OU_NOT_ALLOWED for row in faults) else "subject_form"
        raise UpkiError(code, faults[0]["message"], faults[0]["fix"], faults=faults)
    return fields


def read(text, kind="", rules=RULES):
    """(dict of the parts, faults of their shape) of column 1; as much as can be read of a DN with faults.

    The parts themselves are for `check`.
    """
    pairs = _pairs(text)
    values = dict(reversed([(name.upper(), value) for name, value in pairs]))
    fields = {
        "common_name": values.get("CN", ""),
        "organization": values.get("O", ""),
        "locality": values.get("L", ""),
        "state": values.get("ST", ""),
        "country": values.get("C", ""),
    }
    faults = _surplus(values, kind, rules) + _order(text, pairs, kind, rules)
    return fields, faults or _strict(text, pairs, kind, rules)


def _pairs(text):
    """[(attribute as written, value)], split at the commas that are followed by the name of an attribute."""
    match = ORDERED.fullmatch(text)
    groups = [group.strip() for group in match.groups()] if match else []
    if all(groups) and groups and not UNIT_OR_EMAIL.search(match.group(4)):
        return list(zip(groups[0::2], groups[1::2]))
    marks = list(ATTRIBUTE.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [(mark.group(1), text[mark.end() : end].strip()) for mark, end in zip(marks, ends)]


def _surplus(values, kind, rules):
    faults = []
    if "OU" in values and kind not in rules["subject"]["old_unit_tolerated"]:
        faults.append(unit_fault(values["OU"]))
    return faults + [email_fault(values[field]) for field in EMAIL_FIELDS if field in values]


def _order(text, pairs, kind, rules):
    order = rules["subject"]["order"]
    found = [name.upper() for name, value in pairs if value and name.upper() in order]
    missing = [field for field in order if field not in found]
    if kind in rules["subject"]["one_place_enough"] and missing in (["L"], ["ST"]):
        missing = []
    if missing:
        message = "The DN '{0}' lacks {1}.".format(shorten(text), ", ".join(missing))
        return [_form(text, message, "Write CN=…,O=…,L=…,ST=…,C=JP with all the parts.")]
    if found != [field for field in order if field in found] or not text.strip().upper().startswith("CN"):
        message = "The DN has the order {0}; it must be {1}.".format(", ".join(found), ", ".join(order))
        return [_form(text, message, "Write CN=…,O=…,L=…,ST=…,C=JP in this order, each part once.")]
    return []


def _strict(text, pairs, kind, rules):
    """ACME applications: upper-case names, no space around '=' or after ','."""
    if kind not in rules["subject"]["strict"]:
        return []
    exact = ",".join("{0}={1}".format(name.upper(), value) for name, value in pairs)
    if text == exact:
        return []
    message = "The DN of an ACME application has an attribute name in lower case or a space around '=' or ','."
    return [_form(text, message, "Write {0}".format(exact))]


def _form(text, message, fix):
    return fault(FORM, item("subject"), text, message, fix)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server names: the FQDN (= CN) and the dNSNames."""

import re

from ansible_collections.campus.upki.plugins.module_utils import _phishing
from ansible_collections.campus.upki.plugins.module_utils._faults import LENGTH, REQUIRED_ITEM, fault, shorten
from ansible_collections.campus.upki.plugins.module_utils._rules import RULES, column, item

PHISHING = (
    "'{0}' {1}. The CA may delay or refuse a name that looks like phishing. Tell the IT centre what the server is for, "
    "or choose another name."
)
NAME_FORM = "name_form"  # the CA's number for the form of a name outside the DN is not known
ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def check_fqdn(name, item, rules=RULES, code=NAME_FORM):
    """Faults of one server name; `item` is what the person calls the field."""
    name = name or ""
    if not name:
        message = "The server's name is empty."
        return [fault(REQUIRED_ITEM, item, "", message, "Write the FQDN, such as www.example.ac.jp.")]
    limit = rules["names"]["fqdn_max"]
    faults = check_form(name, item, rules, code)
    if len(name) > limit:
        message = "'{0}' has {1} characters; at most {2} are allowed.".format(shorten(name), len(name), limit)
        faults.insert(0, fault(LENGTH, item, name, message, "Use a shorter name."))
    return faults


def check_form(name, item, rules=RULES, code=NAME_FORM):
    """Faults of a name's form alone; at most one, since one name has one cause."""
    problem = _form_problem(name, rules["names"])
    if problem is None:
        return []
    message, fix = problem
    return [fault(code, item, name, "'{0}' {1}.".format(shorten(name), message), fix)]


def _form_problem(name, table):
    """(what is wrong, remedy) or None."""
    if (":" in name or name[-1:].isdigit()) and ADDRESS.fullmatch(name):
        return "is an IP address", "Use the server's FQDN; certificates for addresses are not issued."
    if not re.fullmatch(table["characters"], name):
        return _character_problem(name, table)
    if name[0] in table["edge"] or name[-1] in table["edge"]:
        return "begins or ends with '.' or '-'", "Leave the dot or hyphen at the edge out."
    return _label_problem(name, table)


def _character_problem(name, table):
    if "*" in name:
        return "is a wildcard", "List each name; wildcards are not issued."
    if "_" in name:
        return "has an underscore", "Use a name of letters, digits, '.' and '-' only."
    if re.fullmatch(table["characters"], name.lower()):
        return "has upper-case letters; only lower case is accepted since 2024-08-20", "Write '{0}'.".format(
            name.lower()
        )
    bad = sorted({one for one in name if not re.fullmatch(table["characters"], one.lower())})
    if any(ord(one) > 127 for one in bad):
        return "has characters outside a-z, 0-9, '.' and '-'", "Write international names in punycode (xn--…)."
    return "has {0}".format(", ".join(map(repr, bad))), "Use a-z, 0-9, '.' and '-' only."


def _label_problem(name, table):
    labels = name.split(".")
    if len(labels) < 2:
        return "has no domain", "Write the full name, such as '{0}.example.ac.jp'.".format(name)
    for label in labels:
        if not label:
            return "has two dots in a row", "Leave one dot out."
        if len(label) > table["label_max"]:
            return "has a label of {0} characters; DNS allows {1}".format(len(label), table["label_max"]), "Shorten it."
        if label[0] == "-" or label[-1] == "-":
            return "has a label that begins or ends with '-'", "Rename '{0}'.".format(label)
    if labels[-1].isdigit():
        return "ends with a number", "Use the server's FQDN; certificates for addresses are not issued."
    return None


def check_dns_names(fqdn, names, rules=RULES):
    """Faults of the list for column 13. The FQDN counts toward number and length, since the CA adds it."""
    names = list(names or [])
    what = item("dns_names", rules)
    faults = []
    for name in dict.fromkeys(names):
        if name != fqdn:
            faults += check_fqdn(name, what, rules)
        if names.count(name) > 1:
            message = "'{0}' stands in the list twice.".format(shorten(name))
            faults.append(fault("name_twice", what, name, message, "Leave one of them out."))
    with_fqdn = names if not names or not fqdn or fqdn in names else [fqdn] + names
    return faults + _too_many(with_fqdn, what, rules)


def _too_many(names, what, rules):
    faults = []
    most, longest = rules["names"]["dns_names"], column("dns_names", rules)["max"]
    fix = "Apply for a second certificate for some of the names."
    if len(names) > most:
        message = "There are {0} names with the FQDN; at most {1} are allowed.".format(len(names), most)
        faults.append(fault("too_many_names", what, len(names), message, fix))
    text = column_text(names, rules)
    if len(text) > longest:
        message = "The names make {0} characters with the FQDN; at most {1} are allowed.".format(len(text), longest)
        faults.append(fault(LENGTH, what, text, message, fix))
    return faults


def column_text(names, rules=RULES):
    """dNSName=a.example.ac.jp,dNSName=b.example.ac.jp"""
    table = rules["names"]
    return table["separator"].join(table["prefix"] + name for name in names)


def read_column(text, rules=RULES):
    """(names, faults) of column 13."""
    table = rules["names"]
    if not text:
        return [], []
    names, wrong = [], []
    for piece in text.split(table["separator"]):
        if piece.startswith(table["prefix"]):
            names.append(piece[len(table["prefix"]) :])
        else:
            wrong.append(piece)
            bare = re.sub(r"(?i)^\s*dnsname\s*=", "", piece).strip()
            if bare:
                names.append(bare)
    if not wrong:
        return names, []
    problem = "ends with a comma" if wrong == [""] and text.endswith(",") else "has '{0}'".format("', '".join(wrong))
    return names, [
        fault(
            "dns_names_form",
            item("dns_names", rules),
            text,
            "The list of names {0}; each must read {1}name, with commas between and none at the end.".format(
                shorten(problem), table["prefix"]
            ),
            "Write '{0}'.".format(column_text(names, rules) or table["prefix"] + "www.example.ac.jp"),
        )
    ]


def phishing_like(names):
    """Warnings about names that the CA may delay or refuse because they look like a well-known service.

    The message stands alone, so that request and tsv say it in the same words and Ansible shows it once.
    """
    return [
        {
            "code": "phishing_like",
            "name": name,
            "resembles": resembles,
            "message": PHISHING.format(name, sentence),
        }
        for name in dict.fromkeys(name for name in names if name)
        for resembles, sentence in _phishing.resembling(name)
    ]

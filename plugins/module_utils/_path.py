# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that every step of a certification path must keep, beyond signatures and dates.

Source: RFC 5280, sections 4.2 and 6.1. A path is a list of certificates, the server's first, the trusted root last.
"""

import ipaddress

from ansible_collections.campus.upki.plugins.module_utils import _x509

MAX_COMPARISONS = 100000  # names times constraints; beyond it a certificate is an attack, not a certificate


def faults(path):
    """One sentence for each rule that the path breaks."""
    found = []
    for index, certificate in enumerate(path):
        label = "'{0}'".format(_x509.name_value(certificate.subject, "CN") or _x509.name_text(certificate.subject))
        rules = BOTH + (ISSUER if index else SERVER)
        found += ["{0} {1}".format(label, text) for holds, text in rules if not holds(certificate)]
        if index and not _length_holds(path, index):
            found.append("{0} allows fewer CA certificates below it".format(label))
        if index:
            found += ["{0} {1}".format(label, text) for text in _constraint_faults(path, index)]
    return found


def _understood(certificate):
    return not _x509.unknown_critical(certificate)


def _signs(certificate):
    return _x509.may_sign_certificates(certificate) is not False


def _no_constraints(certificate):
    return _x509.name_constraints(certificate) is None


def _keeps_to_its_usage(certificate):
    return not _x509.may_sign_certificates(certificate) or _x509.is_ca(certificate)


def _named_curve(certificate):
    return not _x509.has_explicit_curve(certificate)


BOTH = (
    (_x509.is_version_3, "is no X.509 version 3 certificate"),
    (_understood, "has a critical extension that is unknown"),
    (_named_curve, "spells out its elliptic curve instead of naming it"),
)
ISSUER = (
    (_x509.is_ca, "signs certificates but is no CA certificate"),
    (_signs, "signs certificates but its key usage lacks keyCertSign"),
)
SERVER = (
    (_no_constraints, "has name constraints although it is no CA's"),
    (_keeps_to_its_usage, "has the key usage keyCertSign although it is no CA's"),
)


def _self_issued(certificate):
    return certificate.subject == certificate.issuer


def _length_holds(path, index):
    limit = _x509.path_length(path[index])
    below = [one for one in path[1:index] if not _self_issued(one)]
    return limit is None or len(below) <= limit


# --- name constraints --------------------------------------------------------------------------------------


def _constraint_faults(path, index):
    """What the name constraints of one CA certificate forbid below it."""
    constraints = _x509.name_constraints(path[index])
    if constraints is None:
        return []
    permitted, excluded = constraints
    if not permitted + excluded or not all(_well_formed(*row) for row in permitted + excluded):
        return ["has name constraints that are malformed"]
    names = _names_below(path, index)
    if len(names) * (len(permitted) + len(excluded)) > MAX_COMPARISONS:
        return ["has too many name constraints to be checked"]
    bad = [(kind, name) for kind, name in names if _forbidden(kind, name, permitted, excluded)]
    return ["forbids the name '{0}' below it".format(_shown(name)) for _kind, name in bad[:3]]


def _names_below(path, index):
    """All names that the constraints bind: of the server, and of CAs unless they only renew themselves."""
    names = []
    for place, certificate in enumerate(path[:index]):
        if place and _self_issued(certificate):
            continue
        names += _x509.alternative_names(certificate)
        fields = tuple(_x509.name_fields(certificate.subject))
        if fields:
            names.append(("directory", fields))
    return names


def _shown(name):
    return ", ".join("=".join(field) for field in name) if isinstance(name, tuple) else str(name)


def _forbidden(kind, name, permitted, excluded):
    out = [row for of_kind, row in excluded if of_kind == kind]
    if any(MATCHES[kind](name, row, True) for row in out):
        return True
    allowed = [row for of_kind, row in permitted if of_kind == kind]
    return bool(allowed) and not any(MATCHES[kind](name, row, False) for row in allowed)


def _dns(name, constraint, for_exclusion):
    """A wildcard counts as excluded when any name that it stands for is."""
    name, constraint = name.lower().rstrip("."), constraint.lower()
    if not constraint or name == constraint or name.endswith("." + constraint):
        return True
    return for_exclusion and name.startswith("*.") and constraint.partition(".")[2] == name[2:]


def _email(name, constraint, _for_exclusion):
    """An address, all of a host (`host`), or all below a domain (`.domain`)."""
    host = name.lower().rpartition("@")[2]
    constraint = constraint.lower()
    if "@" in constraint:
        return name.rpartition("@")[0] == constraint.rpartition("@")[0] and host == constraint.rpartition("@")[2]
    return host.endswith(constraint) if constraint.startswith(".") else host == constraint


def _uri(name, constraint, _for_exclusion):
    host = name.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0].lower()
    return host.endswith(constraint.lower()) if constraint.startswith(".") else host == constraint.lower()


def _ip(name, constraint, _for_exclusion):
    return name.version == constraint.version and name in constraint


def _directory(name, constraint, _for_exclusion):
    folded = [(key, " ".join(value.split()).lower()) for key, value in name]
    return folded[: len(constraint)] == [(key, " ".join(value.split()).lower()) for key, value in constraint]


def _unknown(_name, _constraint, for_exclusion):
    """A kind of name that nobody here can compare is held to be excluded, and not permitted."""
    return for_exclusion


MATCHES = {"dns": _dns, "email": _email, "uri": _uri, "ip": _ip, "directory": _directory, "other": _unknown}


def _well_formed(kind, value):
    if kind == "ip":
        return isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network))
    if kind == "dns":
        return not value.startswith(".") and "*" not in value and not value.startswith("\0")
    return True

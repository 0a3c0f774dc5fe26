# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that every step of a certification path must keep, beyond signatures and dates.

Sources: RFC 5280, sections 4.2 and 6.1; what OpenSSL refuses with its usual settings (`faults`); what some widespread
clients refuse besides (`strict_faults`). A path is a list of certificates, the server's first, the trusted root last.
"""

import datetime
import functools
import ipaddress

from ansible_collections.campus.upki.plugins.module_utils import _x509

# Extensions that OpenSSL obeys when they are critical: keyUsage, subjectAltName, basicConstraints, nameConstraints,
# cRLDistributionPoints, certificatePolicies, policyMappings, policyConstraints, extKeyUsage, inhibitAnyPolicy, those of
# RFC 3779, proxyCertInfo, Netscape's certificate type. Any other critical one makes it refuse.
OBEYED = {"2.5.29." + number for number in ("15", "17", "19", "30", "31", "32", "33", "36", "37", "54")}
OBEYED |= {"1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8", "1.3.6.1.5.5.7.1.14", "2.16.840.1.113730.1.1"}
AUTHORITY_KEY, SUBJECT_KEY, KEY_USAGE = "2.5.29.35", "2.5.29.14", "2.5.29.15"
BASIC_CONSTRAINTS, SUBJECT_ALTERNATIVE_NAME = "2.5.29.19", "2.5.29.17"
APPLE_SINCE = datetime.datetime(2019, 7, 1, tzinfo=datetime.timezone.utc)
MAX_COMPARISONS = 100000  # names times constraints; beyond it a certificate is an attack, not a certificate


def faults(path):
    """One sentence for each rule that the path breaks."""
    found = []
    for index, certificate in enumerate(path):
        label = _label(certificate)
        found += _broken(certificate, BOTH + (ISSUER if index else SERVER))
        if index and not _length_holds(path, index):
            found.append("{0} allows fewer CA certificates below it".format(label))
        if index:
            found += ["{0} {1}".format(label, text) for text in _constraint_faults(path, index)]
    return found


def _label(certificate):
    return "'{0}'".format(_x509.name_value(certificate.subject, "CN") or _x509.name_text(certificate.subject))


@functools.lru_cache(maxsize=1000)
def _broken(certificate, rules):
    """What one certificate breaks of the rules about itself; a fleet shares its intermediates and roots."""
    return tuple("{0} {1}".format(_label(certificate), text) for holds, text in rules if not holds(certificate))


def _understood(certificate):
    return not _x509.unknown_critical(certificate) and OBEYED.issuperset(_x509.critical_extensions(certificate))


def _signs(certificate):
    return _x509.may_sign_certificates(certificate) is not False


def _no_constraints(certificate):
    return _x509.name_constraints(certificate) is None


def _keeps_to_its_usage(certificate):
    return not _x509.may_sign_certificates(certificate) or _x509.is_ca(certificate)


def _named_curve(certificate):
    return not _x509.has_explicit_curve(certificate)


def _has_name(certificate):
    return bool(_x509.name_fields(certificate.subject))


def _names_itself(certificate):
    """A root whose authorityKeyIdentifier is another's is none for OpenSSL, which then looks for that other one."""
    found, own = _x509.authority_key_id(certificate), _x509.subject_key_id(certificate)
    serial = _x509.authority_serial(certificate)
    if (not found or not own or found == own) and (serial is None or serial == certificate.serial_number):
        return True
    return not _x509.is_self_signed(certificate)


def _usable_for_tls(certificate):
    return _x509.usable_for_tls(certificate) is not False


BOTH = (
    (_x509.is_version_3, "is no X.509 version 3 certificate"),
    (_understood, "has a critical extension that is unknown or must not be critical"),
    (_names_itself, "is self-signed, but its authorityKeyIdentifier is that of another"),
    (_named_curve, "spells out its elliptic curve instead of naming it"),
)
ISSUER = (
    (_has_name, "signs certificates but has no name of its own"),
    (_x509.is_ca, "signs certificates but is no CA certificate"),
    (_signs, "signs certificates but its key usage lacks keyCertSign"),
)
SERVER = (
    (_no_constraints, "has name constraints although it is no CA's"),
    (_keeps_to_its_usage, "has the key usage keyCertSign although it is no CA's"),
    (_usable_for_tls, "has a key usage that allows no TLS"),
)


# --- what some clients refuse besides ------------------------------------------------------------------------


def strict_faults(path):
    """One sentence for each rule that the path breaks and that only some clients hold it to."""
    found = []
    for index, certificate in enumerate(path):
        rules = () if index and not _x509.is_ca(certificate) else STRICT_ISSUER if index else STRICT_SERVER
        if index + 1 < len(path):
            rules = (STRICT_BELOW,) + rules
        found += _broken(certificate, rules)
    return found


def _has(oid):
    return lambda certificate: oid in _x509.extensions(certificate)


def _is_critical(oid):
    return lambda certificate: oid in _x509.critical_extensions(certificate) or not _has(oid)(certificate)


def _named_or_critical(certificate):
    return _has_name(certificate) or _is_critical(SUBJECT_ALTERNATIVE_NAME)(certificate)


def _names_server_auth(certificate):
    """Another usage altogether is no matter of strictness."""
    if not _x509.allows_server_auth(certificate) or _x509.not_before(certificate) < APPLE_SINCE:
        return True
    return _x509.SERVER_AUTH in (_x509.usages(certificate) or ())


# Sources: OpenSSL, verification flag X509_STRICT, which Python's create_default_context sets since 3.13; Apple,
# requirements for trusted certificates in iOS 13 and macOS 10.15.
PYTHON, APPLE = " (Python 3.13 and later refuse it)", " (Apple's systems refuse it)"
STRICT_BELOW = (_has(AUTHORITY_KEY), "has no authorityKeyIdentifier" + PYTHON)
STRICT_ISSUER = (
    (_has(SUBJECT_KEY), "is a CA's without subjectKeyIdentifier" + PYTHON),
    (_has(KEY_USAGE), "is a CA's without key usage" + PYTHON),
    (_is_critical(BASIC_CONSTRAINTS), "is a CA's whose basicConstraints are not marked critical" + PYTHON),
)
STRICT_SERVER = (
    (_named_or_critical, "has no subject and a subjectAltName that is not marked critical" + PYTHON),
    (_names_server_auth, "does not name serverAuth as its extended key usage" + APPLE),
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
    if not for_exclusion and "" in name.split("."):
        return False  # what is no host name lies in no permitted domain
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

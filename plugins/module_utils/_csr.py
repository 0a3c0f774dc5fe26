# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CSR of column 7 against the other columns: what only a machine checks."""

import base64
import binascii
import hashlib

from ansible_collections.campus.upki.plugins.module_utils import _der, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import FORM, OU_NOT_ALLOWED, fault, shorten
from ansible_collections.campus.upki.plugins.module_utils._keys import KEY_TYPES
from ansible_collections.campus.upki.plugins.module_utils._rules import RULES, item

PEM_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
BEGIN = "-----BEGIN CERTIFICATE REQUEST-----\n"
END = "-----END CERTIFICATE REQUEST-----\n"
AGAIN = "Make a new key and CSR (campus.upki.request)."


def column_text(csr):
    """Column 7 of a PEM text (or of a base64 body): base64 on one line. UpkiError `csr_broken`."""
    csr = csr or ""
    if "-----" not in csr:
        return "".join(csr.split())
    if csr.startswith(BEGIN) and csr.endswith(END) and csr.count("-----") == 4:  # as openssl and we write it
        return csr[len(BEGIN) : -len(END)].replace("\n", "")
    bodies = [der for label, der in _x509.pem_blocks(csr) if label in PEM_LABELS]
    if len(bodies) != 1:
        raise UpkiError(
            "csr_broken",
            "The text holds {0} PEM blocks of a CSR; exactly one is needed.".format(len(bodies)),
            "Give the PEM text from BEGIN CERTIFICATE REQUEST to END CERTIFICATE REQUEST.",
        )
    return base64.b64encode(bodies[0]).decode("ascii")


def pem_text(column):
    """PEM text of column 7."""
    lines = [column[start : start + 64] + "\n" for start in range(0, len(column), 64)]
    return BEGIN + "".join(lines) + END


def read(column):
    """Facts of a CSR in base64: fields, key_type, spki_sha256, hash, signature_holds, extensions. UpkiError."""
    try:
        der = base64.b64decode(column.encode("ascii"), validate=True)
    except (binascii.Error, ValueError, UnicodeEncodeError):
        raise UpkiError(
            "csr_form",
            "The CSR's body is not valid base64.",
            "Take it again from where it came from; in a TSV file it stands on one line, without BEGIN and END.",
        )
    request = _x509.request_unread(der)
    names, key_info, attributes, algorithm = _der.request_parts(der)
    key_type = _der.key_type(key_info)
    spki_sha256 = hashlib.sha256(key_info).hexdigest()
    try:
        if key_type is None:
            public_key = request.public_key()
            key_type, spki_sha256 = _x509.key_type(public_key), _x509.spki_sha256(public_key)
        return {
            "fields": _der.fields(names) or _x509.name_fields(request.subject),
            "key_type": key_type,
            "spki_sha256": spki_sha256,
            "hash": _der.HASHES.get(algorithm) or _x509.signature_hash(request),
            "signature_holds": _x509.request_signature_holds(request),
            "extensions": attributes != _der.NO_ATTRIBUTES and _x509.request_has_extensions(request),
        }
    except _x509.BROKEN as error:
        raise UpkiError("csr_broken", "This is not a valid CSR ({0}).".format(error))


def check(facts, subject, profile, rules=RULES):
    """Faults of the CSR itself and against subject (dict of column 1, or None) and profile (text, or '')."""
    what = item("csr", rules)
    faults = []
    if not facts["signature_holds"]:
        faults.append(fault("csr_signature", what, "", "The CSR's signature does not match the key in it.", AGAIN))
    faults += _check_key(facts, profile, rules)
    if facts["extensions"]:
        faults.append(
            fault(
                "csr_extensions",
                what,
                "",
                "The CSR asks for X.509 extensions; further names belong in column 13 (dNSName).",
                "Make the CSR without extensions (no SAN).",
            )
        )
    return faults + _check_fields(facts["fields"], subject, rules)


def _check_key(facts, profile, rules):
    what = item("csr", rules)
    allowed = rules["profiles"]
    key_type = facts["key_type"]
    if key_type not in allowed.values():
        wanted = " or ".join(KEY_TYPES[name]["text"] for name in allowed.values())
        return [
            fault("csr_key", what, key_type, "The CSR's key is {0}; it must be {1}.".format(key_type, wanted), AGAIN)
        ]
    faults = []
    if profile in allowed and allowed[profile] != key_type:
        right = [number for number, name in allowed.items() if name == key_type][0]
        faults.append(
            fault(
                "profile_differs",
                item("profile", rules),
                profile,
                "The profile is {0}, but the CSR's key is {1}.".format(profile, KEY_TYPES[key_type]["text"]),
                "Write {0}.".format(right),
            )
        )
    if facts["hash"] != KEY_TYPES[key_type]["hash"]:
        faults.append(
            fault(
                "csr_hash",
                what,
                facts["hash"],
                "The CSR is signed with {0}; a key of type {1} signs with {2}.".format(
                    facts["hash"] or "no hash", KEY_TYPES[key_type]["text"], KEY_TYPES[key_type]["hash"]
                ),
                AGAIN,
            )
        )
    return faults


def _check_fields(fields, subject, rules):
    order = list(rules["subject"]["csr_order"])
    names = [name for name, value in fields]
    if subject is not None:
        wanted = {
            "C": rules["subject"]["country"],
            "ST": subject.get("state"),
            "L": subject.get("locality"),
            "O": subject.get("organization"),
            "CN": subject.get("common_name"),
        }
    else:
        wanted = {}
    if names in (order, order[::-1]) and all(wanted.get(name) == value for name, value in fields):
        return []
    return _shape_faults(fields, names, order, item("csr", rules)) or _value_faults(fields, wanted, item("csr", rules))


def _shape_faults(fields, names, order, what):
    shown = shorten(", ".join("{0}={1}".format(name, value) for name, value in fields))
    if "OU" in names:
        message = "The CSR's subject has an OU ({0}), which is not allowed since 2022-07-26.".format(shown)
        return [fault(OU_NOT_ALLOWED, what, shown, message, AGAIN)]
    if "emailAddress" in names:
        return [fault(FORM, what, shown, "The CSR's subject has an e-mail address ({0}).".format(shown), AGAIN)]
    if names in (order, order[::-1]):
        return []
    message = "The CSR's subject is {0}; it must be {1} or the exact reverse.".format(shown, ", ".join(order))
    return [fault("csr_order", what, shown, message, AGAIN)]


def _value_faults(fields, wanted, what):
    faults = []
    for name, value in fields:
        if wanted.get(name) and value != wanted[name]:
            message = "The CSR says {0}={1}, the DN says {0}={2}.".format(name, value, wanted[name])
            fix = "Make both the same, case included; a wrong CSR is made anew (campus.upki.request)."
            faults.append(fault("csr_subject", what, "{0}={1}".format(name, value), message, fix))
    return faults

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of campus.upki.request, checked as a whole: every fault of every certificate in one error."""

from ansible_collections.campus.upki.plugins.module_utils import (
    _adopt,
    _atomic,
    _lifecycle,
    _names,
    _subject,
    _tsv_forms,
    _tsv_record,
    _validity,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import DIGITS, REQUIRED_ITEM, fault, shorten
from ansible_collections.campus.upki.plugins.module_utils._keys import KEY_TYPES
from ansible_collections.campus.upki.plugins.module_utils._rules import RULES, item

KEY_MODES = {"0600": 0o600, "0640": 0o640}

# The form's items and the options that fill them; in the roles each option is a variable upki_….
OPTIONS = {item("manager_" + key): "manager." + key for key in ("name", "affiliation", "email")}
OPTIONS.update({part["name"]: "subject." + part["key"] for part in _subject.PARTS})
OPTIONS.update({item("software"): "software", item("dns_names"): "dns_names"})


def record_of(wanted, kind, serial, csr):
    """The record that campus.upki.tsv takes."""
    return {
        "kind": kind,
        "subject": dict(wanted["subject"], common_name=wanted["name"]),
        "serial": serial,
        "reason": None,
        "comment": None,
        "csr": csr,
        "manager_name": wanted["manager"]["name"],
        "manager_affiliation": wanted["manager"]["affiliation"],
        "manager_email": wanted["manager"]["email"],
        "fqdn": wanted["name"],
        "software": wanted["software"],
        "dns_names": list(wanted["dns_names"]),
        "account_id": None,
    }


def _merged(common, own, keys):
    """`own` over `common`, without the unset values of either."""
    rows = [{key: value for key, value in (row or {}).items() if value is not None} for row in (common, own)]
    return {key: rows[1].get(key, rows[0].get(key)) for key in keys}


def _one(certificate, params):
    subject = params.get("subject") or {}
    wanted = {
        "name": certificate.get("name") or "",
        "dns_names": list(certificate.get("dns_names") or []),
        "key_type": certificate.get("key_type") or "rsa2048",
        "software": certificate.get("software"),
        "subject": {key: subject.get(key) for key in ("organization", "state", "locality")},
        "manager": _merged(params.get("manager"), certificate.get("manager"), ("name", "affiliation", "email")),
        "state": certificate.get("state") or "present",
        "kind": certificate.get("kind"),
        "serial": certificate.get("serial"),
        "current_certificate": certificate.get("current_certificate"),
        "current_endpoint": certificate.get("current_endpoint"),
    }
    wanted["flat"] = _lifecycle.flat(
        wanted["name"],
        wanted["subject"],
        wanted["dns_names"],
        wanted["key_type"],
        wanted["software"],
        wanted["manager"],
    )
    return wanted


def _serial_faults(wanted):
    """Check `kind` and `serial`, and write the serial in decimal."""
    name = item("serial")
    if wanted["serial"] is not None:
        decimal, problem = _tsv_forms.decimal_serial(str(wanted["serial"]), RULES)
        if problem:
            return [
                fault(
                    DIGITS,
                    name,
                    wanted["serial"],
                    "The serial '{0}' {1}.".format(wanted["serial"], problem),
                    "Write it in decimal, as 0x and hexadecimal digits, or as openssl prints it with colons.",
                )
            ]
        wanted["serial"] = decimal
    if wanted["kind"] == "server_renew" and not wanted["serial"]:
        return [
            fault(
                REQUIRED_ITEM,
                name,
                "",
                "kind is server_renew, but the serial of the old certificate is not given.",
                "Add serial; the IT centre knows it, and openssl x509 -noout -serial prints it.",
            )
        ]
    if wanted["serial"] and wanted["kind"] != "server_renew":
        return [
            fault(
                "serial_without_renew",
                name,
                wanted["serial"],
                "A serial is given, but kind is not server_renew.",
                "Add kind: server_renew, or leave the serial out so that it is found by itself.",
            )
        ]
    return []


def _faults(wanted):
    found = _names.check_fqdn(wanted["name"], "name " + item("fqdn"))
    if wanted["state"] == "cancelled":
        return found
    found = found + _serial_faults(wanted)
    if wanted["key_type"] not in KEY_TYPES:
        found.append(
            fault(
                "key_type",
                "key_type",
                wanted["key_type"],
                "The key type '{0}' is not accepted by the service.".format(wanted["key_type"]),
                "Use one of {0}.".format(", ".join(sorted(KEY_TYPES))),
            )
        )
    if wanted["current_endpoint"]:
        try:
            _adopt.parse_endpoint(wanted["current_endpoint"])
        except UpkiError as error:
            found.append(fault(error.code, "current_endpoint", wanted["current_endpoint"], error.message, error.fix))
    # The rest of the record. The name and the subject are checked above and once for all; the CSR comes later.
    seen = tuple(item(key) for key in ("fqdn", "subject")) + ("主体者DN",)
    record = record_of(wanted, "server_issue", None, None)
    return found + [
        row for row in _tsv_record.check_record(record, without_csr=True) if not row["item"].startswith(seen)
    ]


def _shared_once(faults, params):
    """A fault of the common manager is that of all certificates, and is told once."""
    common = params.get("manager") or {}
    values = {item("manager_" + key): (common.get(key) or "") for key in ("name", "affiliation", "email")}
    kept = []
    for row in faults:
        if row["item"] in values and row["value"] == shorten(values[row["item"]]):
            row = dict(row, record=None)
        if row not in kept:
            kept.append(row)
    return kept


def _text_of(names, faults):
    lines = []
    for row in faults:
        who = names[row["record"] - 1] if row["record"] else "all certificates"
        where = OPTIONS.get(row["item"])
        what = "{0}, option {1}".format(row["item"], where) if where else row["item"]
        lines.append("{0}: {1} ({2}): {3}".format(who, what, row["code"], row["message"]))
        if row["fix"]:
            lines[-1] += " " + row["fix"]
    return "\n".join(lines)


def _common_faults(params):
    """Faults that concern all the certificates."""
    found = _subject.check(params.get("subject") or {})
    for check, value, what in (
        (_validity.parse_renew_before, params.get("renew_before") or _validity.DEFAULT_RENEW_BEFORE, "renew_before"),
        (lambda name: _atomic.owner_ids(name, None), params.get("key_owner"), "key_owner"),
        (lambda name: _atomic.owner_ids(None, name), params.get("key_group"), "key_group"),
    ):
        try:
            check(value)
        except UpkiError as error:
            found.append(fault(error.code, what, value, error.message, error.fix))
    mode = params.get("key_mode") or "0600"
    if mode not in KEY_MODES:
        found.append(
            fault(
                "key_mode",
                "key_mode",
                mode,
                "key_mode is '{0}'; a private key may be read by its owner, or by its group as well.".format(mode),
                "Use '0600' or '0640', in quotes.",
            )
        )
    if (params.get("lead_time") or 0) < 0:
        found.append(fault("lead_time", "lead_time", params["lead_time"], "lead_time is negative.", "Give days."))
    return found


def wanted_list(params):
    """The certificates as checked dicts, or ONE UpkiError `invalid_request` with all the faults."""
    wanted = [_one(certificate, params) for certificate in params.get("certificates") or []]
    names = [row["name"] for row in wanted]
    faults = []
    for number, row in enumerate(wanted, 1):
        own = _faults(row)
        if names.index(row["name"]) != number - 1:
            own.append(
                fault(
                    "name_twice",
                    "name",
                    row["name"],
                    "The name '{0}' stands in the list of certificates twice.".format(row["name"]),
                    "Leave one of them out; further names belong to dns_names.",
                )
            )
        faults.extend(dict(one, record=number) for one in own)
    if any(row["state"] != "cancelled" for row in wanted) or params.get("subject"):
        faults.extend(_common_faults(params))
    faults = _shared_once(faults, params)
    if faults:
        raise UpkiError(
            "invalid_request",
            "{0} in the request; nothing was changed.\n{1}".format(
                "1 fault" if len(faults) == 1 else "{0} faults".format(len(faults)), _text_of(names, faults)
            ),
            faults=faults,
        )
    return wanted

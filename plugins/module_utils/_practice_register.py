# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the practice CA remembers: certificates, ACME applications and the files that it has accepted.

One JSON file, replaced by one rename, so that a certificate and the file that asked for it are known together or not at
all. A refused file is not remembered: the same file is refused again until somebody mends it.
"""

import copy
import json
import os

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._practice_rules import (
    ACCOUNT,
    CSR,
    DN,
    SERIAL,
    fault,
)

VERSION = 1
PLACES = (("organization", "O", "organization"), ("state", "ST", 215), ("locality", "L", 215))


def _empty():
    return {"version": VERSION, "certificates": [], "accounts": [], "files": {}}


class Register(object):
    """The register in memory; `save` writes it."""

    def __init__(self, path, content=None):
        self.path = path
        self.content = content or _empty()

    @classmethod
    def load(cls, path):
        """The register on disk, or an empty one."""
        if not os.path.exists(path):
            return cls(path)
        with _atomic.explained(path, "read"), open(path, "rb") as stream:
            data = stream.read()
        try:
            content = json.loads(data.decode("utf-8"))
        except ValueError:
            content = None
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise UpkiError(
                "practice_register_broken",
                "'{0}' is not a register of this practice CA.".format(path),
                "Restore it, or remove the practice CA's folder to begin with a new one.",
            )
        return cls(path, content)

    def save(self):
        text = json.dumps(self.content, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        _atomic.write_file(self.path, text.encode("utf-8"), 0o600)

    def copy(self):
        return Register(self.path, copy.deepcopy(self.content))

    @property
    def certificates(self):
        return self.content["certificates"]

    @property
    def accounts(self):
        return self.content["accounts"]

    @property
    def files(self):
        return self.content["files"]

    def lines(self):
        """One line a certificate or account, for diff mode."""
        rows = [
            "{0} {name} {kind} {status}".format(entry["serial"] or "(new serial)", **entry)
            for entry in self.certificates
        ]
        rows += ["{account} {name} {kind} {status}".format(**entry) for entry in self.accounts]
        return "".join(row + "\n" for row in rows)

    def by_serial(self, serial):
        for entry in self.certificates:
            if entry["serial"] == str(serial):
                return entry
        return None

    def by_subject(self, subject):
        """The newest certificate with this DN; a DN with OU is another DN and never equal."""
        for entry in reversed(self.certificates):
            if entry["subject"] == subject:
                return entry
        return None

    def by_key(self, spki_sha256):
        for entry in self.certificates:
            if entry["spki_sha256"] == spki_sha256:
                return entry
        return None

    def account(self, identifier):
        for entry in self.accounts:
            if entry["account"] == identifier:
                return entry
        return None


# --- what only the register can refuse: one generator a question, yielding (column, code, message, fix) -------


def _place(record, register, institution):
    for option, field, code in PLACES:
        wanted, found = institution.get(option), record["subject"].get(field)
        if wanted and found and wanted != found:
            message = "{0} is '{1}', and '{2}' is registered for the institution (case matters)".format(
                field, found, wanted
            )
            yield DN, code, message, "Write it exactly as registered, in the CSR as well (a new CSR is needed)."


def _duplicate(record, register, institution):
    if record["kind"] == "server_issue" and record["subject"]:
        known = register.by_subject(record["subject"])
        if known:
            message = "the DN of {0} exists already (serial {1})".format(known["name"], known["serial"])
            yield DN, 212, message, "Apply for server_renew with this serial."


def _serial(record, register, institution):
    if record["serial"] is None or record["kind"] == "acme_revoke":
        return
    known = register.by_serial(record["serial"])
    if known is None:
        message = "no certificate with the serial {0} is known here".format(record["serial"])
        yield SERIAL, "serial_unknown", message, "Take the serial of the certificate that is to be replaced or revoked."
    elif record["subject"] and known["subject"] != record["subject"]:
        message = "the certificate with the serial {0} has another DN, of {1}".format(record["serial"], known["name"])
        yield SERIAL, "serial_dn", message, "Where the DN changes, apply for server_issue instead of server_renew."
    elif record["kind"] == "server_revoke" and known["status"] == "revoked":
        yield SERIAL, "revoked", "the certificate with the serial {0} is revoked already".format(record["serial"]), ""


def _used_key(record, register, institution):
    if record["request"] is None:
        return
    known = register.by_key(_x509.spki_sha256(record["request"].public_key()))
    if known:
        message = "the key was used before, for {0} (serial {1})".format(known["name"], known["serial"])
        yield CSR, "key_reused", message, "Make a new key pair and CSR; every application needs a new one."


def _account(record, register, institution):
    if record["kind"] == "acme_create":
        same = [row for row in register.accounts if row["subject"] == record["subject"] and row["status"] == "active"]
        if same:
            yield (
                DN,
                212,
                "an ACME account exists for this DN already ({0})".format(same[0]["account"]),
                "Use acme_renew.",
            )
    elif record["account"]:
        known = register.account(record["account"])
        if known is None:
            yield ACCOUNT, "account_unknown", "no ACME account '{0}' is known here".format(record["account"]), ""
        elif record["subject"] and known["name"] != record["subject"]["CN"]:
            message = "the account '{0}' is that of {1}".format(record["account"], known["name"])
            yield ACCOUNT, "account_dn", message, "One account serves one CN."


QUESTIONS = (_place, _duplicate, _serial, _used_key, _account)


def _twice_in_file(records):
    """The same new DN, key or serial in two lines of one file."""
    seen = {}
    for record in records:
        marks = []
        if record["kind"] in ("server_issue", "acme_create") and record["subject"]:
            marks.append((DN, 212, "the DN", tuple(sorted(record["subject"].items()))))
        if record["request"] is not None:
            marks.append((CSR, "key_reused", "the key", _x509.spki_sha256(record["request"].public_key())))
        if record["kind"] == "server_revoke" and record["serial"] is not None:
            marks.append((SERIAL, "revoked", "the serial", record["serial"]))
        for column, code, what, mark in marks:
            first = seen.setdefault((column, mark), record["number"])
            if first != record["number"]:
                message = "{0} stands in record {1} of the same file already".format(what, first)
                yield fault(code, record["number"], column, "", message)


def check(records, register, institution):
    """Faults of the records that come from what the CA knows."""
    faults = []
    for record in records:
        for question in QUESTIONS:
            for column, code, message, fix in question(record, register, institution):
                shown = str(record["serial"]) if column == SERIAL else record["subject"].get("CN", "")
                faults.append(fault(code, record["number"], column, shown, message, fix))
    return faults + list(_twice_in_file(records))

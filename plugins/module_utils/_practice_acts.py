# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an accepted record does to the practice CA's register, one function a kind of application."""

import hashlib

from ansible_collections.campus.upki.plugins.module_utils import _x509

ISO = "%Y-%m-%dT%H:%M:%SZ"


def _entry(record, now):
    """What the register keeps of an accepted record, before anything is signed."""
    subject = record["subject"]
    return {
        "name": subject.get("CN", ""),
        "kind": record["kind"],
        "subject": subject,
        "status": "valid",
        "received": now.strftime(ISO),
        "manager": {"name": record["person"], "affiliation": record["section"], "email": record["mail"]},
        "software": record["software"],
        "dns_names": record["names"],
    }


def _issue(record, register, issuer, now):
    """Sign one certificate; where the issuer does not sign (check mode), all but serial and certificate is known."""
    public_key = record["request"].public_key()
    entry = _entry(record, now)
    start, end = issuer.plan(public_key)[1:]
    entry.update(serial=None, serial_hex="", certificate="", delivered=False)
    entry.update(not_before=start.strftime(ISO), not_after=end.strftime(ISO), generation=issuer.generation)
    entry.update(
        spki_sha256=_x509.spki_sha256(public_key),
        key_type=_x509.key_type(public_key),
        replaces=None if record["serial"] is None else str(record["serial"]),
    )
    if issuer.signs:
        subject = [(field, record["subject"][field]) for field in ("C", "ST", "L", "O", "CN")]
        certificate = issuer.issue(subject, record["names"], public_key)
        entry.update(
            serial=str(certificate.serial_number),
            serial_hex="{0:032X}".format(certificate.serial_number),
            certificate=_x509.pem(certificate),
        )
    register.certificates.append(entry)
    return entry


def _revoke(record, register, issuer, now):
    entry = register.by_serial(record["serial"])
    entry["status"] = "revoked"
    entry["revoked"] = {"at": now.strftime(ISO), "reason": record["reason"], "comment": record["comment"]}
    return entry


def _acme_create(record, register, issuer, now):
    """The account's identifier; a key for it is not made, since no ACME server stands behind this CA."""
    entry = _entry(record, now)
    text = "{0} {1}".format(entry["name"], len(register.accounts))
    entry["account"] = "practice-" + hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
    entry["status"] = "active"
    register.accounts.append(entry)
    return entry


def _acme_renew(record, register, issuer, now):
    entry = register.account(record["account"])
    entry.update(dns_names=record["names"], software=record["software"], received=now.strftime(ISO))
    return entry


def _acme_suspend(record, register, issuer, now):
    entry = register.account(record["account"])
    entry["status"] = "suspended"
    return entry


def _acme_revoke(record, register, issuer, now):
    """ACME certificates are not issued here, so there is nothing to mark; the form was checked."""
    return _entry(record, now)


ACTS = {
    "server_issue": _issue,
    "server_renew": _issue,
    "server_revoke": _revoke,
    "acme_create": _acme_create,
    "acme_renew": _acme_renew,
    "acme_suspend": _acme_suspend,
    "acme_revoke": _acme_revoke,
}

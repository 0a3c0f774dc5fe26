# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of campus.upki.install says: of each certificate, of those that it left, of faults, and in diff mode."""

import os

from ansible_collections.campus.upki.plugins.module_utils import _preflight, _prune, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Generation
from ansible_collections.campus.upki.plugins.module_utils._validity import iso


def row(item, state, chosen, code, reason, changed):
    """What the result says of one certificate."""
    certificate = chosen.certificate if chosen is not None else None
    return {
        "name": item["name"],
        "state": state,
        "changed": changed,
        "reason_code": code,
        "reason": reason,
        "generation": None,
        "serial": str(certificate.serial_number) if certificate is not None else None,
        "not_before": iso(_x509.not_before(certificate)) if certificate is not None else None,
        "not_after": iso(_x509.not_after(certificate)) if certificate is not None else None,
        "chain": [link(one) for one in chosen.chain] if chosen is not None else [],
        "file": None,
        "notices": [],
        "pruned": [],
    }


def link(certificate):
    return {
        "subject": _x509.name_text(certificate.subject),
        "sha256": _x509.sha256(certificate),
        "not_after": iso(_x509.not_after(certificate)),
    }


def together(errors):
    """One UpkiError out of [(name, UpkiError)]: all faults at once."""
    rows = [
        {"name": name, "reason_code": error.code, "message": error.message, "fix": error.fix} for name, error in errors
    ]
    if len(errors) == 1:
        error = errors[0][1]
        error.details["errors"] = rows
        return error
    text = " ".join("[{0}] {1}: {2}".format(number, name, error) for number, (name, error) in enumerate(errors, 1))
    return UpkiError("several", "{0} faults; nothing was changed. {1}".format(len(errors), text), "", errors=rows)


def difference(plan):
    """Before and after as parsed fields, for diff mode."""
    header = "{0} (live)".format(plan.item["name"])
    return {"before_header": header, "after_header": header, "before": plan.before, "after": fields(plan.candidate)}


def fields(chosen):
    """A certificate and its chain as lines of text."""
    if chosen is None:
        return ""
    lines = [
        "serial: {0}".format(chosen.certificate.serial_number),
        "names: {0}".format(", ".join(_preflight.names_of(chosen.certificate))),
        "not before: {0}".format(iso(_x509.not_before(chosen.certificate))),
        "not after: {0}".format(iso(_x509.not_after(chosen.certificate))),
        "chain:",
    ]
    lines += ["  - {0}".format(_x509.name_text(one.subject)) for one in chosen.chain]
    return "\n".join(lines) + "\n"


# --- what was left ----------------------------------------------------------------------------------------


def ignored(plans, candidates):
    """Candidates that no plan took, with the reason."""
    taken = {_x509.sha256(plan.candidate.certificate) for plan in plans if plan.candidate is not None}
    known = {}
    for plan in plans:
        for generation in plan.slot.generations():
            known[key_of(generation)] = (plan, generation)
        for key, identity in _prune.keys(plan.slot).items():
            known.setdefault(key, (plan, Generation(os.path.join(plan.slot.generations_path, identity))))
    rows = []
    for one in candidates:
        if _x509.sha256(one.certificate) in taken and not _is_live(one, plans):
            continue
        rows.append(dict(_why_ignored(one, known), file=one.file, serial=str(one.certificate.serial_number)))
    return rows


def _is_live(one, plans):
    digest = _x509.sha256(one.certificate)
    return any(
        plan.action != "swap" and plan.candidate is not None and _x509.sha256(plan.candidate.certificate) == digest
        for plan in plans
    )


def _why_ignored(one, known):
    """reason_code, reason and name for a candidate that is not installed."""
    found = known.get(_x509.spki_sha256(one.certificate.public_key()))
    if found is None:
        names = ", ".join(_preflight.names_of(one.certificate)[:3])
        return {"reason_code": "other_key", "name": names, "reason": "No request on this host has its key."}
    plan, generation = found
    live = plan.slot.live
    if live is not None and generation == live:
        same = live.certificate() is not None and _x509.sha256(live.certificate()) == _x509.sha256(one.certificate)
        text = "It is live already." if same else "Its key is live already, with another certificate."
        return {"reason_code": "already_live" if same else "same_key", "name": plan.item["name"], "reason": text}
    return {
        "reason_code": "older",
        "name": plan.item["name"],
        "reason": "It belongs to the generation {0}, which is not the pending one.".format(generation.id),
    }


def key_of(generation):
    """The hash of a generation's public key, or '' when its files are damaged: an old one must not stop a renewal."""
    try:
        return generation.spki_sha256()
    except UpkiError:
        return ""

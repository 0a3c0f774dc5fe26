# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a slot of the store (and, the first time, from a server that was set up by hand) to the facts of a decision."""

import os

from ansible_collections.campus.upki.plugins.module_utils import _adopt, _lifecycle, _validity
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

REQUEST_FILES = ("key.pem", "request.pem", "request.json")


def certificate_facts(generation, issuers=_adopt.ISSUERS):
    """Facts of a generation's certificate, or None while it has none.

    issuers: who counts as UPKI for a certificate that was made by hand and taken into the store by install.
    """
    certificate = generation.certificate()
    if certificate is None:
        return None
    meta = generation.meta
    by_hand = meta.get("reason_code") == "adopted"
    found = _adopt.facts(certificate, "the store", generation.id, issuers)
    found["upki"] = not by_hand or _adopt.is_upki(certificate, issuers)
    if meta.get("name"):
        # What was asked for counts, not what the CA made of it: a name that the CA dropped must not be asked for daily.
        found["requested_names"] = set(meta.get("dns_names") or []) | {meta["name"]}
    return found


def issued(slot, issuers=_adopt.ISSUERS):
    """(facts of all certificates, newest first; warnings about old ones that cannot be read)."""
    olds, broken = [], []
    for generation in slot.generations():
        try:
            olds.append(certificate_facts(generation, issuers))
        except UpkiError as error:
            text = "The certificate in '{0}' cannot be read: {1}".format(generation.path, error.message)
            broken.append(_lifecycle.warning("generation_broken", text))
    olds = sorted([row for row in olds if row], key=lambda row: row["not_before"], reverse=True)
    if broken and not olds:  # it may have been the only one, and then the kind of the next application hangs on it
        raise UpkiError(
            "generation_broken",
            broken[0]["message"],
            "Restore it from the backup, or move that generation out of the store (keep its key).",
        )
    return olds, broken


def request_facts(generation):
    """Facts of a request as it was made."""
    meta = generation.meta
    record = meta.get("record") or {}
    created = generation.created()
    return {
        "generation": generation.id,
        "created": None if created is None else _validity.moment(created),
        "kind": record.get("kind"),
        "serial": record.get("serial"),
        "replaces": meta.get("replaces"),
        "flat": _lifecycle.flat(
            meta.get("name"),
            record.get("subject") or {},
            meta.get("dns_names") or [],
            meta.get("key_type"),
            record.get("software"),
            {key: record.get("manager_" + key) for key in ("name", "affiliation", "email")},
        ),
    }


def orphans(slot):
    """Complete requests of runs that died before the link was set, newest first."""
    live, pending = slot.link("live"), slot.link("pending")
    return [
        generation
        for generation in reversed(slot.generations())
        if generation.id not in (live, pending)
        and (live is None or generation.id > live)
        and generation.has(*REQUEST_FILES)
        and generation.meta.get("record")
        and not generation.has("certificate.pem")
        and not generation.cancelled
    ]


def adopted(wanted, issuers):
    """Facts of the certificate that the host has outside the store; None where the options name none."""
    if wanted["current_certificate"]:
        certificate, source = _from_file(wanted["current_certificate"]), wanted["current_certificate"]
    elif wanted["current_endpoint"]:
        certificate = _adopt.from_endpoint(wanted["current_endpoint"], wanted["name"])
        source = wanted["current_endpoint"]
    else:
        return None
    return _adopt.facts(certificate, source, issuers=issuers)


def _from_file(path):
    if not os.path.exists(path):
        raise UpkiError(
            "current_certificate_missing",
            "The file '{0}' (current_certificate) does not exist on the host.".format(path),
            "Mend the path, or leave current_certificate out where there is no certificate yet.",
        )
    return _adopt.from_file(path)


def of_slot(slot, wanted, adopt, issuers=_adopt.ISSUERS):
    """The facts that _lifecycle.decide() takes. `adopt` is called only when the store has nothing of this name."""
    olds, broken = issued(slot, issuers)
    live_generation, pending = slot.live, slot.pending
    live = certificate_facts(live_generation, issuers) if live_generation else None
    found = orphans(slot)
    if not olds and pending is None and not found and wanted["state"] != "cancelled":
        foreign = adopt(wanted)
        olds = [foreign] if foreign else []
        if foreign and foreign["upki"] and foreign["cn"].lower() == wanted["name"]:
            live = foreign
    return {
        "live": live,
        "olds": olds,
        "pending": request_facts(pending) if pending else None,
        "orphan": request_facts(found[0]) if found else None,
        "broken": broken,
        "used": [
            (record.get("kind"), record.get("serial"))
            for record in (row.meta.get("record") or {} for row in slot.generations() if row.has("certificate.pem"))
        ],
    }


def leftover_warnings(slot):
    return [
        _lifecycle.warning(
            "leftover",
            "'{0}' was left by a run that was interrupted and may hold a key; no request of it was ever handed out. "
            "Remove it when nothing else is running.".format(path),
        )
        for path in slot.leftovers()
    ]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store holds, for campus.upki.info: reads public files only, never a key, and writes nothing."""

from ansible_collections.campus.upki.plugins.module_utils import _facts, _health, _lifecycle, _validity, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store


def inventory(path, names, now):
    """[one dict for each name]: those asked for, else all that the store has."""
    store = Store(path)
    return [_entry(store.certificate(name), _validity.moment(now)) for name in names or store.names()]


def warnings(path, rows):
    """Lines for a person: all that is wrong with the names, and with the store as a whole."""
    lines = [
        "{0}: {1} {2}".format(row["name"], found["message"], found.get("fix", "")).rstrip()
        for row in rows
        for found in row["problems"] + row["warnings"]
    ]
    return lines + [found["message"] for found in _health.store_warnings(path)]


def _entry(slot, now):
    generations = slot.generations()
    problems = _health.problems(slot)
    rows = [_generation(slot, generation, now, problems) for generation in generations]
    live = _safely(problems, _live, slot.live, now)
    pending = _safely(problems, _pending, slot.pending, now)
    return {
        "name": slot.name,
        "state": _state(live, pending, now),
        "live": live,
        "pending": pending,
        "generations": rows,
        "leftovers": slot.leftovers(),
        "problems": problems,
        "warnings": _warnings(slot, live, now),
    }


def _safely(problems, read, generation, now):
    """read(generation, now), or None with the reason among the problems."""
    if generation is None:
        return None
    try:
        return read(generation, now)
    except UpkiError as error:
        problem = {"code": error.code, "message": error.message, "fix": error.fix}
        if not any(row["code"] == "generation_broken" for row in problems):
            problems.append(problem)
        return None


def _state(live, pending, now):
    in_force = live is not None and now < _validity.parse_iso(live["not_after"])
    if pending is not None:
        replaced = _validity.parse_iso((pending["replaces"] or {}).get("not_after"))
        return "renewing" if in_force or (live is None and replaced and now < replaced) else "pending"
    if live is None:
        return "absent"
    return "live" if in_force else "expired"


def _dates(certificate, now):
    return {
        "serial": str(certificate.serial_number),
        "not_before": _validity.iso(_x509.not_before(certificate)),
        "not_after": _validity.iso(_x509.not_after(certificate)),
        "days_left": _validity.days_between(now, _x509.not_after(certificate)),
    }


def _live(generation, now):
    certificate = generation.certificate()
    if certificate is None:
        return None
    public_key = certificate.public_key()
    row = _dates(certificate, now)
    row.update(
        generation=generation.id,
        path=generation.path,
        subject=_x509.name_text(certificate.subject),
        issuer=_x509.name_text(certificate.issuer),
        dns_names=_x509.dns_names(certificate),
        key_type=_x509.key_type(public_key),
        sha256=_x509.sha256(certificate),
        spki_sha256=_x509.spki_sha256(public_key),
        replaces=_replaced(generation.meta.get("replaces"), now),
        chain=[
            {
                "subject": _x509.name_text(issuer.subject),
                "sha256": _x509.sha256(issuer),
                "not_after": _validity.iso(_x509.not_after(issuer)),
            }
            for issuer in generation.chain()
        ],
    )
    return row


def _replaced(before, now):
    """The certificate that this one took the place of, as its request noted it, with the days that it still has."""
    if not isinstance(before, dict) or not before.get("serial"):
        return None
    row = {key: before.get(key) for key in ("serial", "not_after", "generation", "source")}
    end = _validity.parse_iso(row["not_after"])
    return dict(row, days_left=None if end is None else _validity.days_between(now, end))


def _pending(generation, now):
    meta = generation.meta
    record = meta.get("record") or {}
    created = _facts.request_facts(generation)["created"]
    return {
        "generation": generation.id,
        "path": generation.path,
        "kind": record.get("kind"),
        "reason": meta.get("reason"),
        "reason_code": meta.get("reason_code"),
        "created": created and _validity.iso(created),
        "age_days": None if created is None else _validity.days_between(created, now),
        "key_type": meta.get("key_type"),
        "dns_names": meta.get("dns_names") or [],
        "spki_sha256": generation.spki_sha256(),
        "replaces": meta.get("replaces"),
        "issued": generation.has("certificate.pem"),
    }


def _generation(slot, generation, now, problems):
    created = generation.created()
    row = {
        "generation": generation.id,
        "role": _role(slot, generation),
        "created": None if created is None else _validity.iso(_validity.moment(created)),
        "age_days": None if created is None else _validity.days_between(_validity.moment(created), now),
        "kind": (generation.meta.get("record") or {}).get("kind"),
        "key": generation.has("key.pem"),
        "spki_sha256": None,
        "serial": None,
        "not_before": None,
        "not_after": None,
        "days_left": None,
    }
    try:
        certificate = generation.certificate()
    except UpkiError as error:
        message = "{0}: {1}".format(generation.path, error.message)
        if not any(generation.path in problem["message"] for problem in problems):
            problems.append({"code": "generation_broken", "message": message, "fix": error.fix})
        return row
    if certificate is None:
        return row
    return dict(row, spki_sha256=_x509.spki_sha256(certificate.public_key()), **_dates(certificate, now))


def _role(slot, generation):
    if generation == slot.live:
        return "live"
    if generation == slot.pending:
        return "pending"
    if generation.cancelled:
        return "cancelled"
    if generation in _facts.orphans(slot):
        return "orphan"
    return "old" if generation.has("certificate.pem") else "unused"


def _warnings(slot, live, now):
    found = []
    if slot.pending is not None:
        found.extend(_lifecycle.pending_warnings(_facts.request_facts(slot.pending), now))
    if live is not None and now < _validity.parse_iso(live["not_before"]):
        found.append(
            _lifecycle.warning(
                "clock_behind",
                "The host's clock says {0}, but the certificate is valid from {1} on; check the host's time.".format(
                    _validity.iso(now), live["not_before"]
                ),
            )
        )
    found.extend(_facts.leftover_warnings(slot))
    for generation in _facts.orphans(slot):
        found.append(
            _lifecycle.warning(
                "orphan",
                "The request {0} was made by a run that was interrupted; the next run of campus.upki.request takes it "
                "up when it fits.".format(generation.id),
            )
        )
    return found

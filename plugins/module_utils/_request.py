# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend of campus.upki.request: facts → decision → key, CSR and generation, for all certificates of a host."""

import json

from ansible_collections.campus.upki.plugins.module_utils import (
    _adopt,
    _clock,
    _facts,
    _health,
    _lifecycle,
    _names,
    _prune,
    _subject,
    _tsv_record,
    _validity,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._keys import KEY_TYPES
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.plugins.module_utils._wanted import KEY_MODES, record_of, wanted_list


class _Plan(object):
    """One certificate on its way: what is wanted, what is there, what to do, and what became of it."""

    def __init__(self, wanted, slot, facts, decision):
        self.wanted = wanted
        self.slot = slot
        self.facts = facts
        self.decision = decision
        self.made = None  # (key PEM, CSR PEM, meta) between making and writing
        self.generation = None

    @property
    def name(self):
        return self.wanted["name"]


class Request(object):
    """One run of the module. `now`: seconds since 1970. `adopt`: how to look at a server made by hand (for tests)."""

    def __init__(self, params, now, check_mode=False, adopt=None):
        self.params = params
        self.now = now
        self.check_mode = check_mode
        self.store = Store(params.get("store") or "/etc/upki")
        self.lead_time = _validity.DEFAULT_LEAD_TIME if params.get("lead_time") is None else params["lead_time"]
        self.renew_before = params.get("renew_before") or _validity.DEFAULT_RENEW_BEFORE
        self.issuers = params.get("issuers") or _adopt.ISSUERS
        self.controllers = _clock.controllers(params.get("controller_time"), now)
        self._look = adopt or (lambda wanted: _facts.adopted(wanted, self.issuers))
        self._seen = {}  # a port is asked once a run

    def run(self):
        """Everything that the module returns. Raises UpkiError with nothing changed when anything is wrong before."""
        wanted = wanted_list(self.params)
        plans = self._plan(wanted)
        if not self.check_mode and any(plan.decision.action != "none" for plan in plans):
            with self.store.lock(self.params.get("lock_timeout", 60)):
                plans = self._plan(wanted)  # the store may have changed while waiting
                self._make(plans)
                self._write(plans)
        return self._result(plans)

    # --- deciding ----------------------------------------------------------------------------------------

    def _adopt(self, wanted):
        if wanted["name"] not in self._seen:
            self._seen[wanted["name"]] = self._look(wanted)
        return self._seen[wanted["name"]]

    def _plan(self, wanted_rows):
        plans, troubles = [], []
        for wanted in wanted_rows:
            slot = self.store.certificate(wanted["name"])
            found = _health.problems(slot)
            if not found:
                try:
                    plans.append(self._plan_one(wanted, slot))
                except UpkiError as error:
                    found = [{"code": error.code, "message": error.message, "fix": error.fix}]
            troubles.extend(dict(problem, name=wanted["name"]) for problem in found)
        if troubles:
            raise _troubles(troubles)
        return plans

    def _plan_one(self, wanted, slot):
        facts = _facts.of_slot(slot, wanted, self._adopt, self.issuers)
        override = (wanted["kind"], wanted["serial"])
        extra = list(facts["broken"])
        if wanted["kind"] and override in facts["used"]:
            wanted = dict(wanted, kind=None, serial=None)
            extra.append(
                _lifecycle.warning(
                    "kind_used",
                    "kind and serial were used for a certificate that has been issued since; they are ignored now. "
                    "Remove them.",
                )
            )
        decision = self._decide(wanted, facts)
        decision.warnings.extend(extra)
        if wanted["state"] != "cancelled":
            decision.warnings.extend(_names.phishing_like([wanted["name"]] + wanted["dns_names"]))
        return _Plan(wanted, slot, facts, decision)

    def _decide(self, wanted, facts):
        """By the host's clock; where the controller's says something else, both must come to the same."""
        decision = self._decide_at(self.now, wanted, facts)
        if self.controllers is not None:
            by_controller = self._decide_at(self.controllers, wanted, facts)
            told = _clock.compare(decision, self.now, self.controllers, by_controller)
            if all(row["code"] != "clock_behind" for row in decision.warnings):  # which says more
                decision.warnings.append(told)
        return decision

    def _decide_at(self, now, wanted, facts):
        return _lifecycle.decide(wanted, facts, now, self.renew_before, self.lead_time)

    # --- making: in memory only --------------------------------------------------------------------------

    def _make(self, plans):
        """Keys and CSRs of all new requests, checked, before the first byte is written."""
        known = None
        faults = []
        for plan in plans:
            if plan.decision.action != "request":
                continue
            known = self._known_keys() if known is None else known
            plan.made = self._make_one(plan, known)
            faults.extend(dict(row, name=plan.name) for row in _tsv_record.check_record(plan.made[2]["record"]))
        if faults:
            raise _troubles(faults)

    def _known_keys(self):
        """{SPKI SHA-256: where} of every generation of every name, those that were pruned included."""
        known = {}
        for name in self.store.names():
            slot = self.store.certificate(name)
            known.update(_prune.keys(slot))
            for generation in slot.generations():
                try:
                    known[generation.spki_sha256()] = generation.path
                except UpkiError:  # a broken old request says nothing; info shows it
                    continue
        return known

    def _make_one(self, plan, known):
        wanted, decision = plan.wanted, plan.decision
        row = KEY_TYPES[wanted["key_type"]]
        key = _x509.generate_key(wanted["key_type"])
        spki = _x509.spki_sha256(key.public_key())
        if spki in known:
            raise UpkiError(
                "key_reused",
                "The new key of '{0}' equals that of '{1}'; the service refuses a key that was used before.".format(
                    plan.name, known[spki]
                ),
                "The host's random numbers cannot be trusted (a cloned machine?); mend that before any key is made.",
            )
        known[spki] = plan.name
        fields = _subject.request_fields(wanted["subject"], wanted["name"])
        csr = _x509.pem(_x509.build_request(key, fields, row["hash"]))
        meta = {
            "name": wanted["name"],
            "created": _validity.iso(_validity.moment(self.now)),
            "kind": decision.kind,
            "reason_code": decision.reason_code,
            "reason": decision.reason,
            "kind_reason": decision.kind_reason,
            "kind_reason_code": decision.kind_reason_code,
            "key_type": wanted["key_type"],
            "dns_names": list(wanted["dns_names"]),
            "spki_sha256": spki,
            "record": record_of(wanted, decision.kind, decision.serial, csr),
            "replaces": _replaced(decision.replaces),
        }
        return _x509.private_key_pem(key), csr, meta

    # --- writing: under the lock -------------------------------------------------------------------------

    def _write(self, plans):
        acts = {"request": self._add, "relink": self._relink, "amend": self._amend, "cancel": self._cancel}
        for plan in plans:
            if plan.decision.action in acts:
                plan.slot.sweep()
                acts[plan.decision.action](plan)

    def _add(self, plan):
        key, csr, meta = plan.made
        plan.made = None
        plan.generation = plan.slot.add_generation(
            key,
            csr,
            meta,
            tsv=_tsv_bytes(meta["record"]),
            key_mode=KEY_MODES[self.params.get("key_mode") or "0600"],
            key_owner=self.params.get("key_owner"),
            key_group=self.params.get("key_group"),
        )

    @staticmethod
    def _relink(plan):
        plan.generation = plan.slot.generation(plan.facts["orphan"]["generation"])
        plan.slot.set_pending(plan.generation)

    @staticmethod
    def _amend(plan):
        generation = plan.slot.pending
        meta = generation.meta
        before = {"kind": meta.get("kind"), "serial": meta["record"].get("serial")}
        meta["amended"] = list(meta.get("amended") or []) + [before]
        meta.update(
            kind=plan.decision.kind,
            kind_reason=plan.decision.kind_reason,
            kind_reason_code=plan.decision.kind_reason_code,
        )
        meta["record"].update(kind=plan.decision.kind, serial=plan.decision.serial)
        plan.slot.amend(generation, meta, _tsv_bytes(meta["record"]))
        plan.generation = generation

    def _cancel(self, plan):
        pending = plan.slot.pending
        for generation in ([pending] if pending else []) + _facts.orphans(plan.slot):
            plan.slot.cancel(
                generation,
                {
                    "name": plan.name,
                    "cancelled": _validity.iso(_validity.moment(self.now)),
                    "record": generation.meta.get("record"),
                    "replaces": generation.meta.get("replaces"),
                },
            )

    # --- telling -----------------------------------------------------------------------------------------

    def _result(self, plans):
        rows = [self._row(plan) for plan in plans]
        warn = [_warning_text(row["name"], found) for row in rows for found in row["warnings"]]
        return {
            "changed": any(row["changed"] for row in rows),
            "certificates": rows,
            "diff": _diff(plans, rows),
            "warn": warn + [found["message"] for found in _health.store_warnings(self.store.path)],
        }

    def _row(self, plan):
        decision, changed = plan.decision, plan.decision.action != "none"
        generation = self._shown_generation(plan)
        stored = generation.meta if generation and decision.state in ("pending", "renewing") else {}
        live = plan.facts["live"] or _replaced_facts(generation)
        row = {
            "name": plan.name,
            "state": decision.state,
            "changed": changed,
            "action": decision.action,
            "kind": decision.kind,
            "kind_reason": decision.kind_reason or stored.get("kind_reason"),
            "kind_reason_code": decision.kind_reason_code or stored.get("kind_reason_code"),
            "reason": decision.reason,
            "reason_code": decision.reason_code,
            "source": live["source"] if live else None,
            "record": self._record(plan, generation),
            "csr": generation.request() if generation and generation != plan.slot.live else None,
            "spki_sha256": generation.spki_sha256() if generation else None,
            "generation": generation.id if generation else None,
            "leftovers": plan.slot.leftovers(),
            "warnings": decision.warnings + _facts.leftover_warnings(plan.slot),
        }
        row.update(self._dates(live))
        return row

    def _shown_generation(self, plan):
        """The generation that the row is about: the pending one, else the live one."""
        action = plan.decision.action
        if action == "request":
            return plan.generation  # None in check mode
        if action == "relink":
            return plan.slot.generation(plan.facts["orphan"]["generation"])
        if action == "cancel":
            return plan.slot.live
        return plan.slot.pending or plan.slot.live

    def _record(self, plan, generation):
        """What campus.upki.tsv shall be given; None when nothing is to be applied for."""
        decision = plan.decision
        if decision.action == "request" and generation is None:
            return record_of(plan.wanted, decision.kind, decision.serial, None)
        if decision.state not in ("pending", "renewing") or generation is None:
            return None
        record = generation.meta.get("record")
        if decision.action == "amend":
            record = dict(record, kind=decision.kind, serial=decision.serial)
        return record

    def _dates(self, live):
        if live is None:
            keys = ("serial", "not_after", "days_left", "renew_at", "last_day_to_apply")
            return dict.fromkeys(keys)
        at = _validity.renew_at(live["not_before"], live["not_after"], self.renew_before)
        return {
            "serial": live["serial"],
            "not_after": _validity.iso(live["not_after"]),
            "days_left": _validity.days_between(_validity.moment(self.now), live["not_after"]),
            "renew_at": _validity.iso(at),
            "last_day_to_apply": _validity.iso(_validity.last_day_to_apply(live["not_after"], self.lead_time)),
        }


def _tsv_bytes(record):
    return _tsv_record.encode([_tsv_record.build_line(record)])


def _warning_text(name, found):
    """The warning with the certificate's name, unless the text stands alone (phishing_like)."""
    return found["message"] if found["code"] == "phishing_like" else "{0}: {1}".format(name, found["message"])


def _replaced(old):
    if old is None:
        return None
    return {
        "serial": old["serial"],
        "not_before": _validity.iso(old["not_before"]),
        "not_after": _validity.iso(old["not_after"]),
        "generation": old["generation"],
        "source": old["source"],
    }


def _replaced_facts(generation):
    """What a pending request remembers of a certificate outside the store that it replaces; None for nothing."""
    old = (generation.meta.get("replaces") if generation else None) or {}
    dates = {key: _validity.parse_iso(old.get(key)) for key in ("not_before", "not_after")}
    return dict(old, **dates) if all(dates.values()) else None


def _troubles(rows):
    """One UpkiError for all that is wrong; the code of the first."""
    text = "\n".join("{0}: {1} {2}".format(row["name"], row["message"], row["fix"]).rstrip() for row in rows)
    return UpkiError(str(rows[0]["code"]), "{0}\nNothing was changed.".format(text), problems=rows)


def _diff(plans, rows):
    """before/after of what changed, as parsed fields; a key never comes near it."""
    before, after = {}, {}
    for plan, row in zip(plans, rows):
        if not row["changed"]:
            continue
        pending = plan.facts["pending"]
        before[plan.name] = {"pending": pending and {"generation": pending["generation"], "kind": pending["kind"]}}
        if plan.decision.action == "cancel":
            after[plan.name] = {"pending": None}
            continue
        record = row["record"] or {}
        after[plan.name] = {
            "pending": {
                "generation": row["generation"] or "(new)",
                "kind": row["kind"],
                "key_type": plan.wanted["key_type"],
                "subject": record.get("subject"),
                "dns_names": record.get("dns_names"),
                "old_serial": record.get("serial"),
            }
        }
    return {"before": _lines(before), "after": _lines(after)}


def _lines(value):
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n" if value else ""

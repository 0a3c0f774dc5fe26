# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From issued certificates to live ones: match by public key, check, complete the generation, swap.

Everything is decided before anything changes: one faulty certificate stops all of this host's, with all faults told.
"""

import collections
import datetime
import os

from ansible_collections.campus.upki.plugins.module_utils import (
    _asked,
    _handmade,
    _health,
    _inventory,
    _links,
    _mend,
    _preflight,
    _probe,
    _prune,
    _served_chain,
    _servers,
    _swap,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Generation, Store

UTC = datetime.timezone.utc
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

Candidate = _asked.Candidate
# What to do for one certificate. action: swap, chain (another chain for what is live), reload or none.
# before: what was live, as text for diff mode. previous: the generation that was live. adopt: Material to take first.
Plan = collections.namedtuple("Plan", "item slot action generation candidate result before previous adopt")
Plan.__new__.__defaults__ = ("", None, None)


def run(params, check_mode=False, now=None):
    """The module's result. params: its options."""
    now = now or datetime.datetime.now(UTC)
    job = Job(params, now)
    plans, groups = job.foresee()
    if check_mode or not any(plan.result["changed"] for plan in plans):
        job.rehearse(groups)
        return job.answer(plans)  # a quiet run needs no lock, and makes no store where there is none
    job = Job(params, now)
    with job.store.lock(job.lock_timeout):
        plans, groups = job.foresee()  # again: another run may have held the lock
        job.carry_out(plans, groups)
        return job.answer(plans)


class Job(object):
    """One run for one host."""

    def __init__(self, params, now):
        self.now = now
        self.wait = _asked.seconds(params, "wait", _swap.WAIT)
        self.lock_timeout = _asked.seconds(params, "lock_timeout", _asked.LOCK_TIMEOUT)
        self.store = Store(params["store"])
        self.table = _servers.merged(params.get("servers"))
        self.keep = _asked.number(params, "keep", _asked.KEEP, "how many generations stay")
        self.mend = params.get("mend_chain") is not False
        self.authorities = _asked.certificates(params.get("authorities"))
        self.roots = _asked.certificates(params.get("anchors"))
        self.items = [_asked.item(entry, self.table, self.store.path) for entry in params["certificates"]]
        self.candidates = [_asked.candidate(entry) for entry in params.get("candidates") or []]
        self.unusable = params.get("unusable") or []
        self.others = params.get("others") or []
        self.warnings = []
        _asked.refuse_twice(self.items)

    def foresee(self):
        """(plans, groups): what is to be done, or one error that tells all faults. Nothing is changed."""
        plans, errors = [], []
        for item in self.items:
            damage = _health.problems(self.store.certificate(item["name"]))
            errors.extend((item["name"], UpkiError(**problem)) for problem in damage)
            try:
                plans.extend([] if damage else [self.plan(item)])
            except UpkiError as error:
                errors.append((item["name"], error))
        if errors:
            raise together(errors)
        return plans, self.groups(plans)  # which also says whether the commands are there

    def answer(self, plans):
        """The module's result."""
        results = [plan.result for plan in plans]
        return {
            "changed": any(result["changed"] for result in results),
            "certificates": results,
            "inventory": self.inventory(),
            "ignored": self.ignored(plans),
            "warnings": self.warnings,
            "diff": [difference(plan) for plan in plans if plan.action in ("swap", "chain")],
        }

    def inventory(self):
        """What is in the store now, which spares campus.upki.verify another exchange with the host."""
        names = [item["name"] for item in self.items]
        return _inventory.inventory(self.store.path, names, self.now.timestamp()) if names else []

    # --- one certificate -----------------------------------------------------------------------------------

    def plan(self, item):
        slot = self.store.certificate(item["name"])
        pending, live = slot.pending, slot.live
        if live is None and item["adopt"]:
            return self.adopting_plan(item, slot, pending)
        if item["state"] == "previous":
            return self.previous_plan(item, slot, live)
        if pending is not None:
            chosen = self.choose(item, pending)
            if chosen is not None:
                self.check(item, pending, chosen)
                return self.swap_plan(item, slot, pending, live, chosen)
            self.refuse_wrong_key(item, slot, pending)
            self.refuse_unusable(item)
            return self.quiet_plan(item, slot, live, pending)
        return self.quiet_plan(item, slot, live, None)

    def choose(self, item, pending):
        """The candidate of the pending request: same public key, the newest one; or what a killed run completed."""
        spki = pending.spki_sha256()
        matching = [one for one in self.candidates if _x509.spki_sha256(one.certificate.public_key()) == spki]
        for other in self.others:
            if other["spki_sha256"] == spki and not matching:
                raise UpkiError(
                    "names_missing",
                    "The certificate in '{0}' has the key of {1}'s request but names {2}.".format(
                        other["file"], item["name"], ", ".join(other["names"]) or "no host"
                    ),
                    "Ask the IT centre what was issued; the request goes on waiting.",
                )
        if matching:
            return max(matching, key=lambda one: _x509.not_before(one.certificate))
        certificate = pending.certificate()
        if certificate is not None and pending.has("fullchain.pem"):
            return Candidate(certificate, pending.chain(), pending.file("certificate.pem"), None, [])
        return None

    def check(self, item, pending, chosen):
        if chosen.error:
            raise _no_chain(chosen)
        wanted = item["wanted"] + list(pending.meta.get("dns_names") or [])
        _preflight.check(chosen, wanted, pending.spki_sha256(), self.now)
        _preflight.load(_pem(chosen), pending.key_path)

    def refuse_wrong_key(self, item, slot, pending):
        """A certificate for this name that no generation of this host has the key of."""
        own = {_key_of(generation) for generation in slot.generations()} | set(_prune.keys(slot))
        for one in self.candidates:
            spki = _x509.spki_sha256(one.certificate.public_key())
            if item["name"] in _preflight.names_of(one.certificate) and spki not in own:
                if (one.error or {}).get("code") == "certificate_damaged":
                    raise _no_chain(one)  # perhaps it was for this key
                raise UpkiError(
                    "other_key",
                    "The certificate in '{0}' (serial {1}) is for {2} but for another key: its public key's SHA-256 is "
                    "{3}, that of the pending request is {4}.".format(
                        one.file, one.certificate.serial_number, item["name"], spki, pending.spki_sha256()
                    ),
                    "Take the certificate that was issued for this request (made {0}), or move the wrong file "
                    "away.".format(pending.meta.get("created", "at an unknown time")),
                    file=one.file,
                )

    def refuse_unusable(self, item):
        """Files that somebody seems to have meant as the certificate this request waits for."""
        faults = [row for row in self.unusable if row["fault"]]
        if faults:
            raise UpkiError(
                "unusable_file",
                "{0} waits for its certificate, and what lies in the inbox is none. {1}".format(
                    item["name"], " ".join(row["message"] for row in faults)
                ),
                faults[0]["fix"]
                if len(faults) == 1
                else " ".join("For '{file}': {fix}".format(**row) for row in faults),
                files=faults,
            )

    # --- plans and results ---------------------------------------------------------------------------------

    def swap_plan(self, item, slot, pending, live, chosen):
        reason = "The certificate for the pending request is in '{0}'.".format(chosen.file)
        result = self.result(item, "live", chosen, "installed", reason, True)
        result["file"] = chosen.file
        result["generation"] = pending.id
        result["notices"] = list(chosen.notices) + _lost_usage(live, chosen)
        before = _fields_of(live) if live is not None else ""
        return Plan(item, slot, "swap", pending, chosen, result, before, live)

    def adopting_plan(self, item, slot, pending):
        """What was made by hand becomes live in the store; what has arrived is swapped in as over any other."""
        material = _handmade.read(item["adopt"])
        standing = Candidate(material.certificate, material.chain, item["adopt"]["certificate"], None, [])
        chosen = self.choose(item, pending) if pending is not None else None
        if chosen is not None:
            self.check(item, pending, chosen)
            plan = self.swap_plan(item, slot, pending, None, chosen)
            return plan._replace(before=fields(standing), adopt=material)
        reason = "The certificate in '{0}' was taken over as the first generation.".format(standing.file)
        state = "renewing" if pending is not None else "live"
        result = self.result(item, state, standing, "adopted", reason, True)
        return Plan(item, slot, "none", None, standing, result, adopt=material)

    def previous_plan(self, item, slot, live):
        """Back by hand to the complete generation before the live one."""
        older = [
            one for one in slot.generations() if live is not None and one.id < live.id and one.has("fullchain.pem")
        ]
        if not older:
            raise UpkiError(
                "no_previous",
                "'{0}' cannot go back: {1}.".format(
                    item["name"],
                    "nothing complete is older than the live generation {0}".format(live.id)
                    if live is not None
                    else "it has no live generation",
                ),
                "campus.upki.info lists what the store still has; to go forward, take 'state: previous' "
                "(upki_rollback) away.",
            )
        target = older[-1]
        chosen = _standing(target)
        if chosen is None:
            raise UpkiError(
                "certificate_broken",
                "The generation before the live one, '{0}', has no readable certificate.".format(target.path),
                "Restore it from the backup; campus.upki.info lists the others.",
            )
        _preflight.check(chosen, [item["name"]], target.spki_sha256(), self.now)
        _preflight.load_files(target.file("fullchain.pem"), target.key_path)
        reason = "Asked to go back from the generation {0}.".format(live.id)
        result = self.result(item, "live", chosen, "went_back", reason, True)
        result["generation"] = target.id
        return Plan(item, slot, "swap", target, chosen, result, _fields_of(live), live)

    def quiet_plan(self, item, slot, live, pending):
        """Nothing to install; perhaps a reload that was lost."""
        if live is None:
            state = "pending" if pending is not None else "absent"
            code, reason = ("waiting", _since(pending)) if pending is not None else ("no_request", NO_REQUEST)
            return Plan(item, slot, "none", None, None, self.result(item, state, None, code, reason, False))
        standing = _standing(live)
        state = "renewing" if pending is not None else "live"
        if pending is None and standing is not None and self.now > _x509.not_after(standing.certificate):
            state = "expired"
        code, reason = ("waiting", _since(pending)) if pending is not None else ("up_to_date", UP_TO_DATE)
        action, seen = "none", []
        if item["server"] and standing is not None:
            seen = _swap.served(_swap_item(item, slot, live, standing))
            action, code, reason = self.compare_wire(item, seen, code, reason)
        wrong = [row["path"] for row in item["links"] if live.has("fullchain.pem") and _links.differs(row, slot, live)]
        if wrong:
            action, code = "reload", "links"
            reason = "Not as it should be: {0}.".format(", ".join("'{0}'".format(path) for path in wrong))
        result = self.result(item, state, standing, code, reason, action == "reload")
        result["generation"] = live.id
        plan = Plan(item, slot, action, live, standing, result)
        if standing is None or self.now > _x509.not_after(standing.certificate):
            return plan
        return self.with_good_chain(plan, seen)

    def with_good_chain(self, plan, seen):
        """The plan for a live certificate; one that mends its chain where that is old and a better one is at hand."""
        live, standing = plan.generation, plan.candidate
        judged = _served_chain.judge(standing.certificate, standing.chain, self.authorities, self.roots, self.now)
        begun = _mend.unconfirmed(live)
        if not judged.fault and not begun:
            return plan
        if judged.chain is None and not begun:
            return self.with_notice(plan, judged, "")
        why_not = "" if begun else self.why_not_mend(plan, seen)
        if why_not:
            return self.with_notice(plan, judged, why_not)
        better = judged.chain if self.mend else None
        chosen = standing._replace(chain=better or standing.chain)
        _preflight.load(_pem(chosen), live.key_path)
        reason = _served_chain.told(judged) if better else CHAIN_BEGUN
        result = dict(plan.result, changed=True, reason_code="chain_mended", reason=reason)
        result["chain"] = [_link(one) for one in chosen.chain]
        slot = _mend.ChainSlot(plan.slot, chosen.certificate, chosen.chain)
        return plan._replace(slot=slot, action="chain", candidate=chosen, result=result, before=fields(standing))

    def why_not_mend(self, plan, seen):
        """A sentence where a better chain is at hand and not for us to put there; ''."""
        if not self.mend:
            return "It was left, because 'mend_chain' (upki_mend_chain) is false."
        adopted = plan.generation.meta.get("reason_code") == "adopted"
        if adopted and plan.item["adopt"] and not plan.item["links"]:
            return (
                "It was left, because the certificate was taken over with 'adopt', and the server may still read its "
                "own files. Once its configuration names {0}, take 'adopt' away (upki_certificates).".format(
                    os.path.join(plan.slot.path, "live", "fullchain.pem")
                )
            )
        silent = [_swap.where(place) for place, verdict, _found in seen if verdict == "closed"]
        if silent:
            return "It was left, because nothing answers on {0}.".format(", ".join(silent))
        # What is about to be reloaded says nothing yet of the files that it reads.
        other = [place for place, _v, found in seen if plan.action == "none" and not _reads(plan, place, found)]
        if other:
            return (
                "It was left, because {0} sends another chain than the store's: the server reads other files. Let its "
                "configuration name {1}.".format(
                    ", ".join(_swap.where(place) for place in other),
                    os.path.join(plan.slot.path, "live", "fullchain.pem"),
                )
            )
        return ""

    def with_notice(self, plan, judged, why_not):
        """The plan with what to know about its chain; also as a warning."""
        notice = _served_chain.notice(judged, why_not)
        plan.result["notices"] = [notice]
        self.warnings.append("{0}: {1}".format(plan.item["name"], notice["message"]))
        return plan

    def compare_wire(self, item, seen, code, reason):
        for place, verdict, found in seen:
            if verdict == "closed":
                self.warnings.append(
                    "{0}: whether {1} serves the live certificate is unknown: {2}. Start the server, or correct "
                    "'endpoint' (upki_certificates).".format(item["name"], _swap.where(place), _swap.describe(found))
                )
        others = [
            "{0} served {1}".format(_swap.where(place), _swap.describe(found))
            for place, verdict, found in seen
            if verdict == "other"
        ]
        if not others:
            return "none", code, reason
        return (
            "reload",
            "reloaded",
            "The port {0}, not the live certificate: the server had not taken it up.".format("; ".join(others)),
        )

    @staticmethod
    def result(item, state, chosen, code, reason, changed):
        certificate = chosen.certificate if chosen is not None else None
        return {
            "name": item["name"],
            "state": state,
            "changed": changed,
            "reason_code": code,
            "reason": reason,
            "generation": None,
            "serial": str(certificate.serial_number) if certificate is not None else None,
            "not_before": _iso(_x509.not_before(certificate)) if certificate is not None else None,
            "not_after": _iso(_x509.not_after(certificate)) if certificate is not None else None,
            "chain": [_link(one) for one in chosen.chain] if chosen is not None else [],
            "file": None,
            "notices": [],
            "pruned": [],
        }

    def ignored(self, plans):
        """Candidates that no plan took, with the reason."""
        taken = {_x509.sha256(plan.candidate.certificate) for plan in plans if plan.candidate is not None}
        known = {}
        for plan in plans:
            for generation in plan.slot.generations():
                known[_key_of(generation)] = (plan, generation)
            for key, identity in _prune.keys(plan.slot).items():
                known.setdefault(key, (plan, Generation(os.path.join(plan.slot.generations_path, identity))))
        rows = []
        for one in self.candidates:
            if _x509.sha256(one.certificate) in taken and not self._is_live(one, plans):
                continue
            rows.append(dict(_why_ignored(one, known), file=one.file, serial=str(one.certificate.serial_number)))
        return rows

    @staticmethod
    def _is_live(one, plans):
        digest = _x509.sha256(one.certificate)
        return any(
            plan.action != "swap" and plan.candidate is not None and _x509.sha256(plan.candidate.certificate) == digest
            for plan in plans
        )

    # --- doing ---------------------------------------------------------------------------------------------

    def groups(self, plans):
        """[(server or None, what, [Plan])], so that one reload serves all certificates of a server."""
        found = collections.OrderedDict()
        # Chains come last, by themselves: they are less urgent than what else is due.
        for plan in sorted(plans, key=lambda plan: plan.action == "chain"):
            if plan.action != "none":
                found.setdefault((plan.item["server"], plan.action), []).append(plan)
        return [
            (_servers.choose(name, self.table) if name else None, what, members)
            for (name, what), members in found.items()
        ]

    def carry_out(self, plans, groups):
        """Look at every server, write all files, swap server by server, then let old generations go."""
        ahead = [self.look_ahead(server, what, members) for server, what, members in groups]
        for plan in plans:
            if plan.adopt is not None:
                adopted = _handmade.take(plan.slot, plan.adopt)
                if plan.action == "none":
                    plan.result["generation"] = adopted.id
        arrived = [plan for _server, what, members in groups if what == "swap" for plan in members]
        for plan in arrived:
            if plan.item["state"] != "previous":
                self.complete(plan)
        done = []
        for (server, what, members), seen in zip(groups, ahead):
            self.carry_out_group(server, what, members, done, seen)
            done.extend(plan.item["name"] for plan in members)
        for plan in arrived:
            plan.result["pruned"] = _prune.prune(plan.slot, self.keep, plan.previous)

    @staticmethod
    def look_ahead(server, what, members):
        """What the ports serve before anything is written; a server that is stopped or misconfigured ends the run here.

        None where there is no telling yet: what was made by hand becomes live first.
        """
        if what != "swap" or any(plan.adopt is not None for plan in members):
            return None
        return _swap.before_flip(_swap_items(members), server)

    def carry_out_group(self, server, what, members, done, seen):
        items = _swap_items(members)
        try:
            if what == "reload":
                _swap.repair(items, server, self.wait)
            else:
                _swap.swap(items, server, self.wait, seen)
                self.confirm(members)
        except UpkiError as error:
            error.details.setdefault("concerned", [item.name for item in items])
            error.details["done"] = list(done)
            error.details["changed"] = bool(done) or not error.details.get("rolled_back", True)
            raise

    @staticmethod
    def confirm(members):
        """Chains that are served now need no way back any more."""
        for plan in members:
            if plan.action == "chain":
                _mend.ChainSlot.confirm(plan.generation)

    @staticmethod
    def complete(plan):
        """Write the certificate files into the pending generation and load exactly what will be served."""
        chosen = plan.candidate
        plan.slot.sweep()
        if _on_disk(plan.generation) != [_x509.sha256(one) for one in [chosen.certificate] + list(chosen.chain)]:
            chain = "".join(_x509.pem(one) for one in chosen.chain)
            plan.slot.complete(plan.generation, _x509.pem(chosen.certificate), chain)
        _preflight.load_files(plan.generation.file("fullchain.pem"), plan.generation.key_path)

    def rehearse(self, groups):
        """Check mode: everything of the real run that changes nothing."""
        for server, what, members in groups:
            self.look_ahead(server, "swap" if what == "chain" else what, members)


CHAIN_BEGUN = "A run before gave the certificate this chain and did not come to see it served."
NO_REQUEST = "There is neither a certificate nor a request for this name on the host."
UP_TO_DATE = "The live certificate is in place and nothing newer has arrived."


def _since(pending):
    return "The request of {0} waits for its certificate.".format(pending.meta.get("created", pending.id))


def _iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _link(certificate):
    return {
        "subject": _x509.name_text(certificate.subject),
        "sha256": _x509.sha256(certificate),
        "not_after": _iso(_x509.not_after(certificate)),
    }


def _pem(chosen):
    return "".join(_x509.pem(one) for one in [chosen.certificate] + list(chosen.chain))


def _key_of(generation):
    """The hash of a generation's public key, or '' when its files are damaged: an old one must not stop a renewal."""
    try:
        return generation.spki_sha256()
    except UpkiError:
        return ""


def _lost_usage(live, chosen):
    """A notice when the certificate before could be used as a TLS client's and the new one cannot (since G8)."""
    try:
        before = live.certificate() if live is not None else None
        lost = before is not None and CLIENT_AUTH in (_x509.usages(before) or [])
    except UpkiError:
        return []
    if not lost or CLIENT_AUTH in (_x509.usages(chosen.certificate) or [CLIENT_AUTH]):
        return []
    return [
        {
            "code": "no_client_auth",
            "message": "The certificate before could also identify this host as a TLS client (clientAuth), the new one "
            "cannot. Whoever uses it for mail relay, LDAP or the like between servers should look.",
        }
    ]


def _on_disk(generation):
    """SHA-256 of what a complete generation holds; [] when it is not complete or damaged."""
    try:
        standing = _standing(generation) if generation.has("fullchain.pem", "chain.pem") else None
    except UpkiError:
        return []
    return [] if standing is None else [_x509.sha256(one) for one in [standing.certificate] + list(standing.chain)]


def _fields_of(generation):
    """fields() of a generation, which may be damaged when it is about to be replaced."""
    try:
        return fields(_standing(generation))
    except UpkiError as error:
        return "{0}\n".format(error.message)


def _standing(generation):
    """What a complete generation holds, as a Candidate; None when it has no certificate."""
    certificate = generation.certificate()
    if certificate is None:
        return None
    return Candidate(certificate, generation.chain(), generation.file("certificate.pem"), None, [])


def _reads(plan, place, seen):
    """False when a port is seen to send another chain than the files of the store."""
    sent = _probe.sent_chain(seen, place.host, place.port, plan.item["name"], place.starttls)
    if sent is None:
        return True
    try:
        served = [_x509.certificate_from_der(one) for one in sent[1:]]
    except UpkiError:
        return False
    return _without_roots(served) == _without_roots(plan.candidate.chain)


def _without_roots(chain):
    return [one for one in chain if not _x509.is_self_signed(one)]


def _no_chain(chosen):
    return UpkiError(
        chosen.error["code"],
        "The certificate in '{0}' cannot go live: {1}".format(chosen.file, chosen.error["message"]),
        chosen.error.get("fix", ""),
    )


def _swap_items(members):
    return [_swap_item(plan.item, plan.slot, plan.generation, plan.candidate, plan.action) for plan in members]


def _swap_item(item, slot, generation, chosen, action=""):
    chain = [_x509.der(one) for one in chosen.chain] if action == "chain" else None
    return _swap.Item(
        item["name"], slot, generation, _x509.der(chosen.certificate), item["places"], item["links"], chain
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
        "not before: {0}".format(_iso(_x509.not_before(chosen.certificate))),
        "not after: {0}".format(_iso(_x509.not_after(chosen.certificate))),
        "chain:",
    ]
    lines += ["  - {0}".format(_x509.name_text(one.subject)) for one in chosen.chain]
    return "\n".join(lines) + "\n"

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From issued certificates to live ones: plan all, complete the generations, swap server by server.

Everything is decided before anything changes: one faulty certificate stops all of this host's, with all faults told.
"""

import collections
import datetime

from ansible_collections.campus.upki.plugins.module_utils import (
    _asked,
    _handmade,
    _health,
    _inventory,
    _mend,
    _plan,
    _preflight,
    _prune,
    _servers,
    _swap,
    _told,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store

UTC = datetime.timezone.utc


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
        self.planner = _plan.Planner(params, self.store, now)
        self.items = [_asked.item(entry, self.table, self.store.path) for entry in params["certificates"]]
        _asked.refuse_twice(self.items)

    def foresee(self):
        """(plans, groups): what is to be done, or one error that tells all faults. Nothing is changed."""
        plans, errors = [], []
        for item in self.items:
            damage = _health.problems(self.store.certificate(item["name"]))
            errors.extend((item["name"], UpkiError(**problem)) for problem in damage)
            try:
                plans.extend([] if damage else [self.planner.plan(item)])
            except UpkiError as error:
                errors.append((item["name"], error))
        if errors:
            raise _told.together(errors)
        return plans, self.groups(plans)  # which also says whether the commands are there

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

    def answer(self, plans):
        """The module's result."""
        results = [plan.result for plan in plans]
        return {
            "changed": any(result["changed"] for result in results),
            "certificates": results,
            "inventory": self.inventory(),
            "ignored": _told.ignored(plans, self.planner.candidates),
            "warnings": self.planner.warnings,
            "diff": [_told.difference(plan) for plan in plans if plan.action in ("swap", "chain")],
        }

    def inventory(self):
        """What is in the store now, which spares campus.upki.verify another exchange with the host."""
        names = [item["name"] for item in self.items]
        return _inventory.inventory(self.store.path, names, self.now.timestamp()) if names else []

    # --- doing ---------------------------------------------------------------------------------------------

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


def _on_disk(generation):
    """SHA-256 of what a complete generation holds; [] when it is not complete or damaged."""
    try:
        standing = _plan.standing_of(generation) if generation.has("fullchain.pem", "chain.pem") else None
    except UpkiError:
        return []
    return [] if standing is None else [_x509.sha256(one) for one in [standing.certificate] + list(standing.chain)]


def _swap_items(members):
    return [_plan.swap_item(plan.item, plan.slot, plan.generation, plan.candidate, plan.action) for plan in members]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do for one certificate: match by public key, check, and compare what is live with the store and the wire.

Nothing is changed here; whatever speaks against an installation is raised before anything is.
"""

import collections
import os

from ansible_collections.campus.upki.plugins.module_utils import (
    _asked,
    _foreign,
    _handmade,
    _links,
    _mend,
    _preflight,
    _probe,
    _prune,
    _served_chain,
    _swap,
    _told,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._asked import Candidate
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
CHAIN_BEGUN = "A run before gave the certificate this chain and did not come to see it served."
NO_REQUEST = "There is neither a certificate nor a request for this name on the host."
UP_TO_DATE = "The live certificate is in place and nothing newer has arrived."

# What to do for one certificate. action: swap, chain (another chain for what is live), reload or none.
# before: what was live, as text for diff mode. previous: the generation that was live. adopt: Material to take first.
Plan = collections.namedtuple("Plan", "item slot action generation candidate result before previous adopt")
Plan.__new__.__defaults__ = ("", None, None)


class Planner(object):
    """Plans for the certificates of one host, from the module's options. warnings: what it came to know besides."""

    def __init__(self, params, store, now):
        self.store, self.now = store, now
        self.mend = params.get("mend_chain") is not False
        self.authorities = _asked.certificates(params.get("authorities"))
        self.roots = _asked.certificates(params.get("anchors"))
        self.candidates = [_asked.candidate(entry) for entry in params.get("candidates") or []]
        self.unusable = params.get("unusable") or []
        self.others = params.get("others") or ""
        self.warnings = []

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
        if not matching and _foreign.has(self.others, spki):
            raise UpkiError(
                "names_missing",
                "The key of {0}'s request is that of {1}, which does not name it.".format(
                    item["name"], _foreign.known_as(spki)
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
        _preflight.load(pem_of(chosen), pending.key_path)

    def refuse_wrong_key(self, item, slot, pending):
        """A certificate for this name that no generation of this host has the key of."""
        own = {_told.key_of(generation) for generation in slot.generations()} | set(_prune.keys(slot))
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

    # --- the plans -----------------------------------------------------------------------------------------

    def swap_plan(self, item, slot, pending, live, chosen):
        reason = "The certificate for the pending request is in '{0}'.".format(chosen.file)
        result = _told.row(item, "live", chosen, "installed", reason, True)
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
            return plan._replace(before=_told.fields(standing), adopt=material)
        reason = "The certificate in '{0}' was taken over as the first generation.".format(standing.file)
        state = "renewing" if pending is not None else "live"
        result = _told.row(item, state, standing, "adopted", reason, True)
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
        chosen = standing_of(target)
        if chosen is None:
            raise UpkiError(
                "certificate_broken",
                "The generation before the live one, '{0}', has no readable certificate.".format(target.path),
                "Restore it from the backup; campus.upki.info lists the others.",
            )
        _preflight.check(chosen, [item["name"]], target.spki_sha256(), self.now)
        _preflight.load_files(target.file("fullchain.pem"), target.key_path)
        reason = "Asked to go back from the generation {0}.".format(live.id)
        result = _told.row(item, "live", chosen, "went_back", reason, True)
        result["generation"] = target.id
        return Plan(item, slot, "swap", target, chosen, result, _fields_of(live), live)

    def quiet_plan(self, item, slot, live, pending):
        """Nothing to install; perhaps a reload that was lost."""
        if live is None:
            state = "pending" if pending is not None else "absent"
            code, reason = ("waiting", _since(pending)) if pending is not None else ("no_request", NO_REQUEST)
            return Plan(item, slot, "none", None, None, _told.row(item, state, None, code, reason, False))
        standing = standing_of(live)
        state = "renewing" if pending is not None else "live"
        if pending is None and standing is not None and self.now > _x509.not_after(standing.certificate):
            state = "expired"
        code, reason = ("waiting", _since(pending)) if pending is not None else ("up_to_date", UP_TO_DATE)
        action, seen = "none", []
        if item["server"] and standing is not None:
            seen = _swap.served(swap_item(item, slot, live, standing))
            action, code, reason = self.compare_wire(item, seen, code, reason)
        wrong = [row["path"] for row in item["links"] if live.has("fullchain.pem") and _links.differs(row, slot, live)]
        if wrong:
            action, code = "reload", "links"
            reason = "Not as it should be: {0}.".format(", ".join("'{0}'".format(path) for path in wrong))
        result = _told.row(item, state, standing, code, reason, action == "reload")
        result["generation"] = live.id
        plan = Plan(item, slot, action, live, standing, result)
        if standing is None or self.now > _x509.not_after(standing.certificate):
            return plan
        return self.with_good_chain(plan, seen)

    # --- what is live already ------------------------------------------------------------------------------

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
        _preflight.load(pem_of(chosen), live.key_path)
        reason = _served_chain.told(judged) if better else CHAIN_BEGUN
        result = dict(plan.result, changed=True, reason_code="chain_mended", reason=reason)
        result["chain"] = [_told.link(one) for one in chosen.chain]
        slot = _mend.ChainSlot(plan.slot, chosen.certificate, chosen.chain)
        return plan._replace(slot=slot, action="chain", candidate=chosen, result=result, before=_told.fields(standing))

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


def _since(pending):
    return "The request of {0} waits for its certificate.".format(pending.meta.get("created", pending.id))


def pem_of(chosen):
    return "".join(_x509.pem(one) for one in [chosen.certificate] + list(chosen.chain))


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


def _fields_of(generation):
    """fields() of a generation, which may be damaged when it is about to be replaced."""
    try:
        return _told.fields(standing_of(generation))
    except UpkiError as error:
        return "{0}\n".format(error.message)


def standing_of(generation):
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


def swap_item(item, slot, generation, chosen, action=""):
    chain = [_x509.der(one) for one in chosen.chain] if action == "chain" else None
    return _swap.Item(
        item["name"], slot, generation, _x509.der(chosen.certificate), item["places"], item["links"], chain
    )

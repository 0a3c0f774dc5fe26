# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do with one certificate: pure decisions from given facts and a given clock, with the reason of each.

Nothing here reads a file or the time; see _validity.py for moments and _kind.py for the kind of application.
"""

from ansible_collections.campus.upki.plugins.module_utils._kind import KIND_GIVEN, KIND_TEXT, kind_of
from ansible_collections.campus.upki.plugins.module_utils._validity import (
    DAY,
    DEFAULT_LEAD_TIME,
    DEFAULT_RENEW_BEFORE,
    day,
    days_between,
    iso,
    moment,
    parse_iso,
    parse_renew_before,
    renew_at,
    span,
)

URL_DAYS = 30  # source: NII, the mail サーバ証明書発行受付通知メール; its download URL is valid for 30 days

APPLY_ANEW = "To apply anew, run once with state: cancelled for this name, tell the IT centre, and run again."


class Decision(object):
    """What to do, the state that the certificate has after it, and why."""

    # action: none | request (new key) | relink (a request of a killed run) | amend (kind and serial of a pending
    # request, fed back after answer 212) | cancel

    def __init__(self, action, state, reason_code, reason, **more):
        self.action = action
        self.state = state
        self.reason_code = reason_code
        self.reason = reason
        self.kind = more.get("kind")
        self.kind_reason = more.get("kind_reason")
        self.kind_reason_code = more.get("kind_reason_code")
        self.serial = more.get("serial")  # of the old certificate, for the record
        self.replaces = more.get("replaces")  # facts of the old certificate
        self.warnings = more.get("warnings", [])


# --- warnings --------------------------------------------------------------------------------------------


def warning(code, message):
    return {"code": code, "message": message}


def subject_warnings(wanted, old):
    """ST, L and O must stand exactly as the institution registered them; an earlier certificate shows how."""
    if old is None or not old["upki"]:
        return []
    found = []
    for short, item in (("O", "organization"), ("L", "locality"), ("ST", "state")):
        mine, theirs = wanted["subject"].get(item), old["subject"].get(short, "")
        if mine == theirs or not theirs:
            continue
        how = "only in upper and lower case" if mine.lower() == theirs.lower() else "in its text"
        found.append(
            warning(
                "subject_differs",
                "subject.{item} ({short}) is '{mine}', but the certificate from {source} has '{theirs}': they differ "
                "{how}. The CA refuses what is not registered for the institution.".format(
                    item=item, short=short, mine=mine, theirs=theirs, source=old["source"], how=how
                ),
            )
        )
    return found


def time_warnings(live, renew_before, lead_time, now):
    """What is odd about the clock and the threshold, seen with this certificate."""
    found = []
    if now < live["not_before"]:
        found.append(
            warning(
                "clock_behind",
                "The host's clock says {0}, but the certificate is valid from {1} on; check the host's time.".format(
                    iso(now), iso(live["not_before"])
                ),
            )
        )
    before_end, gave_way = span(live["not_after"] - live["not_before"], renew_before)
    if gave_way:
        found.append(
            warning(
                "renew_before_too_long",
                "renew_before is {0} days, but the certificate lives only {1} days; using {2} of its lifetime.".format(
                    renew_before.days, days_between(live["not_before"], live["not_after"]), DEFAULT_RENEW_BEFORE
                ),
            )
        )
    if before_end < lead_time * DAY:
        found.append(
            warning(
                "renew_before_short",
                "renew_before leaves {0} days, fewer than the lead_time of {1} days that the application takes.".format(
                    int(before_end // DAY), lead_time
                ),
            )
        )
    return found


def pending_warnings(pending, now):
    """A request that waits for longer than the download URL lives, or that comes from the future."""
    created = pending["created"]
    if created is None:
        return []
    age = days_between(created, now)
    if age < 0:
        return [
            warning(
                "clock_behind",
                "The pending request was made at {0}, later than the host's clock ({1}); check the host's time.".format(
                    iso(created), iso(now)
                ),
            )
        ]
    if age > URL_DAYS:
        return [
            warning(
                "pending_old",
                "The request has been pending for {0} days; the download URL of the CA's mail is valid for {1} days. "
                "Ask the IT centre whether the certificate was issued, or give the request up "
                "(state: cancelled).".format(age, URL_DAYS),
            )
        ]
    return []


COMPARED = (
    ("dns_names", "dns_names"),
    ("key_type", "key_type"),
    ("organization", "subject.organization"),
    ("locality", "subject.locality"),
    ("state", "subject.state"),
    ("software", "software"),
    ("manager_name", "manager.name"),
    ("manager_affiliation", "manager.affiliation"),
    ("manager_email", "manager.email"),
)


def differences(wanted, stored):
    """['item: 'requested' → 'wanted now'', …] between two flat views, see flat()."""
    return [
        "{0}: '{1}' → '{2}'".format(item, _show(stored.get(key)), _show(wanted.get(key)))
        for key, item in COMPARED
        if (stored.get(key) or None) != (wanted.get(key) or None)
    ]


def _show(value):
    return ", ".join(value) if isinstance(value, (list, tuple)) else (value or "")


def flat(name, subject, dns_names, key_type, software, manager):
    """The comparable view of a request; the FQDN among the dNSNames and their order make no difference."""
    view = {key: subject.get(key) for key in ("organization", "locality", "state")}
    view.update({"manager_" + key: manager.get(key) for key in ("name", "affiliation", "email")})
    view.update(dns_names=sorted(set(dns_names) - {name}), key_type=key_type, software=software)
    return view


# --- the decision ----------------------------------------------------------------------------------------


def decide(wanted, facts, now, renew_before, lead_time=DEFAULT_LEAD_TIME):
    """The Decision for one certificate.

    wanted: name, subject, dns_names, key_type, flat (see flat()), state, and perhaps kind and serial.
    facts: live (facts of a certificate or None), olds (all earlier ones, newest first), pending and orphan
    (generation, created, flat, kind, serial, replaces; or None).
    now: seconds since 1970. renew_before: text, Fraction or timedelta.
    """
    now = moment(now)
    if isinstance(renew_before, str):
        renew_before = parse_renew_before(renew_before)
    live = facts["live"]
    if wanted.get("state") == "cancelled":
        decision = _cancelled(facts, now)
    elif facts["pending"]:
        decision = _pending(wanted, facts, now)
    elif facts["orphan"] and not differences(wanted["flat"], facts["orphan"]["flat"]):
        decision = _relink(facts, now)
    else:
        decision = _from_live(wanted, facts, now, renew_before)
    if live:
        decision.warnings.extend(time_warnings(live, renew_before, lead_time, now))
    return decision


def resting_state(live, now):
    """The state of a name for which nothing is pending."""
    if live is None:
        return "absent"
    return "live" if now < live["not_after"] else "expired"


def _waiting_state(facts, request, now):
    """'renewing' while the certificate that a pending request replaces is still in force, else 'pending'."""
    end = facts["live"]["not_after"] if facts["live"] else None
    if end is None and request.get("replaces"):
        end = parse_iso(request["replaces"].get("not_after"))
    return "renewing" if end is not None and now < end else "pending"


def _cancelled(facts, now):
    state = resting_state(facts["live"], now)
    target = facts["pending"] or facts["orphan"]
    if target is None:
        return Decision("none", state, "nothing_pending", "No request is pending, so there is nothing to give up.")
    reason = "The request {0} is given up as asked; its key and record stay in the store.".format(target["generation"])
    given_up = warning(
        "given_up",
        "The application of the request that was given up stays in its TSV file. Where that has not been mailed, take "
        "the application out of it (or delete the file, if it holds no other); where it has, tell the IT centre.",
    )
    return Decision("cancel", state, "cancelled", reason, kind=target["kind"], warnings=[given_up])


def _pending(wanted, facts, now):
    pending = facts["pending"]
    state = _waiting_state(facts, pending, now)
    warnings = pending_warnings(pending, now)
    if wanted.get("kind") and (wanted["kind"], wanted.get("serial")) != (pending["kind"], pending["serial"]):
        reason = "The pending request becomes {0}{1} as asked; its key and CSR stay.".format(
            KIND_TEXT[wanted["kind"]], " of serial {0}".format(wanted["serial"]) if wanted.get("serial") else ""
        )
        return Decision(
            "amend",
            state,
            "kind_given",
            reason,
            kind=wanted["kind"],
            kind_reason=KIND_GIVEN,
            kind_reason_code="kind_given",
            serial=wanted.get("serial"),
            warnings=warnings,
        )
    since = day(pending["created"]) if pending["created"] else "an unknown day"
    reason = "The request {0} has been pending since {1}.".format(pending["generation"], since)
    code = "pending"
    changed = differences(wanted["flat"], pending["flat"])
    if changed:
        code = "pending_differs"
        reason += " It stays as it was sent, although other values are wanted now ({0}).".format("; ".join(changed))
        warnings.append(
            warning(
                code,
                reason + " " + APPLY_ANEW,
            )
        )
    return Decision("none", state, code, reason, kind=pending["kind"], serial=pending["serial"], warnings=warnings)


def _relink(facts, now):
    orphan = facts["orphan"]
    reason = "The request {0} of a run that was interrupted is complete and fits; it becomes the pending one.".format(
        orphan["generation"]
    )
    state = _waiting_state(facts, orphan, now)
    return Decision("relink", state, "interrupted", reason, kind=orphan["kind"], serial=orphan["serial"])


def _from_live(wanted, facts, now, renew_before):
    """Nothing is pending: is a new request due?"""
    code, reason = _due(wanted, facts, now, renew_before)
    live = facts["live"]
    old = live or (facts["olds"][0] if facts["olds"] else None)
    warnings = subject_warnings(wanted, old)
    if facts["orphan"]:
        changed = differences(wanted["flat"], facts["orphan"]["flat"])
        warnings.append(
            warning(
                "orphan_differs",
                "The request {0} of an interrupted run is not used, because other values are wanted now ({1}). "
                "Its key stays in the store; state: cancelled puts it aside for good.".format(
                    facts["orphan"]["generation"], "; ".join(changed)
                ),
            )
        )
    if code in ("live", "adopted"):
        warnings.extend(_live_warnings(wanted, live))
        return Decision("none", "live", code, reason, warnings=warnings)
    warnings.extend(_manager_warnings(wanted["flat"]))
    kind, kind_code, kind_reason, replaced = kind_of(wanted, facts["olds"])
    state = "renewing" if live and now < live["not_after"] else "pending"
    serial = wanted.get("serial") if kind_code == "kind_given" else (replaced or {}).get("serial")
    return Decision(
        "request",
        state,
        code,
        "{0} Application {1}: {2}.".format(reason, KIND_TEXT[kind], kind_reason),
        kind=kind,
        kind_reason=kind_reason,
        kind_reason_code=kind_code,
        serial=serial if kind == "server_renew" else None,
        replaces=replaced if replaced and replaced["upki"] else None,
        warnings=warnings,
    )


def _due(wanted, facts, now, renew_before):
    """(reason code, sentence); 'live' and 'adopted' mean that nothing is due."""
    live = facts["live"]
    if live is None:
        return "absent", "There is no certificate and no request of this name."
    if now >= live["not_after"]:
        return "expired", "The certificate from {0} has expired on {1}.".format(live["source"], day(live["not_after"]))
    at = renew_at(live["not_before"], live["not_after"], renew_before)
    if now >= at:
        return "due", "The certificate from {0} ends on {1} and has been due since {2}.".format(
            live["source"], day(live["not_after"]), day(at)
        )
    missing = [name for name in wanted["flat"]["dns_names"] if name not in live["requested_names"]]
    if missing:
        return "names_differ", "The certificate from {0} was not requested for {1}.".format(
            live["source"], ", ".join(missing)
        )
    reason = "The certificate from {0} is valid until {1} and due from {2} on.".format(
        live["source"], day(live["not_after"]), day(at)
    )
    return ("live" if live["generation"] else "adopted"), reason


def _manager_warnings(view):
    """Columns 8 and 9 may be empty; the CA's mails address the manager by them."""
    empty = [item for key, item in COMPARED if key in ("manager_name", "manager_affiliation") and not view.get(key)]
    if not empty:
        return []
    return [
        warning(
            "manager_empty",
            "{0} is not given; the CA's mails address the manager by it, so it is better filled in.".format(
                " and ".join(empty)
            ),
        )
    ]


def _live_warnings(wanted, live):
    found = []
    if live["key_type"] != wanted["key_type"]:
        found.append(
            warning(
                "key_type_differs",
                "key_type is {0}, but the certificate in force has a {1} key; the next request will have {0}.".format(
                    wanted["key_type"], live["key_type"]
                ),
            )
        )
    return found

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was observed at an endpoint to its result: pure functions, the time is an argument."""

import datetime
import functools
import platform

from ansible_collections.campus.upki.plugins.module_utils import (
    _cards,
    _catalogue,
    _judge_chain,
    _lifecycle,
    _stores,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._findings import finding
from ansible_collections.campus.upki.plugins.module_utils._match import address, covers, covers_any
from ansible_collections.campus.upki.plugins.module_utils._where import where

DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)
BROKEN_HASHES = ("md2", "md4", "md5", "sha1")
OLD_VERSIONS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")
# Errors that are no reason for OpenSSL to refuse a chain.
NOT_ABOUT_TRUST = ("name_mismatch", "names_missing", "unexpected_certificate", "old_protocol")
SMALLEST_RSA = 2048
SMALLEST_CURVE = 256

# The longest validity in days by the day of issue, newest first.
# Sources: CA/Browser Forum, Baseline Requirements 6.3.2; NII, UPKI certificate issuing service, notices on validity.
FORUM_LIMITS = (("2029-03-15", 47), ("2027-03-15", 100), ("2026-03-15", 200), ("2020-09-01", 398))
UPKI_LIMITS = (("2029-03-15", 47), ("2027-03-15", 100), ("2026-03-04", 198), ("2020-08-25", 396))


class Surroundings(object):
    """What all endpoints of one run share: trust store, known certificates, time, when to warn."""

    def __init__(self, anchors, store, known, now, warn_before, stores=()):
        self.anchors = anchors
        self.stores = stores  # [(name, anchors)]: further ones whose verdict is wanted
        self.store = store
        self.known = known
        self.now = now.replace(microsecond=0)  # certificates know whole seconds
        self.warn_before = warn_before


def judge(seen, wanted, around):
    """The result of one endpoint. wanted: certificate_sha256 (or None) and dns_names of the endpoint."""
    _cards.believe(seen.get("verified") or ())
    cards, findings = _read_chain(seen["chain"])
    findings = _connection(seen) + findings
    result = {"certificate": None, "chain": [describe(row) for row in cards], "days_left": None, "stores": {}}
    if cards:
        leaf = cards[0]
        findings += _leaf(leaf, seen["server_name"], wanted, around)
        findings += _chain(seen, cards, around)
        findings += _verdict(seen, findings, around)
        if seen["whole_chain"] and around.stores:
            result["stores"], more = _stores.check(cards, around)
            findings += more
        result["certificate"] = describe_leaf(leaf)
        result["days_left"] = (leaf["not_after"] - around.now) // DAY
    for key in ("host", "port", "server_name", "starttls", "address", "trusted", "file", "attempts"):
        result[key] = seen.get(key)
    result.update(tls_version=seen["version"], cipher=seen["cipher"], findings=findings)
    result["ok"] = not any(row["severity"] == "error" for row in findings)
    return result


def _read_chain(ders):
    """(cards, findings about what cannot be read); without a readable leaf there are no cards."""
    cards, findings = [], []
    for position, der in enumerate(ders, 1):
        card, reason = _card(der) if position == 1 else _shared_card(der)
        if not reason:
            cards.append(card)
            continue
        findings.append(finding("certificate_unreadable", position=position, text=reason))
        if position == 1:
            return [], findings
    return cards, findings


def _card(der):
    """(the card, '') of a certificate's bytes, or (None, why it cannot be read)."""
    certificate, reason = _load(der)
    return (None, reason) if reason else (_cards.card(certificate), "")


# A fleet shares its intermediates; nobody changes a card.
_shared_card = functools.lru_cache(maxsize=500)(_card)


def _load(der):
    try:
        certificate = _x509.certificate_from_der(der)
    except Exception as error:  # whatever hostile bytes make the library raise: it is a finding, not a crash
        return None, str(error) or type(error).__name__
    return certificate, _x509.unreadable(certificate)


# --- the connection ----------------------------------------------------------------------------------------


def _connection(seen):
    if seen["error"]:
        values = {
            "where": where(seen),
            "host": seen["host"],
            "server_name": seen["server_name"],
            "starttls": seen.get("starttls"),
            "seconds": "{0:g}".format(seen.get("seconds") or 0),
            "phase": seen["error"]["phase"],
            "text": seen["error"]["text"],
            "version": "nothing newer than TLS 1.1",
        }
        if seen.get("without_name"):
            return [finding("handshake_failed", "with_name", names=_names_of(seen["without_name"]), **values)]
        return [finding(_connection_code(seen), seen["error"].get("variant", "usual"), **values)]
    findings = []
    if seen.get("earlier"):
        reasons = ", ".join(seen["earlier"])
        findings.append(finding("retried", where=where(seen), attempts=seen["attempts"], reasons=reasons))
    if seen["version"] in OLD_VERSIONS:
        findings.append(finding("old_protocol", where=where(seen), version=seen["version"]))
    return findings


def _names_of(der):
    """The names of a certificate for a sentence."""
    certificate, reason = _load(der)
    return "an unreadable one" if reason else _shown(certificate)


def _connection_code(seen):
    """An address is never sent as a server name, so a refused handshake then means that a name is wanted."""
    code = seen["error"]["code"]
    return "sni_required" if code == "handshake_failed" and address(seen["server_name"]) else code


# --- the server certificate --------------------------------------------------------------------------------


def _leaf(leaf, server_name, wanted, around):
    findings = _validity(leaf, around) + _names(leaf, server_name, wanted.get("dns_names") or [])
    findings += _purpose(leaf) + _unit(leaf) + _strength(leaf) + _lifetime(leaf)
    expected = wanted.get("certificate_sha256")
    if expected and expected != leaf["sha256"]:
        values = {
            "found": leaf["sha256"],
            "expected": expected,
            "serial": leaf["certificate"].serial_number,
            "not_after": day(leaf["not_after"]),
        }
        findings.insert(0, finding("unexpected_certificate", **values))
    return findings


def day(moment):
    """A date for a sentence."""
    return moment.strftime("%Y-%m-%d")


def _days(span):
    count = span // DAY
    return "1 day" if count == 1 else "{0} days".format(count) if count else "less than a day"


def _validity(leaf, around):
    if around.now < leaf["not_before"]:
        return [finding("not_yet_valid", not_before=leaf["not_before"].strftime("%Y-%m-%d %H:%M UTC"))]
    if around.now > leaf["not_after"]:
        return [finding("expired", days=_days(around.now - leaf["not_after"]), not_after=day(leaf["not_after"]))]
    start = _lifecycle.renew_at(leaf["not_before"], leaf["not_after"], around.warn_before)
    if around.now >= start:
        return [
            finding(
                "expires_soon",
                days=_days(leaf["not_after"] - around.now),
                not_after=day(leaf["not_after"]),
                warn_before=day(start),
            )
        ]
    return []


def _shown(certificate):
    names = _x509.dns_names(certificate) + _x509.ip_addresses(certificate)
    return ", ".join("'{0}'".format(name) for name in names[:20]) or "no name at all"


def _names(leaf, server_name, dns_names):
    names, addresses = _x509.dns_names(leaf["certificate"]), _x509.ip_addresses(leaf["certificate"])
    shown = _shown(leaf["certificate"])
    findings = []
    if server_name and not covers_any(names, addresses, server_name):
        findings.append(finding("name_mismatch", names=shown, server_name=server_name))
    missing = [name for name in dns_names if not any(covers(have, name) for have in names)]
    if missing:
        text = ", ".join("'{0}'".format(name) for name in missing)
        findings.append(finding("names_missing", missing=text, names=shown))
    return findings


def _purpose(leaf):
    findings = []
    if leaf["ca"] and not leaf["root"]:
        findings.append(finding("ca_certificate", subject=_cards.label(leaf)))
    if not leaf["server_auth"]:
        findings.append(finding("wrong_eku", usages=", ".join(_cards.usage_names(leaf)) or "empty"))
    return findings


def _unit(leaf):
    """Source: NII, UPKI certificate issuing service, which kind to apply for after the abolition of OU."""
    unit = _x509.name_value(leaf["certificate"].subject, "OU")
    return [finding("ou_in_subject", ou=unit)] if unit and is_upki(leaf) else []


def is_upki(leaf):
    """True for what a CA of UPKI's server certificates issued."""
    return "NII Open Domain CA" in leaf["issuer"]


def _strength(row):
    """Weak key or signature of any certificate of the chain."""
    key = row["certificate"].public_key()
    findings = []
    if _x509.weak_key(key, SMALLEST_RSA, SMALLEST_CURVE):
        findings.append(finding("weak_key", subject=_cards.label(row), key=_x509.key_type(key)))
    digest = _x509.signature_hash(row["certificate"])
    if digest in BROKEN_HASHES and not row["root"]:
        findings.append(finding("weak_signature", subject=_cards.label(row), hash=digest))
    return findings


def _lifetime(leaf):
    """Both ends of the validity belong to it, hence the second."""
    span = leaf["not_after"] - leaf["not_before"] + SECOND
    upki = is_upki(leaf)
    source = "UPKI" if upki else "CA/Browser Forum"
    issued = day(leaf["not_before"])
    for since, limit in UPKI_LIMITS if upki else FORUM_LIMITS:
        if issued >= since:
            # UPKI counts from second to second, so that its certificates live a second longer than the days.
            if span > limit * DAY + (SECOND if upki else 0 * SECOND):
                return [finding("lifetime_too_long", days=-(-span // DAY), issued=issued, limit=limit, source=source)]
            return []
    return []


# --- the chain ---------------------------------------------------------------------------------------------


def _chain(seen, cards, around):
    if not seen["whole_chain"]:
        return [finding("chain_unknown", python=platform.python_version())]
    chain = _judge_chain.Chain(cards, around.anchors, around.known, around.now, around.store)
    findings = _judge_chain.judge(chain, seen["trusted"])
    for row in chain.path[1:] + ([chain.anchor] if chain.anchor else []):
        findings += [] if row["sha256"] == cards[0]["sha256"] else _strength(row)
    return findings


def issued_pairs(seen, around):
    """(certificate, issuer) cards of the path of an observation, up to the store's own; for revocation."""
    cards, _findings = _read_chain(seen["chain"])
    if not cards:
        return []
    path = _judge_chain.Chain(cards, around.anchors, around.known, around.now, around.store).whole()
    return list(zip(path, path[1:]))


def at_hand(seen, around):
    """All readable certificates that were sent or that the operator gave, as cards."""
    cards, _findings = _read_chain(seen["chain"])
    return cards + [row for row in around.known if row["certificate"] is not None]


def _verdict(seen, findings, around):
    """OpenSSL's refusal, where none of our findings explains it."""
    codes = [row["code"] for row in findings if row["severity"] == "error"]
    if seen["trusted"] is not False or any(code not in NOT_ABOUT_TRUST for code in codes):
        return []
    return [finding("untrusted_root", "openssl", store=around.store, text=seen["verify_text"])]


# --- what the result shows ---------------------------------------------------------------------------------


def describe(row):
    """One certificate of the chain for the result."""
    return {
        "subject": row["subject"],
        "issuer": row["issuer"],
        "sha256": row["sha256"],
        "not_before": row["not_before"].strftime(_cards.STAMP),
        "not_after": row["not_after"].strftime(_cards.STAMP),
        "generation": row["generation"],
        "role": _role(row),
    }


def _role(row):
    if row["root"]:
        return "root"
    if not row["ca"]:
        return "leaf"
    return "cross" if row["cross"] else "intermediate"


def describe_leaf(row):
    """The server certificate for the result."""
    certificate = row["certificate"]
    key = certificate.public_key()
    return dict(
        describe(row),
        serial=str(certificate.serial_number),
        dns_names=_x509.dns_names(certificate),
        ip_addresses=_x509.ip_addresses(certificate),
        key_type=_x509.key_type(key),
        spki_sha256=_x509.spki_sha256(key),
        generation=_issuer_generation(row),
    )


def _issuer_generation(row):
    """Of the UPKI intermediate that issued it: 'G8' for example, '' for other CAs."""
    rows = _catalogue.by_key(row["issuer"], row["issuer_key_id"], ("intermediate",))
    return rows[0]["generation"] if rows and row["issuer_key_id"] else ""

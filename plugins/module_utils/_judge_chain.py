# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a served chain, as a pure function of cards, the trust store, what is known, and the time.

The chain is judged as a strict client does it: only what the server sent and the trust store count. What is known
besides (the catalogue of the CA's certificates, folders that the operator gave) serves to name what is missing.
"""

from ansible_collections.campus.upki.plugins.module_utils import _cards, _path
from ansible_collections.campus.upki.plugins.module_utils._findings import finding

MAX_LENGTH = 10
MAX_STEPS = 2000  # signature checks; a hostile server may send many certificates of one name
MAX_EXAMINED = 20  # complete paths whose rules are checked before the best is taken as it is


class Chain(object):
    """One served chain (cards, the leaf first) in the light of a trust store."""

    def __init__(self, served, anchors, known, now, store):
        self.sent = served
        self.leaf = served[0]
        self.anchors = anchors
        self.known = known
        self.now = now
        self.store = store
        self.served = _unique(served)
        self.roots = [row for row in self.served[1:] if row["root"]]
        self.steps = 0
        self.faultless = None
        paths = list(self._paths([self.leaf]))
        self.path = self._best(paths)
        self.longest = max(paths, key=lambda path: (path[: len(self.path)] == self.path, len(path)))
        self.anchor = self._anchor(self.path)
        reached = {row["sha256"] for path in paths for row in path}
        self.strangers = [row for row in self.served if not row["root"] and row["sha256"] not in reached]

    def _paths(self, path):
        """All paths upwards from the last member over what was served, the shorter ones before the longer."""
        yield path
        if len(path) >= MAX_LENGTH:
            return
        taken = [row["sha256"] for row in path]
        for row in self.served[1:]:
            self.steps += 1
            if self.steps > MAX_STEPS:
                return
            if row["sha256"] not in taken and not row["root"] and _cards.issues(row, path[-1]):
                yield from self._paths(path + [row])

    def _worth(self, path):
        """Ended at the store, every member fit, as long as possible: in this order."""
        fit = all(_cards.valid(row, self.now) and row["server_auth"] for row in path[1:])
        return (self._anchor(path) is not None, fit, len(path))

    def _best(self, paths):
        """The worthiest path; of those that are anchored and fit, the first that breaks no rule."""
        ranked = sorted(paths, key=self._worth, reverse=True)
        good = [path for path in ranked if self._worth(path)[:2] == (True, True)]
        for path in good[:MAX_EXAMINED]:
            if not _path.faults(self.certificates(path)):
                self.faultless = path
                return path
        return ranked[0]

    def certificates(self, path):
        """A path's certificates with the store's own as the last step."""
        return [row["certificate"] for row in self._whole(path)]

    def whole(self):
        """The chosen path's cards with the store's own as the last step."""
        return self._whole(self.path)

    def _whole(self, path):
        anchor = self._anchor(path)
        return path + ([anchor] if anchor and anchor["sha256"] != path[-1]["sha256"] else [])

    def _anchor(self, path):
        """The store's certificate that ends the path, or None."""
        top = path[-1]
        for row in self.anchors.get(top["subject"], ()):
            if row["sha256"] == top["sha256"]:
                return row
        for row in self.anchors.get(top["issuer"], ()):
            if _cards.issues(row, top) and _cards.valid(row, self.now):
                return row
        return None

    def needed(self, top):
        """What is known to have signed `top` and is fit to be served, the one with the longest validity; or None."""
        rows = [
            row
            for row in self.known
            if not row["root"] and row["server_auth"] and _cards.valid(row, self.now) and _cards.issues(row, top)
        ]
        return max(rows, key=lambda row: (bool(row["file"]), row["not_after"])) if rows else None


def _unique(rows):
    seen = set()
    return [row for row in rows if not (row["sha256"] in seen or seen.add(row["sha256"]))]


def judge(chain, accepted=None):
    """All findings about the chain. accepted: OpenSSL's own verdict, None where there is none."""
    findings = _shape(chain) + _members(chain)
    if chain.anchor is None and not accepted:
        findings += _broken_end(chain)
    else:
        findings += _rules(chain) + _narrow_end(chain)
    return findings


# --- shape: order, duplicates, roots, strangers --------------------------------------------------------------


def _shape(chain):
    return _order(chain) + _duplicates(chain) + _roots(chain) + _strangers(chain)


def _order(chain):
    places = [chain.served.index(row) for row in chain.longest]
    if places == sorted(places):
        return []
    found = [_cards.label(row) for row in chain.served if row in chain.longest]
    return [
        finding("chain_order", found=_arrows(found), expected=_arrows([_cards.label(row) for row in chain.longest]))
    ]


def _arrows(labels):
    return " → ".join("'{0}'".format(text) for text in labels)


def _duplicates(chain):
    findings = []
    for row in chain.served:
        places = [str(place) for place, sent in enumerate(chain.sent, 1) if sent["sha256"] == row["sha256"]]
        if len(places) > 1:
            findings.append(
                finding("chain_duplicate", subject=_cards.label(row), times=len(places), places=", ".join(places))
            )
    return findings


def _roots(chain):
    return [finding("root_included", subject=_cards.label(row)) for row in chain.roots]


def _strangers(chain):
    """Unneeded certificates of a chain that holds; in a broken one they are part of the explanation below."""
    explained = chain.anchor is None and not chain.leaf["root"] and _wrong(chain, None)
    if not chain.strangers or explained:
        return []
    labels = ", ".join("'{0}'".format(_cards.label(row)) for row in chain.strangers)
    count = "1 certificate" if len(chain.strangers) == 1 else "{0} certificates".format(len(chain.strangers))
    return [finding("extra_certificates", count=count, subjects=labels)]


# --- members: validity and purpose of each intermediate ------------------------------------------------------


def _members(chain):
    findings = []
    for child, row in zip(chain.path, chain.path[1:]):
        if not _cards.valid(row, chain.now):
            findings.append(_expired_member(chain, child, row))
        if not row["server_auth"]:
            findings.append(_not_for_servers(chain, child, row))
    return findings


def _expired_member(chain, child, row):
    values = {
        "subject": _cards.label(row),
        "not_before": row["not_before"].strftime("%Y-%m-%d"),
        "not_after": row["not_after"].strftime("%Y-%m-%d"),
    }
    needed = chain.needed(child)
    if needed is None:
        return finding("chain_expired", **values)
    file, origin = _cards.origin(needed)
    return finding("chain_expired", "known", file=file, origin=origin, **values)


def _not_for_servers(chain, child, row):
    file, origin = _source(chain.needed(child), child)
    return finding(
        "wrong_intermediate",
        "usage",
        served=_cards.label(row),
        usages=", ".join(_cards.usage_names(row)),
        file=file,
        origin=origin,
    )


def _rules(chain):
    """What the path breaks of the rules for every step; the store's own certificate is the last step."""
    path = chain.certificates(chain.path)
    reasons = [] if chain.path is chain.faultless else _path.faults(path)
    some = _path.strict_faults(path)
    findings = [finding("chain_invalid", reasons="; ".join(reasons))] if reasons else []
    return findings + ([finding("strict_clients", reasons="; ".join(some))] if some else [])


# --- the end of the path --------------------------------------------------------------------------------------


def _source(needed, child):
    """(file, where from) of a needed certificate, also where it is not known."""
    if needed is not None:
        return _cards.origin(needed)
    urls = _cards.issuer_urls(child)
    text = "the certificate names {0}".format(urls[0]) if urls else "the CA's repository has it"
    if child["issuer_key_id"]:
        text += ", and its key identifier is {0}".format(child["issuer_key_id"])
    return "the certificate '{0}'".format(_cards.issuer_label(child)), text


def _broken_end(chain):
    """Why no path reaches the trust store: the first gap, and the cross certificate that lacks above it."""
    if chain.leaf["root"]:
        return [finding("self_signed", subject=_cards.label(chain.leaf))]
    top = chain.path[-1]
    needed = chain.needed(top)
    if needed is not None and needed["cross"] and top is not chain.leaf:
        return [_wrong(chain, needed) or _cross(needed, top)]
    return [_wrong(chain, needed) or _gap(chain, needed)] + _cross_above(chain, needed)


def _gap(chain, needed):
    top = chain.path[-1]
    if needed is not None:
        file, origin = _cards.origin(needed)
        values = {"subject": _cards.label(top), "needed": _cards.label(needed), "file": file, "origin": origin}
        return finding("chain_incomplete", "known", **values)
    if top is chain.leaf and not any(_cards.issues(row, top) for row in chain.roots):
        return finding("chain_incomplete", issuer=_cards.issuer_label(top), origin=_source(None, top)[1])
    return finding("untrusted_root", top=_cards.issuer_label(top), store=chain.store)


def _cross_above(chain, needed):
    """The cross certificate that must follow a missing intermediate, where it was not sent either."""
    cross = chain.needed(needed) if needed is not None else None
    sent = [row["sha256"] for row in chain.served]
    if cross is None or not cross["cross"] or cross["sha256"] in sent or _cards.widely_trusted_issuer(needed):
        return []
    return [_cross(cross, needed)]


def _wrong(chain, needed):
    """The finding for a CA certificate that was sent in the place of the one that is needed, or None."""
    top = chain.path[-1]
    file, origin = _source(needed, top)
    for row in chain.strangers:
        if row["subject"] == top["issuer"]:
            return finding(
                "wrong_intermediate",
                "other_key",
                served=_cards.label(row),
                found=row["key_id"] or "unknown",
                expected=top["issuer_key_id"] or "unknown",
                subject=_cards.label(top),
                file=file,
                origin=origin,
            )
    if top is not chain.leaf:
        return None
    for row in chain.strangers:
        if row["ca"] and not row["cross"] and not (needed is not None and _cards.issues(row, needed)):
            return finding(
                "wrong_intermediate",
                "generation",
                issuer=_cards.issuer_label(top),
                served=_cards.label(row),
                file=file,
                origin=origin,
            )
    return None


def _narrow_end(chain):
    """A chain that this store accepts at a root that many clients lack, although a cross certificate exists."""
    top = chain.path[-1]
    needed = chain.needed(top) if top is not chain.leaf else None
    sent = [row["sha256"] for row in chain.served]
    if needed is None or not needed["cross"] or needed["sha256"] in sent or _cards.widely_trusted_issuer(top):
        return []
    return [_cross(needed, top)]


def _cross(needed, top):
    file, origin = _cards.origin(needed)
    return finding(
        "cross_missing",
        top=_cards.label(top),
        needed=_cards.label(needed),
        above=_cards.issuer_label(needed),
        file=file,
        origin=origin,
    )

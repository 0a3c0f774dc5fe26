# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the chain that went live with a certificate still serves, and which one would.

Expired, wrong or too short is a fault. A chain that is merely another one than would be chosen today is none: it stays.
"""

import collections

from ansible_collections.campus.upki.plugins.module_utils import _chain, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

CODE = "chain_outdated"

# fault: '' or a sentence. chain: what to serve instead, or None. fix: what a person can do where there is none.
Judgement = collections.namedtuple("Judgement", "fault chain fix")
GOOD = Judgement("", None, "")


def judge(certificate, chain, pool, roots, now):
    """The Judgement of a live certificate's chain. pool: CA certificates at hand. roots: those that were given."""
    better, error = _best(certificate, list(chain) + list(pool), roots, now)
    fault = (
        _ended(chain, now) or _disorder(certificate, chain, now) or _too_short(certificate, chain, roots, now, better)
    )
    if not fault:
        return GOOD
    told = "{0} The live chain is {1}.".format(fault, _told(chain))
    if better is None or _same(better, chain):
        return Judgement(told, None, error.fix if error is not None else "")
    return Judgement(told, better, "")


def notice(judgement, why_not):
    """{code, message} of a fault that was not mended. why_not: a sentence, or ''."""
    parts = [judgement.fault, why_not, judgement.fix]
    return {"code": CODE, "message": " ".join(part for part in parts if part)}


def told(judgement):
    """The reason for a mended chain."""
    return "{0} Now it is {1}.".format(judgement.fault, _told(judgement.chain))


def _best(certificate, pool, roots, now):
    try:
        return _chain.build(certificate, pool, roots, now).certificates, None
    except UpkiError as error:
        return None, error


def _same(one, other):
    return [_x509.sha256(each) for each in one] == [_x509.sha256(each) for each in other]


def _ended(chain, now):
    ended = [one for one in chain if now > _x509.not_after(one)]
    if not ended:
        return ""
    names = ["'{0}' ({1:%Y-%m-%d})".format(_common_name(one), _x509.not_after(one)) for one in ended]
    return "A certificate of the live chain has expired: {0}.".format(", ".join(names))


def _disorder(certificate, chain, now):
    """The first step of the chain that does not hold; a root at its end is needless and does no harm."""
    lower = certificate
    for number, upper in enumerate(chain):
        word = _chain.refusal(lower, upper, number, now)
        if word == "root" and number == len(chain) - 1 and _chain.has_issuers_key(lower, upper):
            return ""
        if word:
            return "In the live chain '{0}' does not vouch for '{1}': it {2}.".format(
                _common_name(upper), _common_name(lower), _chain.REFUSALS.get(word, "has another name than the issuer")
            )
        lower = upper
    return ""


def _too_short(certificate, chain, roots, now, better):
    """What lacks in a chain whose steps hold. Of a CA that is not known nobody can tell, unless another chain is."""
    alone, error = _best(certificate, chain, roots, now)
    if alone is not None:
        return ""
    known = bool((error.details.get("missing") or {}).get("sha256"))
    if better is None and not known:
        return ""
    if error.code == "cross_missing":
        return error.message
    return "The live chain does not lead to a root that is trusted."


def _told(chain):
    names = ["'{0}' (until {1:%Y-%m-%d})".format(_common_name(one), _x509.not_after(one)) for one in chain]
    return " and ".join(names) or "empty"


def _common_name(certificate):
    return _x509.name_value(certificate.subject, "CN") or _x509.name_text(certificate.subject)

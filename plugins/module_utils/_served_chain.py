# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the chain that went live with a certificate is still the one that would be chosen today.

A chain is never changed under a live certificate: files that servers read stay as they are, and the next generation
brings its own chain. Here is only what to tell the operator.
"""

from ansible_collections.campus.upki.plugins.module_utils import _chain, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

CODE = "chain_outdated"


def notices(certificate, chain, rivals, now):
    """[{code, message}] for a live certificate and its chain; [] when all is well.

    rivals: chains for the same certificate that the controller chose from its folders now.
    """
    why = _expired(chain, now) or _other(chain, rivals) or _cross(certificate, chain, now)
    if not why:
        return []
    left = max((_x509.not_after(certificate) - now).days, 0)
    advice = (
        "The files were left as they are, because a chain goes live with its certificate: the next renewal brings the "
        "right one. To have it sooner, renew now: campus.upki.request with renew_before: {0}d.".format(left + 1)
    )
    return [{"code": CODE, "message": "{0} {1}".format(why, advice)}]


def _expired(chain, now):
    ended = ["'{0}' ({1:%Y-%m-%d})".format(_common_name(one), _x509.not_after(one)) for one in _ended(chain, now)]
    return "A certificate of the live chain has expired: {0}.".format(", ".join(ended)) if ended else ""


def _ended(chain, now):
    return [one for one in chain if now > _x509.not_after(one)]


def _other(chain, rivals):
    served = [_x509.sha256(one) for one in chain]
    for rival in rivals:
        if [_x509.sha256(one) for one in rival] != served:
            return "The live chain is {0}; today it would be {1}.".format(_told(chain), _told(rival))
    return ""


def _cross(certificate, chain, now):
    """The catalogue knows what an unknown CA's chain cannot tell: that a cross certificate leads further."""
    try:
        _chain.build(certificate, chain, [], now)
    except UpkiError as error:
        return (
            "{0} (The live chain is {1}.)".format(error.message, _told(chain)) if error.code == "cross_missing" else ""
        )
    return ""


def _told(chain):
    names = ["'{0}' (until {1:%Y-%m-%d})".format(_common_name(one), _x509.not_after(one)) for one in chain]
    return " and ".join(names) or "empty"


def _common_name(certificate):
    return _x509.name_value(certificate.subject, "CN") or _x509.name_text(certificate.subject)

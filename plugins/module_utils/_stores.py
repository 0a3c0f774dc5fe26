# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named trust stores beside the one that judges: whose clients accept a chain, and whose do not."""

from ansible_collections.campus.upki.plugins.module_utils import _judge_chain, _tls
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import finding

SYSTEM, CERTIFI = "system", "certifi"  # words that stand for a path


def load(wanted):
    """[(name, PEM text)] of the option {name: path}; UpkiError names the store that cannot be read."""
    found = []
    for name, place in sorted((wanted or {}).items()):
        try:
            found.append((str(name), _tls.Trust(_path(str(place or "")) or None).pem))
        except UpkiError as error:
            text = "The trust store '{0}' of 'stores': {1}".format(name, error.message)
            raise UpkiError(error.code, text, error.fix, **error.details)
    return found


def _path(place):
    if place == SYSTEM:
        return ""
    if place == CERTIFI:
        return _certifi()
    if not place:
        raise UpkiError("store_path_missing", "it has no path.", "Give a PEM file, a folder, 'system' or 'certifi'.")
    return place


def _certifi():
    try:
        import certifi
    except ImportError:
        raise UpkiError(
            "certifi_missing",
            "the Python library certifi is not installed where the check runs.",
            "Install it there (python3-certifi), or give the path of a PEM file.",
        )
    return certifi.where()


def accepted(chain):
    """Whether the chain, as it was sent, reaches the store by fit certificates only and breaks no rule."""
    if chain.anchor is None:
        return False
    return not any(row["code"] in REFUSALS for row in _judge_chain.judge(chain))


# cross_missing is no refusal: it is also said where this store has the newer root.
REFUSALS = ("chain_expired", "chain_invalid", "wrong_intermediate")


def check(cards, around):
    """({name: accepted}, findings) of a chain's cards, the server's own first."""
    chains = {
        name: _judge_chain.Chain(cards, anchors, around.known, around.now, "'{0}'".format(name))
        for name, anchors in around.stores
    }
    verdicts = {name: accepted(chain) for name, chain in chains.items()}
    refusing = sorted(name for name, holds in verdicts.items() if not holds)
    accepting = sorted(name for name, holds in verdicts.items() if holds)
    if not refusing or not accepting:  # where all refuse, what is wrong is said without them
        return verdicts, []
    explained = [row for row in _judge_chain.judge(chains[refusing[0]]) if row["severity"] == "error"]
    values = {
        "refusing": ", ".join("'{0}'".format(name) for name in refusing),
        "accepting": ", ".join("'{0}'".format(name) for name in accepting),
        "reason": explained[0]["message"].rstrip("."),
        "fix": explained[0]["fix"].rstrip("."),
    }
    return verdicts, [finding("untrusted_in_store", **values)]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two readers of chains: what install would serve, verify must find well, and what install refuses, verify must not.

Install chooses a chain among all that is at hand, verify judges the one that is sent; each has code of its own. Both
get the zoo's certificates, with the old root trusted.
"""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _chain, _judge, _lifecycle, _preflight, _verify, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki
from ansible_collections.campus.upki.tests.unit.test_zoo import NAME, NOW, OLD, ZOO

DEPLOYED = sorted(name for name, (server, _codes, changes) in ZOO.items() if server[2] is None and not changes)
AROUND = _judge.Surroundings(
    _verify.Anchors(pki.pem(OLD.certificate)), "old", [], NOW, _lifecycle.parse_renew_before("1/3")
)
# What is no matter of installing: an end that is near, and what the CA and the request decided.
NO_MATTER = {"expires_soon", "lifetime_too_long", "weak_key", "strict_clients"}
# Install counts the CN where there is no name beside it, which clients do not; UPKI's certificates always have names.
DIFFERENT = {"only the CN"}


class Candidate(object):
    """What _preflight.check takes."""

    def __init__(self, certificate, chain):
        self.certificate, self.chain, self.file = certificate, chain, "x.cer"


def installed(certificates):
    """The chain that install would serve after the first certificate; UpkiError where it refuses."""
    leaf, rest = certificates[0], certificates[1:]
    chain = _chain.build(leaf, rest, [OLD.certificate], NOW).certificates
    _preflight.check(Candidate(leaf, chain), [NAME], _x509.spki_sha256(leaf.public_key()), NOW)
    return chain


def codes(certificates):
    seen = {
        "host": "127.0.0.1", "port": 443, "server_name": NAME, "starttls": None, "address": "127.0.0.1", "error": None,
        "trusted": None, "verify_text": "", "version": "TLSv1.3", "cipher": "x", "whole_chain": True,
        "chain": [pki.der(one) for one in certificates],
    }  # fmt: skip
    return {row["code"] for row in _judge.judge(seen, {"dns_names": []}, AROUND)["findings"]} - NO_MATTER


@pytest.mark.parametrize("animal", DEPLOYED)
def test_the_verdicts_agree(animal):
    sent = ZOO[animal][0][0]
    try:
        chain = installed(sent)
    except UpkiError:
        assert codes(sent), "install refuses what verify finds well"
        return
    assert bool(codes([sent[0]] + chain)) is (animal in DIFFERENT), "install would serve what verify finds wrong"


def test_both_verdicts_occur():
    def refused(animal):
        try:
            installed(ZOO[animal][0][0])
        except UpkiError:
            return True
        return False

    verdicts = [refused(animal) for animal in DEPLOYED]
    assert verdicts.count(True) > 20 and verdicts.count(False) > 20

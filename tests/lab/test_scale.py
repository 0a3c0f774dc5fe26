# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hundred certificates on one host."""

from __future__ import annotations

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.lab import DOMAIN, Host

pytestmark = pytest.mark.nightly

COUNT = 200
PATIENCE = 900  # seconds for a deployment of them all on a machine that does other things too
HOST = Host("many1", "bookworm")


def test_two_hundred_certificates_on_one_host(start: Start) -> None:
    fleet = start(HOST)
    names = [f"site{n:03}.{DOMAIN}" for n in range(1, COUNT + 1)]
    rows = [{"name": name, "key_type": "p384", "software": "nginx", "server": "nginx"} for name in names]
    fleet.set_host(HOST, upki_certificates=rows)
    first = fleet.request().good()
    files = sorted(fleet.outbox.glob("*.tsv"))
    counts = [len(file.read_bytes().splitlines()) for file in files]
    assert sum(counts) == COUNT and max(counts) <= 99, counts
    fleet.issue(upki_practice_ca_backdate=100).good()
    deployed = fleet.deploy(timeout=PATIENCE).good()
    serials = {fleet.served(HOST, name=name) for name in names[:: COUNT // 10]}
    assert len(serials) == 10
    request, deploy = fleet.request().quiet(), fleet.deploy(upki_nginx_manage=False, timeout=PATIENCE).quiet()
    assert len(request.exchanges) == len(deploy.exchanges) == 1
    print(
        f"\n{COUNT} certificates: request {first.seconds:.1f} s, deployment {deployed.seconds:.1f} s; with nothing due "
        f"{request.seconds:.1f} s and {deploy.seconds:.1f} s, one exchange each"
    )
    fleet.request(upki_renew_before="120d").good()
    fleet.issue().good()
    before = reloads(fleet)
    renewed = fleet.deploy(upki_nginx_manage=False, timeout=PATIENCE).good()
    assert not {fleet.served(HOST, name=name) for name in names[:: COUNT // 10]} & serials
    # With UPKI_LAB_THRICE the check mode before and the second run after it reload nothing either.
    assert reloads(fleet) - before == 1
    quiet = fleet.deploy(upki_nginx_manage=False, timeout=PATIENCE).quiet()
    assert reloads(fleet) - before == 1
    print(f"renewal of all: {renewed.seconds:.1f} s with one reload, then quiet in {quiet.seconds:.1f} s")


def reloads(fleet: Controller) -> int:
    """How often systemd has reloaded nginx since the host was booted."""
    lines = fleet.on(HOST, "journalctl --quiet --boot --unit nginx --output cat").splitlines()
    assert any(line.startswith("Started ") for line in lines), lines  # the journal is whole
    return sum(line.startswith("Reloaded ") for line in lines)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts at random moments of a renewal.

After each cut the host is switched on again: the old or the new certificate serves before anybody has done anything,
the request's key is there, and the next run finishes. The page cache outlives such a cut; that files reach the disk in
the right order is tested with system calls broken one by one (tests/unit).

UPKI_LAB_CUTS=500 UPKI_LAB_SEED=7 make lab-test TEST=test_cuts.py    other numbers than 15 and today's seed
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import Host, web_hosts

CUTS = int(os.environ.get("UPKI_LAB_CUTS", "15"))
SEED = int(os.environ.get("UPKI_LAB_SEED", time.strftime("%Y%m%d")))
ALWAYS = {"upki_renew_before": "120d"}
# The virtual hosts stand since the first issue; without their role the cuts fall closer to the swap.
BARE = {"upki_nginx_manage": False, "upki_apache_manage": False}


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*web_hosts(3))
    issuer = Issuer(fleet)
    issuer.first_issue()
    return fleet, issuer


def test_old_or_new_certificate_serves_after_every_cut(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    chance = random.Random(SEED)
    print(f"\nseed {SEED}, {CUTS} cuts")
    outcomes: dict[str, int] = {"old": 0, "new": 0}
    old = {host.name: fleet.served(host) for host in fleet.hosts}
    done = 0
    span = measure(fleet, issuer, old)
    while done < CUTS:
        old = {host.name: fleet.served(host) for host in fleet.hosts}
        fleet.request(**ALWAYS).good()
        keys = {host.name: pending_key(fleet, host) for host in fleet.hosts}
        new = issuer.issue_all(start=100, end=-98)
        victims = fleet.hosts[: CUTS - done]
        moments = {host.name: chance.uniform(0, span) for host in victims}
        cut_while_deploying(fleet, moments)
        for host in victims:
            fleet.lab.boot(host.name)
        for host in victims:
            serial = serving(fleet, host)
            assert serial in (old[host.name], new[host.name]), (SEED, host.name, moments)
            assert keys[host.name] in all_keys(fleet, host), (SEED, host.name, moments)
            outcomes["new" if serial == new[host.name] else "old"] += 1
        fleet.deploy(**BARE).good()
        assert {host.name: fleet.served(host) for host in fleet.hosts} == new, (SEED, moments)
        done += len(victims)
    fleet.deploy().quiet()
    print(
        f"{done} cuts within {span:.1f} s of a deployment; after the boot {outcomes['old']} served the old, "
        f"{outcomes['new']} the new one; no key lost, every next run finished"
    )


def measure(fleet: Controller, issuer: Issuer, old: dict[str, int]) -> float:
    """How long a deployment takes that is left alone."""
    fleet.request(**ALWAYS).good()
    new = issuer.issue_all(start=100, end=-98)
    seconds = fleet.deploy(**BARE).good().seconds
    assert {host.name: fleet.served(host) for host in fleet.hosts} == new != old
    return seconds


def cut_while_deploying(fleet: Controller, moments: dict[str, float]) -> None:
    """Start a deployment and cut each host's power at its moment; the controller goes on alone until it gives up."""
    command = ["ansible-playbook", "-i", str(fleet.inventory), "campus.upki.deploy", "-e", json.dumps(BARE)]
    start = time.monotonic()
    process = fleet.start(command, log=fleet.path / "cut.log", environment={"ANSIBLE_TIMEOUT": "5"})
    try:
        for name, moment in sorted(moments.items(), key=lambda row: row[1]):
            time.sleep(max(0.0, start + moment - time.monotonic()))
            fleet.lab.power_cut(name)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def serving(fleet: Controller, host: Host) -> int:
    """Serial served after the boot; the web server may come up a moment after sshd."""
    end = time.monotonic() + 20
    while True:
        try:
            return fleet.served(host)
        except ConnectionError:
            assert time.monotonic() < end, f"{host.name} serves nothing after its boot (seed {SEED})"
            time.sleep(0.1)


def pending_key(fleet: Controller, host: Host) -> str:
    slot = fleet.lab.root(host.name) / "etc" / "upki" / host.fqdn
    return (slot / os.readlink(slot / "pending") / "request.pem").read_text()


def all_keys(fleet: Controller, host: Host) -> set[str]:
    """The requests of all generations whose key is whole and fits."""
    found = set()
    for folder in (fleet.lab.root(host.name) / "etc" / "upki" / host.fqdn / "generations").iterdir():
        text = (folder / "request.pem").read_text()
        key = _x509.private_key_from_pem((folder / "key.pem").read_bytes())
        if _x509.spki_sha256(key.public_key()) == _x509.spki_sha256(_x509.request_from_pem(text).public_key()):
            found.add(text)
    return found

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that go wrong from outside: host away, controller killed, two controllers, full disk; the next run finishes."""

from __future__ import annotations

import os
import pathlib
import random
import time

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import web_hosts

SEED = int(os.environ.get("UPKI_LAB_SEED", time.strftime("%Y%m%d")))
DUE = {"upki_renew_before": "120d"}  # of certificates with 98 of 198 days left


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*web_hosts(3))
    issuer = Issuer(fleet)
    issuer.first_issue()
    return fleet, issuer


def renewal(story: tuple[Controller, Issuer]) -> tuple[dict[str, int], dict[str, int]]:
    """Certificates for all lie in the inbox: the serials served now, and those to come."""
    fleet, issuer = story
    old = serials(fleet)
    fleet.request(**DUE).good()
    return old, issuer.issue_all(start=100, end=-98)


def serials(fleet: Controller) -> dict[str, int]:
    return {host.name: fleet.served(host) for host in fleet.hosts}


def test_a_host_that_is_down_follows_the_next_day(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    old, new = renewal(story)
    away = fleet.hosts[1]
    fleet.lab.power_cut(away.name)
    run = fleet.deploy()
    assert {name for name, counts in run.recap.items() if counts["unreachable"]} == {away.name}, run.output
    fleet.lab.boot(away.name)
    expected = {**new, away.name: old[away.name]}
    assert serials(fleet) == expected
    fleet.deploy().good()
    assert serials(fleet) == new


def test_a_killed_controller_leaves_nothing_half_done(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    old, new = renewal(story)
    chance = random.Random(SEED)
    for _round in range(3):
        process = fleet.start(
            ["ansible-playbook", "-i", str(fleet.inventory), "campus.upki.deploy"], fleet.path / "kill"
        )
        moment = chance.uniform(1, 8)
        time.sleep(moment)
        fleet.kill(process)
        for name, serial in serials(fleet).items():
            assert serial in (old[name], new[name]), (SEED, moment)
    fleet.deploy().good()
    assert serials(fleet) == new
    fleet.deploy().quiet()


def test_two_controllers_at_once_make_one_request_and_one_swap(
    story: tuple[Controller, Issuer], tmp_path: pathlib.Path
) -> None:
    fleet, issuer = story
    other = Controller(fleet.lab, tmp_path / "other", fleet.hosts)
    other.set(**fleet.common)
    with fleet.untouched("campus.upki.request in check mode"):
        fleet.request("--check", **DUE).good()
    keys, swaps = generations(fleet), reloads(fleet)
    both = [
        one.start(
            ["ansible-playbook", "-i", str(one.inventory), "campus.upki.request", "-e", "upki_renew_before=120d"],
            tmp_path / f"request{number}",
        )
        for number, one in enumerate((fleet, other))
    ]
    assert [process.wait(120) for process in both] == [0, 0], outputs(tmp_path)
    first, second = (
        {row for file in one.outbox.glob("*.tsv") for row in file.read_bytes().splitlines()} for one in (fleet, other)
    )
    assert len(second) == len(fleet.hosts) and second <= first
    made = {name: found - keys[name] for name, found in generations(fleet).items()}
    assert all(len(one) == 1 for one in made.values()), made
    new = issuer.issue_all(start=100, end=-98)
    other.set(upki_inbox=[str(fleet.inbox)])
    both = [
        one.start(["ansible-playbook", "-i", str(one.inventory), "campus.upki.deploy"], tmp_path / f"deploy{number}")
        for number, one in enumerate((fleet, other))
    ]
    assert [process.wait(120) for process in both] == [0, 0], outputs(tmp_path)
    assert serials(fleet) == new
    assert reloads(fleet) == {name: count + 1 for name, count in swaps.items()}
    assert all(not found - keys[name] - made[name] for name, found in generations(fleet).items())
    fleet.deploy().quiet()


def generations(fleet: Controller) -> dict[str, set[str]]:
    """The keys that each host has, by the names of their folders."""
    folders = {host.name: fleet.lab.root(host.name) / "etc/upki" / host.fqdn / "generations" for host in fleet.hosts}
    return {name: {path.name for path in folder.iterdir()} for name, folder in folders.items()}


def reloads(fleet: Controller) -> dict[str, int]:
    """How often each web server has read its files anew since its boot."""
    count = "journalctl --boot --output cat --unit nginx --unit apache2 | grep -c ^Reloaded || true"
    return {host.name: int(fleet.on(host, count)) for host in fleet.hosts}


def outputs(folder: pathlib.Path) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.iterdir()) if file.is_file())


def test_a_full_disk_stops_one_host_and_keeps_it_serving(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    old, new = renewal(story)
    full = fleet.hosts[0]
    fill = "cp -a /etc/upki /root/kept && mount -t tmpfs -o size=256k none /etc/upki && cp -a /root/kept/. /etc/upki"
    # Only where the small file system is mounted, and never more than it holds.
    fleet.on(full, fill + " && { dd if=/dev/zero of=/etc/upki/filled bs=1k count=256 2>/dev/null; df -k /etc/upki; }")
    run = fleet.deploy()
    assert [name for name, counts in run.recap.items() if counts["failed"]] == [full.name], run.output
    assert "No space left" in run.output, run.output
    assert serials(fleet) == {**new, full.name: old[full.name]}
    fleet.on(full, "rm /etc/upki/filled")
    fleet.deploy().good()
    assert serials(fleet) == new
    fleet.on(full, "cp -a /etc/upki /root/after && umount /etc/upki && rm -r /etc/upki && mv /root/after /etc/upki")


def test_going_back_by_hand_and_forward_again(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    old, new = renewal(story)
    fleet.deploy().good()
    host = fleet.hosts[2]
    fleet.deploy(upki_rollback=[host.fqdn], again=False).good()
    assert serials(fleet) == {**new, host.name: old[host.name]}
    fleet.deploy().quiet()
    assert serials(fleet) == {**new, host.name: old[host.name]}
    # Forward goes with the next request: the certificate that was gone back from stays where it is.
    before, newer = renewal(story)
    assert before == {**new, host.name: old[host.name]}
    fleet.deploy().good()
    assert serials(fleet) == newer

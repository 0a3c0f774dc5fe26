# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same outcome whatever the order in which Ansible goes through hosts and tasks."""

from __future__ import annotations

import importlib.util
import json

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import web_hosts

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*web_hosts(3))
    issuer = Issuer(fleet)
    issuer.first_issue()
    return fleet, issuer


@pytest.mark.parametrize("strategy", ["linear", "free", "host_pinned"])
def test_a_renewal_under_every_strategy(story: tuple[Controller, Issuer], strategy: str) -> None:
    fleet, issuer = story
    settings = {"ANSIBLE_STRATEGY": strategy}
    before, files = lines(fleet), len(list(fleet.outbox.glob("*.tsv")))
    fleet.request(upki_renew_before="120d", env=settings).good()
    assert len(list(fleet.outbox.glob("*.tsv"))) == files + 1
    assert len(lines(fleet)) == len(before) + len(fleet.hosts) == len(set(lines(fleet)))
    fleet.request(upki_renew_before="120d", env=settings).quiet()
    new = issuer.issue_all(start=100, end=-98)
    fleet.deploy(env=settings).good()
    assert {host.name: fleet.served(host) for host in fleet.hosts} == new
    fleet.play("campus.upki.renew", env=settings).quiet()


def lines(fleet: Controller) -> list[bytes]:
    """Every application in the outbox."""
    return [line for file in sorted(fleet.outbox.glob("*.tsv")) for line in file.read_bytes().splitlines()]


def test_serial_batches_lose_no_application(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    before, files = lines(fleet), set(fleet.outbox.glob("*.tsv"))
    play = [
        {
            "hosts": "upki",
            "serial": 2,
            "gather_facts": False,
            "roles": ["campus.upki.request"],
            "vars": {"upki_renew_before": "120d"},
        }
    ]
    (fleet.path / "batches.yml").write_text(json.dumps(play))
    fleet.play("batches.yml").good()
    assert len(set(lines(fleet)) - set(before)) == len(fleet.hosts)
    assert len(lines(fleet)) == len(set(lines(fleet)))
    written = set(fleet.outbox.glob("*.tsv")) - files
    assert sorted(len(file.read_bytes().splitlines()) for file in written) == [1, 2]  # a batch does not wait for others
    new = issuer.issue_all(start=100, end=-98)
    fleet.deploy("--forks", "1").good()
    assert {host.name: fleet.served(host) for host in fleet.hosts} == new


def test_under_ansible_runner(story: tuple[Controller, Issuer], monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ansible_runner") is None:
        pytest.skip("ansible-runner is not installed for this Python")
    fleet, issuer = story
    monkeypatch.setattr(fleet, "manner", "runner")
    before, files = lines(fleet), set(fleet.outbox.glob("*.tsv"))
    fleet.request(upki_renew_before="120d").good()
    assert len(lines(fleet)) == len(before) + len(fleet.hosts)
    assert len(set(fleet.outbox.glob("*.tsv")) - files) == 1
    new = issuer.issue_all()
    run = fleet.play("campus.upki.renew").good()
    assert all(run.changing[host.name] for host in fleet.hosts), run.output
    assert {host.name: fleet.served(host) for host in fleet.hosts} == new
    fleet.play("campus.upki.renew").quiet()

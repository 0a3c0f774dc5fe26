# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as AWX starts them, with the playbook of docs/how-to/awx.md: outbox and inbox on another host, jobs cancelled.

Each job has a directory of its own that is gone afterwards, the ssh key of a machine credential in an agent, and an
inventory without the host of the outbox.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.integration import awx_page
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import RECAP, Controller, Run, certificate, manage
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import Host, web_hosts

pytestmark = pytest.mark.nightly

ADMIN = Host("admin", "bookworm", ())
EMPTY = {"upki_verify_fail_on": "never"}  # before the first certificates nothing serves
DUE = {"upki_renew_before": "120d"}  # of certificates with 98 of 198 days left
PATIENCE = 120  # seconds until a job has come to where it is cancelled


class Jobs:
    """The project and the inventory, and jobs of them."""

    def __init__(self, fleet: Controller) -> None:
        self.fleet, self.number = fleet, 0
        self.webs = [host for host in fleet.hosts if host is not ADMIN]
        self.outbox = fleet.lab.root(ADMIN.name) / "srv" / "upki" / "outbox"
        self.inbox = fleet.lab.root(ADMIN.name) / "srv" / "upki" / "inbox"
        (short, whole), (end,) = awx_page.blocks("# renew.yml\n"), awx_page.blocks("# renew.yml, at the end\n")
        assert "import_playbook: campus.upki.renew" in short
        self.renew = (whole + end).replace("admin.example.ac.jp", ADMIN.fqdn)
        (files,) = re.findall(r"files of the project are good: `\"(.*?)\"`", awx_page.PAGE.read_text())
        self.variables = {
            **fleet.common,
            "upki_roots": [files],
            "upki_intermediates": [files.replace("roots", "intermediates")],
        }

    def _lay(self, variables: dict[str, Any]) -> pathlib.Path:
        """What AWX lays out for one job."""
        self.number += 1
        place = self.fleet.path / f"job{self.number}"
        rows = {
            host.name: {
                "ansible_host": self.fleet.lab.address(host.name),
                "upki_certificates": [certificate(host)],
                **manage(host),
            }
            for host in self.webs
        }
        inventory = {"all": {"children": {"upki": {"hosts": rows, "vars": {**self.variables, **variables}}}}}
        files = {
            "inventory/hosts.json": json.dumps(inventory),
            "env/ssh_key": self.fleet.lab.key.read_text(),
            "env/cmdline": "-u root",
            "env/settings": json.dumps({"pexpect_timeout": 0.1}),  # as often it asks whether the job is cancelled
            "project/renew.yml": self.renew,
        }
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        for part in ("roots", "intermediates"):
            shutil.copytree(self.fleet.path / "upki" / "lab-ca" / part, place / "project" / part)
        awx_page.variables(place, "upki_outbox_host", {"admin.example.ac.jp": ADMIN.fqdn})
        return place

    def begin(self, forks: int = 5, **variables: Any) -> tuple[pathlib.Path, subprocess.Popen[str]]:
        place = self._lay(variables)
        environment = {
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            "ANSIBLE_SSH_COMMON_ARGS": "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        }
        command = ["ansible-runner", "run", str(place), "-p", "renew.yml", "--forks", str(forks)]
        return place, self.fleet.start(command, place / "output", environment)

    def end(self, place: pathlib.Path, process: subprocess.Popen[str]) -> Run:
        """Wait for a job; what it leaves in its container is lost, connections included."""
        status = process.wait(PATIENCE)
        output = (place / "output").read_text()
        self.fleet.hang_up()
        shutil.rmtree(place)
        return Run(status, output, [], 0)

    def job(self, **variables: Any) -> Run:
        return self.end(*self.begin(**variables)).good()

    def cancelled(self, moment: Callable[[], bool], **variables: Any) -> str:
        """Output of a job that is cancelled at a moment, host after host so that it is in the middle of its work."""
        place, process = self.begin(forks=1, **variables)
        until = time.monotonic() + PATIENCE
        while not moment():
            assert process.poll() is None, f"the job ended before that moment: {(place / 'output').read_text()}"
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        run = self.end(place, process)
        # 254: ansible-runner's own for a job that was cancelled.
        assert run.status == 254 and not RECAP.search(run.output), run.output
        return run.output

    def applied_for(self) -> list[str]:
        """The FQDN of every line in the outbox."""
        texts = [file.read_bytes().decode("shift_jis") for file in sorted(self.outbox.glob("*.tsv"))]
        return sorted(line.split("\t")[10] for text in texts for line in text.splitlines())

    def asked(self) -> list[Host]:
        """Hosts that have a pending request."""
        return [
            host
            for host in self.webs
            if (self.fleet.lab.root(host.name) / "etc" / "upki" / host.fqdn / "pending").is_symlink()
        ]

    def serials(self) -> dict[str, int]:
        return {host.name: self.fleet.served(host) for host in self.webs}


@pytest.fixture(scope="module")
def jobs(start: Start) -> tuple[Jobs, Issuer]:
    fleet = start(*web_hosts(3), ADMIN)
    issuer = Issuer(fleet)
    made = Jobs(fleet)
    fleet.on(ADMIN, "mkdir -p /srv/upki/outbox /srv/upki/inbox")
    return made, issuer


def issue(jobs: Jobs, issuer: Issuer) -> dict[str, int]:
    """Certificates for all pending requests, as somebody lays them on the host of the outbox: their serials."""
    serials = {}
    for host in jobs.webs:
        serials[host.name], file = issuer.issue(host, start=100, end=-98)
        shutil.move(file, jobs.inbox)
    return serials


def test_jobs_that_are_cancelled_are_finished_by_the_next_with_the_outbox_on_another_host(
    jobs: tuple[Jobs, Issuer],
) -> None:
    awx, issuer = jobs
    names = sorted(host.fqdn for host in awx.webs)

    # Among the first keys, before any application is written.
    awx.cancelled(lambda: bool(awx.asked()), **EMPTY)
    assert 0 < len(awx.asked()) < len(awx.webs) and not awx.applied_for()
    keys = {host.name: requested(issuer, host) for host in awx.asked()}
    first = awx.job(**EMPTY)
    assert awx.applied_for() == names, first.output
    assert {name: requested(issuer, host(awx, name)) for name in keys} == keys, "a key that was there was made anew"
    assert f"web1 -> {ADMIN.fqdn}]" in first.output, first.output
    assert "/srv/upki/outbox/" in first.output.partition("CUSTOM STATS")[2], first.output
    old = issue(awx, issuer)
    awx.job()
    assert awx.serials() == old

    # A renewal, among the swaps.
    awx.job(**DUE)
    new = issue(awx, issuer)
    awx.cancelled(lambda: awx.serials() != old)
    now = awx.serials()
    assert all(serial in (old[name], new[name]) for name, serial in now.items())
    assert now not in (old, new)
    awx.job()
    assert awx.serials() == new
    last = awx.job()
    assert last.changed == 0, last.output
    assert awx.applied_for() == sorted([*names, *names])


def host(awx: Jobs, name: str) -> Host:
    return next(one for one in awx.webs if one.name == name)


def requested(issuer: Issuer, web: Host) -> int:
    """The modulus, or the point, of the key that a host has asked with."""
    numbers: Any = issuer.requested(web).public_key().public_numbers()
    return int(numbers.n if hasattr(numbers, "n") else numbers.x)

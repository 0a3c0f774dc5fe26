# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as one finds them: no library, sudo with a password, a wrong clock, a bad line."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, certificate, differences, manage
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import Host

PASSWORD = "a lab's word"
OLD_PYTHON = "/usr/local/bin/python-of-last-year"
BARE = Host("bare1", "trixie")
SUDO = Host("sudo1", "bookworm", ("apache2",))
CLOCK = Host("clock1", "bullseye")
SLOW = Host("slow1", "trixie", ("apache2",))
HEALTHY = (SUDO, CLOCK, SLOW)


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(BARE, SUDO, CLOCK, SLOW)
    for host in fleet.hosts:
        fleet.set_host(host, upki_certificates=[certificate(host)], **manage(host))
    for folder in fleet.lab.root(BARE.name).glob("usr/lib/python3/dist-packages/cryptography*"):
        shutil.rmtree(folder)
    become_with_password(fleet)
    preload = "$(echo /usr/lib/*/faketime/libfaketime.so.1)"
    script = f'#!/bin/sh\nLD_PRELOAD={preload} FAKETIME=-400d exec /usr/bin/python3 "$@"\n'
    path = fleet.lab.root(CLOCK.name) / OLD_PYTHON.lstrip("/")
    path.write_text(script)
    path.chmod(0o755)
    assert float(fleet.on(CLOCK, f"{OLD_PYTHON} -c 'import time; print(time.time())'")) < time.time() - 399 * 86400
    delay(fleet)
    return fleet, Issuer(fleet)


def become_with_password(fleet: Controller) -> None:
    commands = [
        "useradd --create-home --shell /bin/sh admin1",
        f'echo "admin1:{PASSWORD}" | chpasswd',
        "echo 'admin1 ALL=(ALL:ALL) ALL' >/etc/sudoers.d/admin1",
        "cp -r /root/.ssh /home/admin1/.ssh",
        "chown -R admin1: /home/admin1/.ssh",
    ]
    fleet.on(SUDO, " && ".join(commands))
    # For this host's own tasks; what the roles do on the controller must not ask for it.
    fleet.set_host(SUDO, ansible_user="admin1", ansible_become=True, ansible_become_password=PASSWORD)


def delay(fleet: Controller) -> None:
    """A line with 150 ms one way: by the kernel, which loses packets too, or else by a relay."""
    cable = str(fleet.lab.state["namespaces"][f"{fleet.lab.bridge}-{SLOW.name}"])
    netem = ["tc", "qdisc", "add", "dev", cable, "root", "netem", "delay", "150ms", "30ms", "loss", "2%"]
    if subprocess.run(netem, capture_output=True, check=False).returncode == 0:
        return
    relay = f"{sys.executable} {pathlib.Path(__file__).with_name('relay.py')} %h %p"
    options = " ".join(fleet.lab.ssh_options())
    fleet.set_host(SLOW, ansible_ssh_common_args=f"{options} -o ProxyCommand='{relay}'")


def test_first_issue_goes_on_past_the_host_without_the_library(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    before = fleet.trees()
    run = fleet.request()
    assert [name for name, counts in run.recap.items() if counts["failed"]] == [BARE.name], run.output
    assert "python3-cryptography" in run.output
    assert not differences({BARE.name: before[BARE.name]}, {BARE.name: fleet.trees()[BARE.name]})
    (file,) = fleet.outbox.glob("*.tsv")
    rows = file.read_bytes().decode("shift_jis").strip().splitlines()
    assert sorted(row.split("\t")[10] for row in rows) == sorted(host.fqdn for host in HEALTHY)


def test_password_and_bad_line_do_not_matter(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    serials = {host.name: issuer.issue(host, start=100, end=-98)[0] for host in HEALTHY}
    fleet.deploy("--limit", "sudo1,clock1,slow1").good()
    assert {host.name: fleet.served(host) for host in HEALTHY} == serials
    owners = fleet.on(SUDO, "find /etc/upki -name key.pem -printf '%u %m\\n'").split("\n")
    assert owners == ["root 600", ""]
    fleet.play("campus.upki.renew", "--limit", "sudo1,clock1,slow1").quiet()


def test_a_clock_that_is_behind_is_named_and_nothing_changes(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    wrong = {"ansible_python_interpreter": OLD_PYTHON}
    only = ("--limit", CLOCK.name)
    old = fleet.served(CLOCK)
    run = fleet.request(*only, **wrong).good()
    assert "clock" in run.output, run.output
    assert run.changed == 0, run.output
    fleet.request(*only, upki_renew_before="120d").good()
    new, _path = issuer.issue(CLOCK)
    before = fleet.trees()
    run = fleet.deploy(*only, **wrong)
    assert run.recap[CLOCK.name]["failed"] == 1, run.output
    assert "not_yet_valid" in run.output and "clock" in run.output, run.output
    assert not differences(before, fleet.trees())
    assert fleet.served(CLOCK) == old
    fleet.deploy(*only).good()
    assert fleet.served(CLOCK) == new


def test_the_host_follows_once_it_has_the_library(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    lower = fleet.lab.lower(BARE.name)
    for folder in lower.glob("usr/lib/python3/dist-packages/cryptography*"):
        shutil.copytree(folder, fleet.lab.root(BARE.name) / folder.relative_to(lower))
    fleet.request("--limit", BARE.name).good()
    serial, _path = issuer.issue(BARE)
    fleet.deploy("--limit", BARE.name).good()
    assert fleet.served(BARE) == serial

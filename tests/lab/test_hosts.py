# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet as one finds it, in one run: ten hosts of three releases, most of them with something about them.

No library, sudo with a password, a wrong clock, a bad line, an installation made by hand years ago, a mail and a
directory server, and one that goes away in the middle.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, certificate, differences
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import DOMAIN, Host
from ansible_collections.campus.upki.tests.lab.test_adoption import CERTIFICATE, KEY, OLD, set_up_by_hand
from ansible_collections.campus.upki.tests.lab.watch import Watch

PASSWORD = "a lab's word"
OLD_PYTHON = "/usr/local/bin/python-of-last-year"
SEEN_PYTHON = "/usr/local/bin/python-that-tells-when-it-starts"
MARK = "/var/cache/lab"
BARE_RUN: dict[str, Any] = {"upki_nginx_manage": False, "upki_apache_manage": False}  # the virtual hosts stand
BARE = Host("bare1", "trixie")
SUDO = Host("sudo1", "bookworm", ("apache2",))
CLOCK = Host("clock1", "bullseye")
SLOW = Host("slow1", "trixie", ("apache2",))
MAIL = Host("mail1", "bookworm", ())
DIRECTORY = Host("dir1", "trixie", ())
GONE = Host("gone1", "bullseye")
WEB = (Host("web1", "bookworm"), Host("web2", "trixie", ("apache2",)))
HEALTHY = (SUDO, CLOCK, SLOW, *WEB)
NAMES = {MAIL: [f"smtp.{DOMAIN}", f"imap.{DOMAIN}"], DIRECTORY: [f"ldap.{DOMAIN}"]}
FLEET = (*WEB, BARE, SUDO, CLOCK, SLOW, MAIL, DIRECTORY, OLD, GONE)


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*FLEET)
    issuer = Issuer(fleet)
    for host, names in NAMES.items():
        fleet.set_host(host, upki_certificates=[{"name": name, "software": "other"} for name in names])
    set_up_by_hand(fleet, issuer)
    mark = fleet.lab.root(GONE.name) / MARK.lstrip("/")
    mark.mkdir()
    write_script(fleet, GONE, SEEN_PYTHON, f'#!/bin/sh\ntouch {MARK}/started\nexec /usr/bin/python3 "$@"\n')
    fleet.set_host(GONE, ansible_python_interpreter=SEEN_PYTHON)
    for folder in fleet.lab.root(BARE.name).glob("usr/lib/python3/dist-packages/cryptography*"):
        shutil.rmtree(folder)
    become_with_password(fleet)
    preload = "$(echo /usr/lib/*/faketime/libfaketime.so.1)"
    # Compiled files look old to a Python with a wrong clock; it must not write them anew while trees are compared.
    clock = f"LD_PRELOAD={preload} FAKETIME=-400d PYTHONDONTWRITEBYTECODE=1"
    script = f'#!/bin/sh\n{clock} exec /usr/bin/python3 "$@"\n'
    write_script(fleet, CLOCK, OLD_PYTHON, script)
    assert float(fleet.on(CLOCK, f"{OLD_PYTHON} -c 'import time; print(time.time())'")) < time.time() - 399 * 86400
    delay(fleet)
    return fleet, issuer


def write_script(fleet: Controller, host: Host, path: str, text: str) -> None:
    file = fleet.lab.root(host.name) / path.lstrip("/")
    file.write_text(text)
    file.chmod(0o755)


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
    """A line with 80 ms one way: by the kernel, which loses packets too, or else by a relay."""
    cable = str(fleet.lab.state["namespaces"][f"{fleet.lab.bridge}-{SLOW.name}"])
    netem = ["tc", "qdisc", "add", "dev", cable, "root", "netem", "delay", "80ms", "20ms", "loss", "2%"]
    if subprocess.run(netem, capture_output=True, check=False).returncode == 0:
        return
    relay = f"{sys.executable} {pathlib.Path(__file__).with_name('relay.py')} %h %p"
    options = " ".join(fleet.lab.ssh_options())
    fleet.set_host(SLOW, ansible_ssh_common_args=f"{options} -o ProxyCommand='{relay}'")


def applied_for(fleet: Controller) -> list[str]:
    """The names in the outbox, of which each file holds one kind."""
    files = sorted(fleet.outbox.glob("*.tsv"))
    assert all("server_issue" in file.name for file in files)
    rows = [row for file in files for row in file.read_bytes().decode("shift_jis").strip().splitlines()]
    return sorted(row.split("\t")[10] for row in rows)


EXPECTED = sorted([host.fqdn for host in (*HEALTHY, OLD)] + [name for names in NAMES.values() for name in names])


def test_check_mode_announces_the_requests_and_touches_no_host(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    before = fleet.trees()
    run = fleet.request("--check")
    assert [name for name, counts in run.recap.items() if counts["failed"]] == [BARE.name], run.output
    assert not differences(before, fleet.trees())


def test_first_issue_of_the_fleet_goes_on_past_hosts_that_cannot(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    before = fleet.trees()
    with going_away(fleet):
        run = fleet.request(env={"ANSIBLE_FORKS": str(len(FLEET))})
    assert [name for name, counts in run.recap.items() if counts["failed"]] == [BARE.name], run.output
    assert [name for name, counts in run.recap.items() if counts["unreachable"]] == [GONE.name], run.output
    assert "python3-cryptography" in run.output
    assert not differences({BARE.name: before[BARE.name]}, {BARE.name: fleet.trees()[BARE.name]})
    assert len(list(fleet.outbox.glob("*.tsv"))) == 1
    assert applied_for(fleet) == EXPECTED


def test_the_host_that_went_away_follows(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    fleet.lab.boot(GONE.name)
    run = fleet.request()
    assert {name for name, counts in run.recap.items() if counts["changed"]} <= {GONE.name, WEB[0].name}, run.output
    assert applied_for(fleet) == sorted([*EXPECTED, GONE.fqdn])
    issuer.issue(GONE, start=100, end=-98)


class going_away:  # noqa: N801 (reads as a sentence)
    """The host that goes away loses its power as soon as the module's Python starts there."""

    def __init__(self, fleet: Controller) -> None:
        self.fleet = fleet
        self.watch = Watch(fleet.lab.root(GONE.name) / MARK.lstrip("/"))
        self.thread = threading.Thread(target=self.cut)

    def cut(self) -> None:
        if self.watch.wait(1, time.monotonic() + 60):
            self.fleet.lab.power_cut(GONE.name)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_error: object) -> None:
        self.thread.join()
        self.watch.close()


def test_every_host_serves_whatever_there_is_about_it(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    serials = {host.name: issuer.issue(host, start=100, end=-98)[0] for host in HEALTHY}
    for host, names in NAMES.items():
        for name in names:
            issuer.issue(host, name=name, names=[name])
    links = [{"path": CERTIFICATE, "what": "fullchain"}, {"path": KEY, "what": "key"}]
    adopt = {"certificate": CERTIFICATE, "key": KEY}
    fleet.set_host(OLD, upki_certificates=[certificate(OLD, dns_names=[], links=links, adopt=adopt)])
    serials[OLD.name], _path = issuer.issue(OLD, names=[OLD.fqdn])
    all_but = ("--limit", f"all,!{BARE.name}")
    fleet.deploy(*all_but, env={"ANSIBLE_FORKS": str(len(FLEET))}).good()
    assert {host.name: fleet.served(host) for host in (*HEALTHY, OLD)} == serials
    assert fleet.served(GONE)
    for host, names in NAMES.items():
        for name in names:
            fleet.on(host, f"test -s /etc/upki/{name}/live/fullchain.pem")
    owners = fleet.on(SUDO, "find /etc/upki -name key.pem -printf '%u %m\\n'").split("\n")
    assert owners == ["root 600", ""]
    fleet.play("campus.upki.deploy campus.upki.request", *all_but, **BARE_RUN).quiet()


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

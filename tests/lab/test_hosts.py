# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet as one finds it, in one run: ten hosts of three releases, each with something about it.

No library, sudo with a password and without pipelining, clocks that are behind and ahead, a bad line, installations
made by hand years ago with OU and without, a mail and a directory server, and one that goes away in the middle.
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
from ansible_collections.campus.upki.tests.lab import wire
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import SUBJECT, Controller, certificate, differences
from ansible_collections.campus.upki.tests.lab.issuer import Issuer, applications
from ansible_collections.campus.upki.tests.lab.lab import DOMAIN, Host
from ansible_collections.campus.upki.tests.lab.test_adoption import CERTIFICATE, KEY, OLD, set_up_by_hand
from ansible_collections.campus.upki.tests.lab.test_mail import DOVECOT_IS, POSTFIX, SLAPD, settings
from ansible_collections.campus.upki.tests.lab.watch import Watch
from ansible_collections.campus.upki.tests.unit import pki

PASSWORD = "a lab's word"
PYTHON = "/usr/bin/python3"
WRONG_PYTHON = "/usr/local/bin/python-of-another-year"
SEEN_PYTHON = "/usr/local/bin/python-that-tells-when-it-starts"
MARK = "/var/cache/lab"
BARE_RUN: dict[str, Any] = {"upki_nginx_manage": False, "upki_apache_manage": False}  # the virtual hosts stand
BARE = Host("bare1", "trixie")
SUDO = Host("sudo1", "bookworm", ("apache2",))
CLOCK = Host("clock1", "bullseye")
AHEAD = Host("clock2", "trixie", ("apache2",))
CLOCKS = {CLOCK: -400, AHEAD: 400}  # days
SLOW = Host("slow1", "trixie", ("apache2",))
MAIL = Host("mail1", "bookworm", ())
DIRECTORY = Host("dir1", "trixie", ())
GONE = Host("gone1", "bullseye")
PLAIN = Host("web1", "bookworm")  # with a certificate from earlier years, of this service and without OU
BEFORE = "/etc/ssl/certs/web1.pem"
HEALTHY = (PLAIN, SUDO, SLOW)
SMTP, IMAP, LDAP = f"smtp.{DOMAIN}", f"imap.{DOMAIN}", f"ldap.{DOMAIN}"
# name: (host, server, port, STARTTLS)
SERVICES = {
    SMTP: (MAIL, "postfix", 25, "smtp"),
    IMAP: (MAIL, "dovecot", 143, "imap"),
    LDAP: (DIRECTORY, "slapd", 389, "ldap"),
}
FLEET = (PLAIN, BARE, SUDO, CLOCK, AHEAD, SLOW, MAIL, DIRECTORY, OLD, GONE)


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*FLEET)
    issuer = Issuer(fleet)
    mail_and_directory(fleet)
    set_up_by_hand(fleet, issuer)
    certificate_of_earlier_years(fleet, issuer)
    mark = fleet.lab.root(GONE.name) / MARK.lstrip("/")
    mark.mkdir()
    write_script(fleet, GONE, SEEN_PYTHON, f'#!/bin/sh\ntouch {MARK}/started\nexec {PYTHON} "$@"\n')
    fleet.set_host(GONE, ansible_python_interpreter=SEEN_PYTHON)
    for folder in fleet.lab.root(BARE.name).glob("usr/lib/python3/dist-packages/cryptography*"):
        shutil.rmtree(folder)
    become_with_password(fleet)
    for host, days in CLOCKS.items():
        wrong_clock(fleet, host, days)
    print(delay(fleet))
    return fleet, issuer


def mail_and_directory(fleet: Controller) -> None:
    """Both as the pages have them: written into the configuration first, taken up with the first certificate."""
    for host in (MAIL, DIRECTORY):
        rows = [
            {"name": name, "software": server, "server": server, "endpoint": f"127.0.0.1:{port}"}
            for name, (at, server, port, _starttls) in SERVICES.items()
            if at is host
        ]
        fleet.set_host(host, upki_certificates=rows)
    dovecot = DOVECOT_IS.format(version="2.3", settings=settings("2.3", IMAP))
    postfix = POSTFIX.format(name=SMTP, fqdn=MAIL.fqdn)
    fleet.on(MAIL, f"set -e\nsystemctl start postfix dovecot\n{postfix}{dovecot}")
    fleet.set_host(DIRECTORY, upki_key_group="openldap", upki_key_mode="0640")
    fleet.on(
        DIRECTORY, "set -e\nsystemctl start slapd\n" + SLAPD.format(name=LDAP, key=f"/etc/upki/{LDAP}/live/key.pem")
    )


def certificate_of_earlier_years(fleet: Controller, issuer: Issuer) -> None:
    fields = {"C": "JP", "ST": SUBJECT["state"], "L": SUBJECT["locality"], "O": SUBJECT["organization"]}
    leaf = issuer.by_hand(pki.new_key("rsa2048"), **fields, CN=PLAIN.fqdn)
    (fleet.lab.root(PLAIN.name) / BEFORE.lstrip("/")).write_text(pki.pem(leaf))
    fleet.set_host(PLAIN, upki_certificates=[certificate(PLAIN, current_certificate=BEFORE)])


def wrong_clock(fleet: Controller, host: Host, days: int) -> None:
    preload = "$(echo /usr/lib/*/faketime/libfaketime.so.1)"
    # Compiled files look old to a Python with a wrong clock; it must not write them anew while trees are compared.
    clock = f"LD_PRELOAD={preload} FAKETIME={days:+}d PYTHONDONTWRITEBYTECODE=1"
    write_script(fleet, host, WRONG_PYTHON, f'#!/bin/sh\n{clock} exec {PYTHON} "$@"\n')
    off = float(fleet.on(host, f"{WRONG_PYTHON} -c 'import time; print(time.time())'")) - time.time()
    assert round(off / 86400) == days
    fleet.set_host(host, ansible_python_interpreter=WRONG_PYTHON)


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
    # As Ansible does by default: modules lie in a file of the user's before sudo runs them.
    fleet.set_host(SUDO, ansible_pipelining=False)


def delay(fleet: Controller) -> str:
    """A line with 80 ms one way that loses packets: by the kernel, or else by a relay. By which, for people."""
    cable = str(fleet.lab.state["namespaces"][f"{fleet.lab.bridge}-{SLOW.name}"])
    netem = ["tc", "qdisc", "add", "dev", cable, "root", "netem", "delay", "80ms", "20ms", "loss", "2%"]
    if subprocess.run(netem, capture_output=True, check=False).returncode == 0:
        return f"{SLOW.name}: a slow line by netem"
    relay = f"{sys.executable} {pathlib.Path(__file__).with_name('relay.py')} %h %p"
    options = " ".join(fleet.lab.ssh_options())
    fleet.set_host(SLOW, ansible_ssh_common_args=f"{options} -o ProxyCommand='{relay}'")
    return f"{SLOW.name}: this kernel has no netem, a slow line by relay.py"


RENEWALS = [PLAIN.fqdn]
ISSUES = sorted([*(host.fqdn for host in (SUDO, SLOW, CLOCK, AHEAD, OLD)), *SERVICES])


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
    assert applications(fleet.outbox.glob("*.tsv")) == {"server_issue": ISSUES, "server_renew": RENEWALS}


def test_the_host_that_went_away_follows(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    fleet.lab.boot(GONE.name)
    files = set(fleet.outbox.glob("*.tsv"))
    run = fleet.request()
    # The first host of the play writes the file.
    assert {name for name, counts in run.recap.items() if counts["changed"]} <= {GONE.name, FLEET[0].name}, run.output
    assert applications(set(fleet.outbox.glob("*.tsv")) - files) == {"server_issue": [GONE.fqdn]}
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


ALL_BUT_BARE = ("--limit", f"all,!{BARE.name}")


def test_every_host_serves_whatever_there_is_about_it(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    serials = {host.name: issuer.issue(host, start=100, end=-98)[0] for host in HEALTHY}
    services = {name: issuer.issue(row[0], name=name, names=[name])[0] for name, row in SERVICES.items()}
    for host in CLOCKS:
        issuer.issue(host, start=100, end=-98)
    links = [{"path": CERTIFICATE, "what": "fullchain"}, {"path": KEY, "what": "key"}]
    adopt = {"certificate": CERTIFICATE, "key": KEY}
    fleet.set_host(OLD, upki_certificates=[certificate(OLD, dns_names=[], links=links, adopt=adopt)])
    serials[OLD.name], _path = issuer.issue(OLD, names=[OLD.fqdn])
    before = fleet.trees()
    run = fleet.deploy(*ALL_BUT_BARE, env={"ANSIBLE_FORKS": str(len(FLEET))})
    assert {name for name, counts in run.recap.items() if counts["failed"]} == {host.name for host in CLOCKS}, (
        run.output
    )
    assert {host.name: fleet.served(host) for host in (*HEALTHY, OLD)} == serials
    assert fleet.served(GONE)
    assert {name: presented(fleet, name) for name in SERVICES} == services
    owners = fleet.on(SUDO, "find /etc/upki -name key.pem -printf '%u %m\\n'").split("\n")
    assert owners == ["root 600", ""]
    # Both clocks are named on their hosts, on which nothing changed.
    for host, code in ((CLOCK, "not_yet_valid"), (AHEAD, "expired")):
        said = "\n".join(line for line in run.output.splitlines() if line.startswith(f"fatal: [{host.name}]"))
        assert code in said and "clock" in said, run.output
        assert not differences({host.name: before[host.name]}, {host.name: fleet.trees()[host.name]})


def test_hosts_whose_clock_was_set_right_follow(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    for host in CLOCKS:
        fleet.set_host(host, ansible_python_interpreter=PYTHON)
    run = fleet.deploy(*ALL_BUT_BARE).good()
    assert {name for name, counts in run.recap.items() if counts["changed"]} == {host.name for host in CLOCKS}, (
        run.output
    )
    assert all(fleet.served(host) for host in CLOCKS)
    fleet.play("campus.upki.deploy campus.upki.request", *ALL_BUT_BARE, **BARE_RUN).quiet()


def presented(fleet: Controller, name: str) -> int:
    """Serial of what a mail or directory server presents behind STARTTLS, after verifying."""
    host, _server, port, starttls = SERVICES[name]
    return wire.serial(fleet, host, name, port=port, starttls=starttls)


def test_a_clock_that_is_behind_is_named_and_nothing_changes(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    wrong = {"ansible_python_interpreter": WRONG_PYTHON}
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


def test_a_clock_that_is_ahead_applies_for_nothing(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    before = fleet.trees()
    for playbook in ("campus.upki.request", "campus.upki.renew"):
        run = fleet.play(playbook, "--limit", AHEAD.name, ansible_python_interpreter=WRONG_PYTHON, **BARE_RUN)
        assert run.recap[AHEAD.name]["failed"] == 1, run.output
        assert "clock_differs" in run.output and "controller" in run.output, run.output
        assert not differences(before, fleet.trees())


def test_the_host_follows_once_it_has_the_library(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    lower = fleet.lab.lower(BARE.name)
    for folder in lower.glob("usr/lib/python3/dist-packages/cryptography*"):
        shutil.copytree(folder, fleet.lab.root(BARE.name) / folder.relative_to(lower))
    fleet.request("--limit", BARE.name).good()
    serial, _path = issuer.issue(BARE)
    fleet.deploy("--limit", BARE.name).good()
    assert fleet.served(BARE) == serial

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Half a year of daily runs with faked clocks: applied for on the day, and certificates that come in three portions."""

from __future__ import annotations

import socket
import ssl

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, Run, Visitors
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import RELEASES, Host, Root, web_hosts

pytestmark = pytest.mark.nightly

PYTHON = "/usr/local/bin/python-of-the-day"
LIBRARY = "usr/lib/*/faketime/libfaketime.so.1"


class Calendar:
    """The day, in days from today, for the controller and for Ansible's Python on the hosts."""

    def __init__(self, fleet: Controller) -> None:
        self.fleet, self.day = fleet, 0
        # The oldest release's library runs with every newer C library, so with the controller's as well.
        (self.library,) = Root(RELEASES[0]).path.glob(LIBRARY)
        for host in fleet.hosts:
            path = fleet.lab.root(host.name) / PYTHON.lstrip("/")
            path.write_text(
                # To a Python whose clock is turned its own compiled files look old; it must not write them anew.
                f"#!/bin/sh\nexport LD_PRELOAD=$(echo /{LIBRARY}) FAKETIME=$(cat /etc/day) PYTHONDONTWRITEBYTECODE=1\n"
                'exec /usr/bin/python3 "$@"\n'
            )
            path.chmod(0o755)
            fleet.set_host(host, ansible_python_interpreter=PYTHON)
        self.turn(0)

    def turn(self, day: int) -> None:
        self.day = day
        for host in self.fleet.hosts:
            (self.fleet.lab.root(host.name) / "etc" / "day").write_text(f"+{day}d")

    def daily_run(self) -> Run:
        clock = {"LD_PRELOAD": str(self.library), "FAKETIME": f"+{self.day}d"}
        return self.fleet.play("campus.upki.renew", env=clock, upki_nginx_manage=False, upki_apache_manage=False)


def seen(fleet: Controller, host: Host) -> int:
    """Serial that the port serves, whatever the dates say: the servers' clock is not turned."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((fleet.lab.address(host.name), 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host.fqdn) as connection,
    ):
        return int(_x509.certificate_from_der(connection.getpeercert(True) or b"").serial_number)


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer, dict[str, int]]:
    fleet = start(*web_hosts(3))
    issuer = Issuer(fleet)
    fleet.request().good()
    serials = issuer.issue_all(start=0, end=-198)
    fleet.deploy().good()
    return fleet, issuer, serials


def test_daily_runs_through_a_renewal_in_three_portions(story: tuple[Controller, Issuer, dict[str, int]]) -> None:
    fleet, issuer, serving = story
    calendar = Calendar(fleet)
    with Visitors(fleet, lambda host: seen(fleet, host)) as visitors:
        calendar.turn(131)  # the last third of 198 days begins on day 132
        calendar.daily_run().quiet()
        calendar.turn(133)
        run = calendar.daily_run().good()
        assert run.changed == len(fleet.hosts) + 1, run.output  # a request each, one file
        for number, host in enumerate(fleet.hosts):
            calendar.turn(136 + 3 * number)
            calendar.daily_run().quiet()
            serving[host.name], _path = issuer.issue(host, start=-calendar.day, end=-calendar.day - 198)
            calendar.turn(137 + 3 * number)
            run = calendar.daily_run().good()
            changed = [name for name, counts in run.recap.items() if counts["changed"]]
            assert changed == [host.name], run.output
            assert {one.name: seen(fleet, one) for one in fleet.hosts} == serving
        calendar.turn(180)
        calendar.daily_run().quiet()
    assert not visitors.failures, visitors.failures[:5]

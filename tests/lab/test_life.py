# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of the certificates of a fleet: first issue and renewal of every release and both servers, over ssh.

The tests of this file are one story and run in this order.
"""

from __future__ import annotations

import collections
import re

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, Visitors, differences
from ansible_collections.campus.upki.tests.lab.lab import web_hosts

# What a deployment with virtual hosts may touch: the store, one file of the server's, Debian's switches of modules.
OURS = re.compile(
    r"etc/upki/|etc/(nginx/conf\.d|apache2/sites-enabled)/upki\.conf$"
    r"|(etc/apache2/mods-enabled|var/lib/apache2/module/enabled_by_admin)/(ssl|socache_shmcb)(\.load|\.conf)?$"
)
DUE = "120d"  # 98 days are left of a certificate of 198 that is 100 days old


@pytest.fixture(scope="module")
def fleet(start: Start) -> Controller:
    return start(*web_hosts(6))


def test_check_mode_announces_the_first_requests_and_touches_no_host(fleet: Controller) -> None:
    before = fleet.trees()
    run = fleet.request("--check", "--diff").good()
    assert run.changed >= len(fleet.hosts)
    assert not differences(before, fleet.trees())


def test_first_requests_are_one_file_for_the_whole_fleet(fleet: Controller) -> None:
    fleet.request().good()
    (file,) = fleet.outbox.glob("*.tsv")
    assert "server_issue" in file.name
    rows = file.read_bytes().decode("shift_jis").strip().splitlines()
    assert sorted(row.split("\t")[10] for row in rows) == sorted(host.fqdn for host in fleet.hosts)


def test_a_second_request_changes_nothing_with_one_exchange_a_host(fleet: Controller) -> None:
    run = fleet.request().quiet()
    assert one_exchange(run.exchanges, fleet), run.exchanges
    print(f"request, nothing due: {per_host(run.exchanges, fleet)} in {run.seconds:.1f} s")


def test_check_mode_announces_the_first_installation_and_touches_no_host(fleet: Controller) -> None:
    fleet.issue(upki_practice_ca_backdate=100, upki_practice_ca_generation="g7").good()
    before = fleet.trees()
    run = fleet.deploy("--check", "--diff").good()
    assert all(counts["changed"] for counts in run.recap.values()), run.output
    assert not differences(before, fleet.trees())


def test_first_certificates_are_served_to_the_network(fleet: Controller) -> None:
    before = fleet.trees()
    fleet.deploy().good()
    touched = {row.split(": ")[1] for row in differences(before, fleet.trees()) if not re.search(" => d[r-]", row)}
    assert not [path for path in touched if not OURS.match(path)], touched
    serials = {fleet.served(host) for host in fleet.hosts}
    assert len(serials) == len(fleet.hosts)
    fleet.verify().quiet()


def test_keys_are_readable_by_root_alone(fleet: Controller) -> None:
    for host in fleet.hosts:
        keys = list(fleet.lab.root(host.name).glob("etc/upki/*/generations/*/key.pem"))
        assert [oct(key.stat().st_mode & 0o777) for key in keys] == ["0o600"]


def test_a_second_deployment_changes_nothing_with_one_more_exchange_a_role(fleet: Controller) -> None:
    run = fleet.deploy().quiet()
    counts = collections.Counter(run.exchanges)
    for host in fleet.hosts:  # Apache's layout is another one on Red Hat, so its role asks for the family first
        assert counts[fleet.lab.address(host.name)] == {"nginx": 2, "apache2": 3}[host.services[0]], counts
    print(f"deployment with virtual hosts, nothing due: {per_host(run.exchanges, fleet)} in {run.seconds:.1f} s")


def test_the_bare_deployment_takes_one_exchange_a_host(fleet: Controller) -> None:
    run = fleet.deploy(upki_nginx_manage=False, upki_apache_manage=False).quiet()
    assert one_exchange(run.exchanges, fleet), run.exchanges
    print(f"deployment, nothing due: {per_host(run.exchanges, fleet)} in {run.seconds:.1f} s")


def test_renewal_is_announced_then_made_as_one_file_of_renewals(fleet: Controller) -> None:
    before = fleet.trees()
    assert fleet.request("--check", upki_renew_before=DUE).good().changed >= len(fleet.hosts)
    assert not differences(before, fleet.trees())
    old = [fleet.served(host) for host in fleet.hosts]
    fleet.request(upki_renew_before=DUE).good()
    (file,) = fleet.outbox.glob("*server_renew*.tsv")
    text = file.read_bytes().decode("shift_jis")
    assert all(f"\t{serial}\t" in text for serial in old)
    assert [fleet.served(host) for host in fleet.hosts] == old
    fleet.request(upki_renew_before=DUE).quiet()


def test_renewal_goes_live_without_one_failed_connection(fleet: Controller) -> None:
    old = {fleet.served(host) for host in fleet.hosts}
    fleet.issue().good()
    before = fleet.trees()
    fleet.deploy("--check").good()
    assert not differences(before, fleet.trees())
    with Visitors(fleet) as visitors:
        fleet.deploy().good()
    new = {fleet.served(host) for host in fleet.hosts}
    assert not visitors.failures, visitors.failures[:5]
    assert visitors.connections > 20
    assert not old & new
    assert visitors.serials <= old | new
    print(f"renewal of {len(fleet.hosts)} hosts: {visitors.connections} connections meanwhile, 0 failed")


def test_the_daily_run_then_changes_nothing(fleet: Controller) -> None:
    run = fleet.play("campus.upki.renew").quiet()
    bare = fleet.play("campus.upki.renew", upki_nginx_manage=False, upki_apache_manage=False).quiet()
    print(f"daily run: {per_host(run.exchanges, fleet)} in {run.seconds:.1f} s")
    print(f"daily run without virtual hosts: {per_host(bare.exchanges, fleet)} in {bare.seconds:.1f} s")
    assert set(collections.Counter(bare.exchanges).values()) == {1}  # install and request in one


def per_host(exchanges: list[str], fleet: Controller) -> str:
    """Exchanges of each host, for people."""
    counts = collections.Counter(exchanges)
    return ", ".join(f"{host.name} {counts[fleet.lab.address(host.name)]}" for host in fleet.hosts) + " exchanges"


def one_exchange(exchanges: list[str], fleet: Controller) -> bool:
    return collections.Counter(exchanges) == collections.Counter(
        f"{fleet.lab.address(host.name)}" for host in fleet.hosts
    )

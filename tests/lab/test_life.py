# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of the certificates of a fleet: first issue and renewal of every release and both servers, over ssh.

The tests of this file are one story and run in this order.
"""

from __future__ import annotations

import collections
import re

import pytest
from ansible_collections.campus.upki.tests.lab import wire
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, Visitors, certificate, differences
from ansible_collections.campus.upki.tests.lab.issuer import applications
from ansible_collections.campus.upki.tests.lab.lab import DOMAIN, web_hosts

# What a deployment with virtual hosts may touch: the store, one file of the server's, Debian's switches of modules.
OURS = re.compile(
    r"etc/upki/|etc/(nginx/conf\.d|apache2/sites-enabled)/upki\.conf$"
    r"|(etc/apache2/mods-enabled|var/lib/apache2/module/enabled_by_admin)/(ssl|socache_shmcb)(\.load|\.conf)?$"
)
DUE = "120d"  # 98 days are left of a certificate of 198 that is 100 days old
DUE_AGAIN = "150d"  # 148 days are left of the second ones, which are 50 days old
EC = "web6"  # has an EC key; the practice CA, as the real one, has a branch for each kind
# What must follow a server's certificate on the wire. The roots of 2024 are sent as cross certificates.
G7 = {
    "RSA": ["NII Open Domain CA - G7 RSA (Practice) by Practice Communication RootCA2"],
    "ECC": ["NII Open Domain CA - G7 ECC (Practice) by Practice Communication ECC RootCA1"],
}
G8 = {
    "RSA": [
        "NII Open Domain CA - G8 RSA (Practice) by Practice TLS RSA Root CA 2024",
        "Practice TLS RSA Root CA 2024 by Practice Communication RootCA2",
    ],
    "ECC": [
        "NII Open Domain CA - G8 ECC (Practice) by Practice TLS ECC Root CA 2024",
        "Practice TLS ECC Root CA 2024 by Practice Communication ECC RootCA1",
    ],
}


@pytest.fixture(scope="module")
def fleet(start: Start) -> Controller:
    made = start(*web_hosts(6))
    (host,) = (one for one in made.hosts if one.name == EC)
    made.set_host(host, upki_certificates=[certificate(host, key_type="p384")])
    return made


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
    assert sent(fleet) == expected(fleet, G7)
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
    assert sent(fleet) == expected(fleet, G7)
    fleet.issue(upki_practice_ca_backdate=50, upki_practice_ca_generation="g8").good()
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
    assert sent(fleet) == expected(fleet, G8)
    print(f"renewal of {len(fleet.hosts)} hosts: {visitors.connections} connections meanwhile, 0 failed")


def test_the_daily_run_then_changes_nothing(fleet: Controller) -> None:
    run = fleet.play("campus.upki.renew").quiet()
    bare = fleet.play("campus.upki.renew", upki_nginx_manage=False, upki_apache_manage=False).quiet()
    print(f"daily run: {per_host(run.exchanges, fleet)} in {run.seconds:.1f} s")
    print(f"daily run without virtual hosts: {per_host(bare.exchanges, fleet)} in {bare.seconds:.1f} s")
    assert set(collections.Counter(bare.exchanges).values()) == {1}  # install and request in one


def test_a_daily_run_puts_live_what_has_arrived_and_applies_for_what_is_due(fleet: Controller) -> None:
    arrived, due = fleet.hosts[:3], fleet.hosts[3:]
    fleet.request("--limit", ",".join(host.name for host in arrived), upki_renew_before=DUE_AGAIN).good()
    fleet.issue(upki_practice_ca_generation="g8").good()
    new = {"name": f"new.{DOMAIN}", "software": "other", "endpoint": ""}  # of a service that nobody can look at
    fleet.set_host(due[0], upki_certificates=[certificate(due[0]), new])
    before = {host: fleet.served(host) for host in fleet.hosts}
    files = set(fleet.outbox.glob("*.tsv"))
    run = fleet.play("campus.upki.renew", upki_renew_before=DUE_AGAIN).good()
    assert {host for host in fleet.hosts if fleet.served(host) != before[host]} == set(arrived)
    written = set(fleet.outbox.glob("*.tsv")) - files
    assert applications(written) == {"server_issue": [new["name"]], "server_renew": sorted(host.fqdn for host in due)}
    again = fleet.play("campus.upki.renew", upki_renew_before=DUE_AGAIN).quiet()
    assert set(fleet.outbox.glob("*.tsv")) - files == written
    print(f"daily run, 3 arrived and 4 due: {per_host(run.exchanges, fleet)}")
    print(f"in {run.seconds:.1f} s, then quiet in {again.seconds:.1f} s")


def sent(fleet: Controller) -> dict[str, list[str]]:
    """What follows the certificate of each host on the wire."""
    return {host.name: wire.above(fleet, host) for host in fleet.hosts}


def expected(fleet: Controller, generation: dict[str, list[str]]) -> dict[str, list[str]]:
    return {host.name: generation["ECC" if host.name == EC else "RSA"] for host in fleet.hosts}


def per_host(exchanges: list[str], fleet: Controller) -> str:
    """Exchanges of each host, for people."""
    counts = collections.Counter(exchanges)
    return ", ".join(f"{host.name} {counts[fleet.lab.address(host.name)]}" for host in fleet.hosts) + " exchanges"


def one_exchange(exchanges: list[str], fleet: Controller) -> bool:
    return collections.Counter(exchanges) == collections.Counter(
        f"{fleet.lab.address(host.name)}" for host in fleet.hosts
    )

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people save in the inbox by mistake: every host is told what is wrong with its file, and nothing changes."""

from __future__ import annotations

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, differences
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import web_hosts
from ansible_collections.campus.upki.tests.unit import pki

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*web_hosts(6))
    return fleet, Issuer(fleet)


def test_each_wrong_file_stops_its_own_host_and_the_right_one_goes_live(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    stranger = Issuer(fleet, "Stranger", known=False)
    fleet.request().good()
    web1, web2, web3, web4, web5, web6 = fleet.hosts
    issuer.issue(web1, key=pki.new_key())
    issuer.issue(web2, start=300, end=100)
    _serial, strange = issuer.issue(web3, name="elsewhere.example.ac.jp", request=web3.fqdn)
    stranger.issue(web4)
    issuer.issue(web5, names=[web5.fqdn])  # docs.… was asked for and is not in it
    right, _path = issuer.issue(web6)
    before = fleet.trees()
    told = {
        web1: "other_key",
        web2: "expired",
        web3: "names_missing",
        web4: "intermediate_missing",
        web5: "names_missing",
    }
    for options in (["--check"], []):
        run = fleet.deploy(*options)
        assert run.status == 2
        failed = {name for name, counts in run.recap.items() if counts["failed"]}
        assert failed == {host.name for host in told}, run.output
        after = fleet.trees()
        if options:
            assert not differences(before, after)
        else:
            del before[web6.name], after[web6.name]
            assert not differences(before, after)
        for host, code in told.items():
            assert code in codes(run.output, host.name), (host.name, run.output)
        said = codes(run.output, web3.name)  # that host knew it by its key only
        assert "elsewhere.example.ac.jp" in said and str(strange) in said, run.output
    assert fleet.served(web6) == right


def test_the_right_files_beside_the_wrong_ones_mend_it(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    serials = {host.name: issuer.issue(host)[0] for host in fleet.hosts[:5]}
    fleet.deploy().good()
    assert {host.name: fleet.served(host) for host in fleet.hosts[:5]} == serials
    fleet.deploy().quiet()


def codes(output: str, host: str) -> str:
    """What a run said of one host's failure."""
    return "\n".join(line for line in output.splitlines() if line.startswith(f"fatal: [{host}]"))

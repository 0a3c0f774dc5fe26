# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts at random moments of a renewal: a host's power, its cable, its ssh connection, the controller.

After each cut (a host without power is switched on again) the old or the new certificate serves before anybody has done
anything, both keys are there, and the next run finishes. Half of the moments are spread over a deployment, half over
the changes of the host's files, which last a few tenths of a second. The page cache outlives such a power cut; that
files reach the disk in the right order is tested with system calls broken one by one (tests/unit).

make lab-cuts                                     100 cuts
UPKI_LAB_CUTS=500 UPKI_LAB_SEED=7 make lab-cuts   another number, and another seed than today's date
UPKI_LAB_CUTS_LOG=FILE                            a line for each cut; .work/log/cuts-SEED.log
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import WORK, Host, web_hosts
from ansible_collections.campus.upki.tests.lab.watch import Watch

CUTS = int(os.environ.get("UPKI_LAB_CUTS", "15"))
SEED = int(os.environ.get("UPKI_LAB_SEED", time.strftime("%Y%m%d")))
LOG = pathlib.Path(os.environ.get("UPKI_LAB_CUTS_LOG", WORK / "log" / f"cuts-{SEED}.log"))
HOSTS = 9 if CUTS >= 50 else 5  # a round is one deployment; few cuts are not worth many first issues
# What is cut, and how often beside the others.
KINDS = {"power": 5, "cable": 2, "ssh": 2, "controller": 2}
# The virtual hosts stand since the first issue; without their roles the cuts fall closer to the swap.
BARE: dict[str, Any] = {"upki_nginx_manage": False, "upki_apache_manage": False}
DUE: dict[str, Any] = {"upki_renew_before": "120d"}  # of certificates with 98 of 198 days left
FORKS = {"ANSIBLE_FORKS": str(HOSTS)}
# ssh gives a dead line up soon and for good, so that a round does not wait for it.
PATIENCE = {
    "ANSIBLE_TIMEOUT": "5",
    "ANSIBLE_SSH_RETRIES": os.environ.get("ANSIBLE_SSH_RETRIES", "0"),
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=1 -o ServerAliveCountMax=3",
}
LONGEST = 60.0  # seconds more than usual for a deployment that is cut somewhere


@dataclasses.dataclass
class Usual:
    """A deployment that is left alone, and how long one may take that is cut somewhere."""

    begin: float  # seconds until the first ssh
    seconds: float
    changes: int  # of files in a host's store
    window: float  # seconds from the first of them to the last

    def __str__(self) -> str:
        return (
            f"a deployment takes {self.seconds:.1f} s, its first ssh starts after {self.begin:.1f} s, "
            f"a host's {self.changes} changes of files take {self.window:.2f} s"
        )


@dataclasses.dataclass
class Cut:
    host: Host
    kind: str
    change: int  # after so many changes of the host's files; 0: by the clock
    delay: float  # seconds, after that change or after the start of the deployment
    after: str = ""  # since the start and since the first change, once it has happened

    def __str__(self) -> str:
        plan = f"change {self.change} + {self.delay:.3f} s" if self.change else f"{self.delay:.3f} s"
        return f"{self.host.name} {self.host.release} {self.kind:10} at {plan:22} {self.after}"


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*web_hosts(HOSTS))
    issuer = Issuer(fleet)
    issuer.first_issue()
    fleet.request(env=FORKS, **DUE).good()
    return fleet, issuer


def test_old_or_new_certificate_serves_after_every_cut(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    chance = random.Random(SEED)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with open(LOG, "w", encoding="utf-8", buffering=1) as log:
        usual = measure(fleet, issuer)
        print(f"\nseed {SEED}, {CUTS} cuts, {usual}, log {LOG}")
        print(f"seed {SEED}, {CUTS} cuts, {usual}", file=log)
        begin, done = time.monotonic(), 0
        totals: collections.Counter[str] = collections.Counter()
        while done < CUTS:
            cuts = [planned(host, chance, usual) for host in fleet.hosts[: CUTS - done]]
            new = issuer.issue_all(start=100, end=-98)
            for cut, served in one_round(fleet, cuts, new, usual):
                done += 1
                totals[f"{cut.kind}, {served}"] += 1
                print(f"{done:4} {cut} then served the {served}", file=log)
                assert served in ("old", "new"), f"seed {SEED}, cut {done}: {cut}: served {served}; see {LOG}"
            finish(fleet, new)
        counts = "; ".join(f"{name} one {count}" for name, count in sorted(totals.items()))
        text = f"{done} cuts in {time.monotonic() - begin:.0f} s ({counts}); no key lost, every next run finished"
        print(text, file=log)
        print(text)
    fleet.deploy(**BARE).quiet()


def planned(host: Host, chance: random.Random, usual: Usual) -> Cut:
    (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
    if chance.random() < 0.5:
        return Cut(host, kind, 0, chance.uniform(usual.begin, usual.seconds))
    # Half of these at a change itself, where the time between two of them is a few milliseconds.
    delay = chance.choice([0.0, chance.uniform(0, usual.window)])
    return Cut(host, kind, chance.randint(1, usual.changes), delay)


def measure(fleet: Controller, issuer: Issuer) -> Usual:
    """A deployment that nobody disturbs, and the next requests after it."""
    watches = [Watch(store(fleet, host)) for host in fleet.hosts]
    new = issuer.issue_all(start=100, end=-98)
    calls, start, begin = len(fleet.calls()), time.monotonic(), 0.0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(fleet.deploy, env=FORKS, **BARE)
        while not run.done():
            for watch in watches:
                watch.wait(len(watch.seen) + 1, time.monotonic() + 0.005)
            if not begin and len(fleet.calls()) > calls:
                begin = time.monotonic() - start
    for watch in watches:
        watch.close()
    seconds = run.result().good().seconds
    assert {host.name: fleet.served(host) for host in fleet.hosts} == new
    fleet.request(env=FORKS, **DUE).good()
    return Usual(
        begin,
        seconds,
        min(len(watch.seen) for watch in watches),
        max(watch.seen[-1] - watch.seen[0] for watch in watches),
    )


# --- one round -----------------------------------------------------------------------------------------------


def one_round(fleet: Controller, cuts: list[Cut], new: dict[str, int], usual: Usual) -> list[tuple[Cut, str]]:
    """Deploy to all hosts, cut, switch on again: what served afterwards, before anybody did anything about it."""
    old = {host.name: fleet.served(host) for host in fleet.hosts}
    kept = {host.name: keys(fleet, host, ("pending", "live")) for host in fleet.hosts}
    fleet.hang_up()  # what the last run kept open is no part of this
    deploy_and_cut(fleet, cuts, usual)
    for cut in cuts:
        if cut.kind == "cable":
            fleet.lab.link(cut.host.name, "up")
        if cut.kind == "power":
            fleet.lab.boot(cut.host.name, wait=False)
    found = []
    for cut in cuts:
        if cut.kind == "power":
            fleet.lab.await_ssh(cut.host.name)
        serial = serving(fleet, cut.host)
        known: dict[int | str, str] = {old[cut.host.name]: "old", new[cut.host.name]: "new"}
        served = known.get(serial, str(serial))
        lost = kept[cut.host.name] - keys(fleet, cut.host, generations(fleet, cut.host))
        found.append((cut, f"{served}, but {len(lost)} keys are lost" if lost else served))
    return found


def deploy_and_cut(fleet: Controller, cuts: list[Cut], usual: Usual) -> None:
    """One controller for all hosts but those whose controller is to be cut: they have one each."""
    end = time.monotonic() + 2 * usual.seconds
    own = [cut.host.name for cut in cuts if cut.kind == "controller"]
    start = time.monotonic()
    runs = {name: Deployment(fleet, ["--limit", name]) for name in own}
    if len(own) < len(fleet.hosts):
        runs[""] = Deployment(fleet, ["--limit", ",".join(["all", *(f"!{name}" for name in own)])])
    try:
        with concurrent.futures.ThreadPoolExecutor(len(cuts)) as pool:
            list(pool.map(lambda cut: strike(fleet, cut, (start, end), runs.get(cut.host.name)), cuts))
        for run in runs.values():
            run.wait(end + LONGEST)
    finally:
        for run in runs.values():
            run.kill()


class Deployment:
    """A run of campus.upki.deploy in the background, with connections of its own."""

    numbers = 0

    def __init__(self, fleet: Controller, options: list[str]) -> None:
        Deployment.numbers += 1
        self.fleet = fleet
        self.control = fleet.lab.path / f"cut{Deployment.numbers}"
        command = ["ansible-playbook", "-i", str(fleet.inventory), "campus.upki.deploy", "-e", json.dumps(BARE)]
        settings = {**FORKS, **PATIENCE, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.control)}
        self.process = fleet.start([*command, *options], fleet.path / "cut.log", settings)

    def wait(self, until: float) -> None:
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"the deployment did not end (seed {SEED})")

    def kill(self) -> None:
        self.fleet.kill(self.process, self.control)


def strike(fleet: Controller, cut: Cut, times: tuple[float, float], own: Deployment | None) -> None:
    """Wait for the cut's moment and cut, at the second of these times at the latest."""
    start, end = times
    # Of this thread alone: between two changes lie a few milliseconds.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
    watch = Watch(store(fleet, cut.host))
    try:
        if cut.change:
            watch.wait(cut.change, end)
            time.sleep(cut.delay)
        else:
            watch.wait(10**6, start + cut.delay)
        now = time.monotonic()
        {
            "power": lambda: fleet.lab.power_cut(cut.host.name),
            "cable": lambda: fleet.lab.link(cut.host.name, "down"),
            "ssh": lambda: cut_ssh(fleet, cut.host, end),
            "controller": own.kill if own else lambda: None,
        }[cut.kind]()
        watch.wait(10**6, now)
        since = f", {now - watch.seen[0]:.3f} s after the first of {len(watch.seen)} changes" if watch.seen else ""
        cut.after = f"(after {now - start:.3f} s{since})"
    finally:
        watch.close()


def cut_ssh(fleet: Controller, host: Host, end: float) -> None:
    """Now, or as soon as there is a connection."""
    while not fleet.lab.kill_ssh(host.name) and time.monotonic() < end:
        time.sleep(0.01)


def finish(fleet: Controller, new: dict[str, int]) -> None:
    """The next run: what arrived goes live everywhere, and the next renewal is applied for."""
    run = fleet.play("campus.upki.deploy campus.upki.request", env=FORKS, **BARE, **DUE)
    assert run.status == 0, f"seed {SEED}, the run after the cuts: {run.output}; see {LOG}"
    assert {host.name: serving(fleet, host) for host in fleet.hosts} == new, (
        f"seed {SEED}, after the next run; see {LOG}"
    )


# --- looking -------------------------------------------------------------------------------------------------


def store(fleet: Controller, host: Host) -> pathlib.Path:
    return fleet.lab.root(host.name) / "etc" / "upki"


def serving(fleet: Controller, host: Host) -> int | str:
    """Serial served after the boot; the web server may come up a moment after sshd."""
    end = time.monotonic() + 20
    while True:
        try:
            return fleet.served(host)
        except ssl.SSLError as error:
            return str(error)
        except OSError as error:
            if time.monotonic() > end:
                return f"nothing ({error})"
            time.sleep(0.1)


def generations(fleet: Controller, host: Host) -> list[str]:
    folder = store(fleet, host) / host.fqdn / "generations"
    return [f"generations/{path.name}" for path in folder.iterdir() if not path.name.startswith(".")]


def keys(fleet: Controller, host: Host, folders: Iterable[str]) -> set[str]:
    """What tells the keys there from each other; all of them whole, each fitting its request."""
    found = set()
    for folder in (store(fleet, host) / host.fqdn / name for name in folders):
        key = _x509.private_key_from_pem((folder / "key.pem").read_bytes())
        request = _x509.request_from_pem((folder / "request.pem").read_text())
        assert _x509.spki_sha256(key.public_key()) == _x509.spki_sha256(request.public_key()), folder
        found.add(_x509.spki_sha256(key.public_key()))
    return found

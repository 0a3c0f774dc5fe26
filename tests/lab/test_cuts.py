# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts at random moments of a renewal: a host's power, its cable, its ssh connection, the controller.

After each cut (a host without power is switched on again) the old or the new certificate serves before anybody has done
anything, no key is lost, and the next run finishes. The rounds take turns between campus.upki.deploy, the daily
campus.upki.renew, which applies for the next renewal in the same process, and the daily run with virtual hosts. Most
cuts of the power and half of the others are aimed at the changes of the host's files, which last a few tenths of a
second; the rest are spread over the run. The page cache outlives such a power cut; that files reach the disk in the
right order is tested with system calls broken one by one (tests/unit).

make lab-cuts                                     100 cuts
UPKI_LAB_CUTS=500 UPKI_LAB_SEED=7 make lab-cuts   another number, and another seed than today's date
UPKI_LAB_CUTS_LOG=FILE                            a line for each cut; .work/log/cuts-SEED.log
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import pathlib
import random
import ssl
import statistics
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _csr, _x509
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import WORK, Host, web_hosts
from ansible_collections.campus.upki.tests.lab.watch import Watch

CUTS = int(os.environ.get("UPKI_LAB_CUTS", "15"))
SEED = int(os.environ.get("UPKI_LAB_SEED", time.strftime("%Y%m%d")))
LOG = pathlib.Path(os.environ.get("UPKI_LAB_CUTS_LOG", WORK / "log" / f"cuts-{SEED}.log"))
HOSTS = 9 if CUTS >= 50 else 5  # a round is one deployment; few cuts are not worth many first issues
# What is cut, and how often beside the others; and how many of so many are aimed at the changes of files.
KINDS = {"power": 5, "cable": 2, "ssh": 2, "controller": 2}
AIMED = {"power": (4, 5), "cable": (1, 2), "ssh": (1, 2), "controller": (1, 2)}
ENOUGH = 15  # cuts from which on all kinds must occur, and the power must have gone within the changes
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
LONGEST = 120.0  # seconds more than usual for a run that is cut somewhere


@dataclasses.dataclass(frozen=True, eq=False)
class Way:
    """How certificates go live in a round, and what the next run is."""

    name: str
    playbook: str
    following: str
    variables: dict[str, Any]


DEPLOY = Way("deploy", "campus.upki.deploy", "campus.upki.deploy campus.upki.request", BARE)
RENEW = Way("renew", "campus.upki.renew", "campus.upki.renew", BARE)
WHOLE = Way("renew with virtual hosts", "campus.upki.renew", "campus.upki.renew", {})


@dataclasses.dataclass
class Usual:
    """A run that is left alone."""

    begin: float  # seconds until the first ssh
    seconds: float
    changes: int  # of files in a host's store, at the host with the fewest
    window: float  # seconds from the first of them to the last, at the median host
    busy: float  # seconds until the last of them at any host; what comes later happens on the controller

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s, its first ssh after {self.begin:.1f} s, "
            f"{self.changes} changes of a host's files in {self.window:.2f} s"
        )


@dataclasses.dataclass
class Cut:
    host: Host
    kind: str
    change: int  # after so many changes of the host's files; 0: by the clock
    delay: float  # seconds, after that change or after the start of the run
    place: str = "nothing"  # of the cut: before, within or after the changes; nothing: it came too late to cut
    after: str = ""  # since the start and since the first change, once it has happened

    def __str__(self) -> str:
        plan = f"change {self.change} + {self.delay:.3f} s" if self.change else f"{self.delay:.3f} s"
        return f"{self.host.name} {self.host.release:8} {self.kind:10} at {plan:20} {self.place:7} {self.after}"


class Deck:
    """Cards that come in random order, and all of them before one comes again."""

    def __init__(self, chance: random.Random, cards: Iterable[Any], first: Iterable[Any] = ()) -> None:
        self.chance, self.cards, self.left = chance, list(cards), list(first)
        chance.shuffle(self.left)

    def deal(self) -> Any:
        if not self.left:
            self.left = self.chance.sample(self.cards, len(self.cards))
        return self.left.pop()


class Plan:
    """What is cut next, and when: one of each kind first."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kinds = Deck(chance, [kind for kind, count in KINDS.items() for _card in range(count)], KINDS)
        self.aims = {kind: Deck(chance, [True] * aimed + [False] * (of - aimed)) for kind, (aimed, of) in AIMED.items()}

    def cut(self, host: Host, usual: Usual) -> Cut:
        kind = self.kinds.deal()
        if not self.aims[kind].deal():
            return Cut(host, kind, 0, self.chance.uniform(usual.begin, usual.busy + 1))
        # By number where the time between two changes is a few milliseconds, by time where a server reloads.
        if self.chance.random() < 0.5:
            return Cut(host, kind, self.chance.randint(1, usual.changes - 1), 0.0)
        return Cut(host, kind, 1, self.chance.uniform(0, 0.8 * usual.window))

    def again(self, cut: Cut) -> None:
        """It cut nothing, so its kind and its aim come next."""
        self.kinds.left.append(cut.kind)
        self.aims[cut.kind].left.append(cut.change > 0)


class Tally:
    """What came of the cuts."""

    def __init__(self) -> None:
        self.cuts: list[tuple[Cut, str]] = []
        self.void = 0

    def add(self, cut: Cut, served: str) -> None:
        self.cuts.append((cut, served))

    def within(self, kind: str) -> tuple[int, int]:
        """Of the cuts of a kind: (those within the changes of files, all)."""
        places = [cut.place for cut, _served in self.cuts if cut.kind == kind]
        return places.count("within"), len(places)

    def __str__(self) -> str:
        kinds = {kind: self.within(kind) for kind in KINDS}
        hits = sum(hit for hit, _all in kinds.values())
        counts = collections.Counter(f"{cut.kind}, {served}" for cut, served in self.cuts)
        return (
            f"{hits} of {len(self.cuts)} within the changes of files ("
            + ", ".join(f"{kind} {hit} of {of}" for kind, (hit, of) in kinds.items())
            + f"), {self.void} more cut nothing; then served: "
            + ", ".join(f"{name} one {count}" for name, count in sorted(counts.items()))
        )

    def check(self) -> None:
        """The cuts fell where they say something."""
        if len(self.cuts) < ENOUGH:
            return
        assert all(self.within(kind)[1] for kind in KINDS), self
        hit, of = self.within("power")
        assert hit >= max(1, of // 5), f"only {hit} of {of} power cuts fell within the changes of files; see {LOG}"


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*web_hosts(HOSTS))
    issuer = Issuer(fleet)
    issuer.first_issue()
    fleet.request(env=FORKS, **DUE).good()
    return fleet, issuer


def test_old_or_new_certificate_serves_after_every_cut(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with open(LOG, "w", encoding="utf-8", buffering=1) as log:

        def tell(text: str) -> None:
            print(text)
            print(text, file=log)

        print(f"\nlog {LOG}")
        tell(f"seed {SEED}, {CUTS} cuts")
        usual = measured(fleet, issuer)
        for way in (DEPLOY, RENEW):
            tell(f"{way.name} takes {usual[way]}")
        begin, plan, tally = time.monotonic(), Plan(random.Random(SEED)), Tally()
        for way in itertools.cycle(usual):
            cuts = [plan.cut(host, usual[way]) for host in fleet.hosts[: CUTS - len(tally.cuts)]]
            for cut, served in one_round(fleet, issuer, way, usual[way], cuts):
                if cut.place == "nothing":
                    plan.again(cut)
                    tally.void += 1
                else:
                    tally.add(cut, served)
                print(f"{len(tally.cuts):4} {cut} then served the {served}", file=log)
                assert served in ("old", "new"), f"seed {SEED}, cut {len(tally.cuts)}: {cut}: {served}; see {LOG}"
            if len(tally.cuts) == CUTS:
                break
            assert tally.void < CUTS + HOSTS, f"seed {SEED}: too many cuts came too late; see {LOG}"
        seconds = time.monotonic() - begin
        tell(f"seed {SEED}: {CUTS} cuts, {seconds / CUTS:.1f} s each, {tally}; no key lost, every next run finished")
    tally.check()
    fleet.deploy(**BARE).quiet()


def measured(fleet: Controller, issuer: Issuer) -> dict[Way, Usual]:
    """Runs that nobody disturbs, once there are so many generations that each renewal takes away an old one."""
    for _generation in range(2):
        undisturbed(fleet, issuer, RENEW)
    deploy = undisturbed(fleet, issuer, DEPLOY)
    fleet.request(env=FORKS, **DUE).good()
    renew = undisturbed(fleet, issuer, RENEW)
    # By the bare run's clock cuts fall on the roles that write virtual hosts.
    return {DEPLOY: deploy, RENEW: renew, WHOLE: renew}


def undisturbed(fleet: Controller, issuer: Issuer, way: Way) -> Usual:
    watches = [Watch(store(fleet, host)) for host in fleet.hosts]
    new = issuer.issue_all(start=100, end=-98)
    calls, start, begin = len(fleet.calls()), time.monotonic(), 0.0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(fleet.play, way.playbook, env=FORKS, **way.variables, **DUE)
        while not run.done():
            for watch in watches:
                watch.wait(len(watch.seen) + 1, time.monotonic() + 0.005)
            if not begin and len(fleet.calls()) > calls:
                begin = time.monotonic() - start
    for watch in watches:
        watch.close()
    seconds = run.result().good().seconds
    assert {host.name: fleet.served(host) for host in fleet.hosts} == new
    return Usual(
        begin,
        seconds,
        min(len(watch.seen) for watch in watches),
        statistics.median(watch.seen[-1] - watch.seen[0] for watch in watches),
        max(watch.seen[-1] for watch in watches) - start,
    )


# --- one round -----------------------------------------------------------------------------------------------


def one_round(fleet: Controller, issuer: Issuer, way: Way, usual: Usual, cuts: list[Cut]) -> list[tuple[Cut, str]]:
    """A renewal that is cut, and the next run: what each host served in between, before anybody did anything."""
    new = issuer.issue_all(start=100, end=-98)
    old = {host.name: fleet.served(host) for host in fleet.hosts}
    kept = {host.name: keys(fleet, host, ("pending", "live")) for host in fleet.hosts}
    fleet.hang_up()  # what the last run kept open is no part of this
    run_and_cut(fleet, way, usual, cuts)
    for cut in cuts:
        if cut.kind == "cable":
            fleet.lab.link(cut.host.name, "up")
        if cut.kind == "power" and not fleet.lab.running(cut.host.name):
            fleet.lab.boot(cut.host.name, wait=False)
    found, newest = [], {}
    for cut in cuts:
        if cut.kind == "power":
            fleet.lab.await_ssh(cut.host.name)
        serial = serving(fleet, cut.host)
        known: dict[int | str, str] = {old[cut.host.name]: "old", new[cut.host.name]: "new"}
        served = known.get(serial, str(serial))
        with at_rest(fleet, cut.host):
            folders = generations(fleet, cut.host)
            newest[cut.host] = keys(fleet, cut.host, [max(folders)])
            lost = kept[cut.host.name] - keys(fleet, cut.host, folders)
        found.append((cut, f"{served}, but {len(lost)} keys are lost" if lost else served))
    if all(served in ("old", "new") for _cut, served in found):
        finish(fleet, way, new, newest)
    return found


def run_and_cut(fleet: Controller, way: Way, usual: Usual, cuts: list[Cut]) -> None:
    """One controller for all hosts but those whose controller is to be cut: they have one each."""
    own = [cut.host.name for cut in cuts if cut.kind == "controller"]
    start = time.monotonic()
    runs = {name: Cycle(fleet, way, ["--limit", name]) for name in own}
    if len(own) < len(fleet.hosts):
        runs[""] = Cycle(fleet, way, ["--limit", ",".join(["all", *(f"!{name}" for name in own)])])
    try:
        with concurrent.futures.ThreadPoolExecutor(len(cuts)) as pool:
            list(pool.map(lambda cut: strike(fleet, cut, start, runs.get(cut.host.name) or runs[""], usual), cuts))
        for run in runs.values():
            run.wait(start + usual.seconds + LONGEST)
    finally:
        for run in runs.values():
            run.kill()


class Cycle:
    """A run of a playbook in the background, with connections of its own."""

    numbers = 0

    def __init__(self, fleet: Controller, way: Way, options: list[str]) -> None:
        Cycle.numbers += 1
        self.fleet = fleet
        self.control = fleet.lab.path / f"cut{Cycle.numbers}"
        command = ["ansible-playbook", "-i", str(fleet.inventory), way.playbook]
        command += ["-e", json.dumps({**way.variables, **DUE}), *options]
        settings = {**FORKS, **PATIENCE, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.control)}
        self.process = fleet.start(command, fleet.path / "cut.log", settings)

    @property
    def going(self) -> bool:
        return self.process.poll() is None

    def wait(self, until: float) -> None:
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"the run did not end (seed {SEED})")

    def kill(self) -> bool:
        """Whether there was something to end."""
        going = self.going
        self.fleet.kill(self.process, self.control)
        return going


def strike(fleet: Controller, cut: Cut, start: float, run: Cycle, usual: Usual) -> None:
    """Wait for the cut's moment and cut, unless the run is over by then."""
    # Of this thread alone: between two changes lie a few milliseconds.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
    watch = Watch(store(fleet, cut.host))
    try:
        if await_moment(cut, watch, start, run) and run.going and act(fleet, cut, run):
            watch.wait(10**6, 0)  # and count what changed until it was done
            now, changes = time.monotonic(), len(watch.seen)
            cut.place = "within" if 0 < changes < usual.changes else "after" if changes else "before"
            since = f", {now - watch.seen[0]:.3f} s after the first of {changes} changes" if changes else ""
            cut.after = f"(after {now - start:.3f} s{since})"
    finally:
        watch.close()


def await_moment(cut: Cut, watch: Watch, start: float, run: Cycle) -> bool:
    """Whether the cut's moment came while the run was going."""
    if not cut.change:
        watch.wait(10**6, start + cut.delay)
        return True
    while not watch.wait(cut.change, time.monotonic() + 0.2):
        if not run.going:
            return False
    time.sleep(cut.delay)
    return True


def act(fleet: Controller, cut: Cut, run: Cycle) -> bool:
    """Whether it cut something."""
    if cut.kind == "power":
        fleet.lab.power_cut(cut.host.name)
    elif cut.kind == "cable":
        fleet.lab.link(cut.host.name, "down")
    elif cut.kind == "ssh":
        return cut_ssh(fleet, cut.host, run)
    elif cut.kind == "controller":
        return run.kill()
    return True


def cut_ssh(fleet: Controller, host: Host, run: Cycle) -> bool:
    """Now, or as soon as there is a connection; whether there was one."""
    while not fleet.lab.kill_ssh(host.name):
        if not run.going:
            return False
        time.sleep(0.01)
    return True


def finish(fleet: Controller, way: Way, new: dict[str, int], newest: dict[Host, set[str]]) -> None:
    """The next run: what arrived goes live everywhere, and each host has applied once for the next renewal.

    newest: the keys that the hosts had made last before it, which must be of use now.
    """
    run = fleet.play(way.following, env=FORKS, **way.variables, **DUE)
    assert run.status == 0, f"seed {SEED}, the run after the cuts: {run.output}; see {LOG}"
    where = f"seed {SEED}, after the next run; see {LOG}"
    assert {host.name: serving(fleet, host) for host in fleet.hosts} == new, where
    rows = applications(fleet)
    for host in fleet.hosts:
        cell = _csr.column_text((store(fleet, host) / host.fqdn / "pending" / "request.pem").read_text())
        assert rows[cell] == 1, f"{host.name} has applied {rows[cell]} times, {where}"
    for host, made in newest.items():
        assert made <= keys(fleet, host, ("pending", "live")), f"{host.name}: a new key for nothing, {where}"


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


@contextlib.contextmanager
def at_rest(fleet: Controller, host: Host) -> Iterator[None]:
    """The host's store while nothing changes there: what was cut off from its controller may still be at work."""
    with open(store(fleet, host) / ".lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def applications(fleet: Controller) -> collections.Counter[str]:
    """How often each cell stands in the outbox, the requests among them."""
    rows = [row for file in fleet.outbox.glob("*.tsv") for row in file.read_bytes().decode("shift_jis").splitlines()]
    return collections.Counter(cell for row in rows for cell in row.split("\t"))


def keys(fleet: Controller, host: Host, folders: Iterable[str]) -> set[str]:
    """What tells the keys there from each other; all of them whole, each fitting its request."""
    found = set()
    for folder in (store(fleet, host) / host.fqdn / name for name in folders):
        key = _x509.private_key_from_pem((folder / "key.pem").read_bytes())
        request = _x509.request_from_pem((folder / "request.pem").read_text())
        assert _x509.spki_sha256(key.public_key()) == _x509.spki_sha256(request.public_key()), folder
        found.add(_x509.spki_sha256(key.public_key()))
    return found

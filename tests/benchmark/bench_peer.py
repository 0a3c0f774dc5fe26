# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection beside the same outcome written with community.crypto and ansible.builtin (tests/benchmark/peer).

    python tests/benchmark/bench_peer.py [--hosts 6] [--each 1 --each 10] [--rounds 3] [--only lab|local]

Measured are whole ansible-playbook runs over all hosts at once, with as many forks as hosts:

- the first run: from nothing to certificates that are served and looked at. For the collection the playbooks request
  and, once the CA has issued, renew; for the peer its one playbook twice; the practice CA's work in between is not
  counted;
- the daily run afterwards, with nothing due: the collection's renew, the peer's playbook. Twice in each round.

The rounds alternate between the two, each on fresh stores with new names; shown is the median. Over ssh, every start
of ssh or sftp is counted. CPU seconds are those of ansible-playbook and its children: the controller's over ssh, those
of controller and hosts together by local connection; a busy machine falsifies them less than wall time. Beside it
stand the floor (one ssh exchange over an open connection, one RSA 2048 key made on a host) and a playbook with
ansible.builtin.ping alone. The peer's collection comes from the PyPI package named below, into .work/peer. Prints
tables in Markdown.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager

from ansible_collections.campus.upki.tests.benchmark.community import PACKAGE, peer_collections, version
from ansible_collections.campus.upki.tests.benchmark.sites import OURS, PEER, LabSite, Site, Taken, lab_site, local_site
from ansible_collections.campus.upki.tests.lab import lab as tool

HEAD = """| certificates a host | | ours | peer | ratio | CPU ours | peer | ratio | exchanges a host, ours | peer |
| --: | --- | --: | --: | --: | --: | --: | --: | --: | --: |"""


def measure(site: Site, each: int, rounds: int) -> dict[tuple[str, str], Taken]:
    """{(first or daily, side): median}."""
    taken: dict[tuple[str, str], list[Taken]] = {}
    for number in range(rounds):
        for side in (OURS, PEER) if number % 2 == 0 else (PEER, OURS):
            site.fresh(side, f"{side}{each}x{number}", each)
            taken.setdefault(("first run", side), []).append(site.first(side))
            taken.setdefault(("nothing due", side), []).extend(site.daily(side) for _again in range(2))
    return {key: median(rows) for key, rows in taken.items()}


def median(rows: list[Taken]) -> Taken:
    seconds, cpu, exchanges = (statistics.median(column) for column in zip(*rows, strict=True))
    return Taken(seconds, cpu, round(exchanges))


def table(site: Site, wanted: list[int], rounds: int) -> None:
    print(f"\n### {len(site.names)} {site.title}\n\n{HEAD}")
    for each in wanted:
        found = measure(site, each, rounds)
        for what in ("first run", "nothing due"):
            ours, peer = found[what, OURS], found[what, PEER]
            cells = [str(each), what]
            cells += [f"{ours.seconds:.1f} s", f"{peer.seconds:.1f} s", f"{peer.seconds / ours.seconds:.2f}"]
            cells += [f"{ours.cpu:.1f} s", f"{peer.cpu:.1f} s", f"{peer.cpu / ours.cpu:.2f}"]
            cells += [f"{run.exchanges / len(site.names):.1f}" if run.exchanges else "" for run in (ours, peer)]
            print(f"| {' | '.join(cells)} |", flush=True)


def floor(site: LabSite) -> None:
    """What no tool can go below, and what Ansible itself takes."""
    ping = median([site.play("ping.yml") for _number in range(3)])
    print(
        f"\nThe floor: one ssh exchange over an open connection {site.exchange() * 1000:.0f} ms, one RSA 2048 key "
        f"{site.key_generation() * 1000:.0f} ms; a playbook that pings all hosts {ping.seconds:.1f} s, its CPU time "
        f"{ping.cpu:.1f} s."
    )


def places(only: str | None) -> dict[str, Callable[..., AbstractContextManager[Site]]]:
    """Where it can be measured; what is missing is said."""
    found: dict[str, Callable[..., AbstractContextManager[Site]]] = {"lab": lab_site, "local": local_site}
    lacking = {
        "lab": tool.missing(),
        "local": "" if shutil.which("nginx") else "nginx is not installed",
    }
    for name, reason in lacking.items():
        if reason or only not in (None, name):
            del found[name]
        if reason and only in (None, name):
            print(f"skipped, {name}: {reason}")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=6)
    parser.add_argument("--each", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["lab", "local"])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that the hosts are taken away
    try:
        peer = peer_collections()
    except OSError as error:
        print(f"skipped: {error}")
        return
    print(f"community.crypto {version(peer)} (from {PACKAGE}); {os.cpu_count()} processors; {options.rounds} rounds")
    for place in places(options.only).values():
        with tempfile.TemporaryDirectory() as folder, place(pathlib.Path(folder), options.hosts, str(peer)) as site:
            table(site, options.each or [1, 10], options.rounds)
            if isinstance(site, LabSite):
                floor(site)


if __name__ == "__main__":
    main()

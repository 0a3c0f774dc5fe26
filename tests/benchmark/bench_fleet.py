# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daily run in which nothing is due costs, beside a playbook that only pings, for fleets of several sizes.

    python tests/benchmark/bench_fleet.py [--hosts 1 --hosts 10 …] [--runs 3]

Simulated hosts: local connections, ten forks, each with a store of its own that holds one live certificate of the
practice CA, all served by one nginx. Measured in turn, as whole processes with their children: `ansible.builtin.ping`,
the playbooks campus.upki.request and campus.upki.deploy, and campus.upki.renew, which is both and verify. Up to ten
hosts the median of the runs counts; larger fleets are measured once. CPU seconds are those of the whole tree, hosts
included. Memory is the controller's: the largest sum of the PSS of ansible-playbook and its forks, sampled three times
a second. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.campus.upki.plugins.module_utils import _install, _practice_desk, _request, _x509
from ansible_collections.campus.upki.plugins.modules import tsv
from ansible_collections.campus.upki.plugins.plugin_utils import _inbox
from ansible_collections.campus.upki.tests.benchmark.memory import Peak
from ansible_collections.campus.upki.tests.benchmark.sites import NGINX, SERVER, cpu, free_port

FORKS = 10
SIZES = (1, 10, 100, 500)
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
MANAGER = {"name": "a", "affiliation": "b", "email": "a@example.ac.jp"}
PING = "- hosts: upki\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"
NAMES = ("ping.yml", "campus.upki.request", "campus.upki.deploy", "campus.upki.renew")


class Taken(NamedTuple):
    """One run: wall and CPU seconds, peaks in MiB of the controller and of everything."""

    seconds: float
    cpu: float
    controller: float
    everything: float


class Fleet:
    """So many simulated hosts, each with one certificate that is live and served."""

    def __init__(self, folder: pathlib.Path, count: int) -> None:
        self.folder = folder
        self.names = [f"host{number:03d}" for number in range(count)]
        self.port = free_port()
        self.upki = folder / "upki"
        (folder / "ping.yml").write_text(PING)
        self._inventory()
        self._issue()

    def _certificate(self, host: str, **more: Any) -> dict[str, Any]:
        return {"name": f"{host}.example.ac.jp", "key_type": "p384", "software": "nginx", **more}

    def _store(self, host: str) -> str:
        return str(self.folder / "stores" / host)

    def _inventory(self) -> None:
        served = {"server": "nginx", "endpoint": f"127.0.0.1:{self.port}"}
        nginx = ["nginx", "-p", str(self.folder), "-c", "nginx.conf", "-e", "error.log"]
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "upki_subject": SUBJECT,
            "upki_manager": MANAGER,
            "upki_servers": {"nginx": {"test": [*nginx, "-t"], "reload": [*nginx, "-s", "reload"]}},
            "upki_intermediates": [str(self.upki / "practice-ca/repository")],
            "upki_roots": [str(self.upki / "practice-ca/roots")],
            "upki_verify_ca_file": str(self.upki / "practice-ca/roots/widely-trusted.pem"),
        }
        hosts = {
            host: {"upki_certificates": [self._certificate(host, **served)], "upki_store": self._store(host)}
            for host in self.names
        }
        (self.folder / "hosts.json").write_text(json.dumps({"upki": {"hosts": hosts, "vars": common}}))

    def _issue(self) -> None:
        """Keys, requests, certificates and stores by the modules' own functions in one process; not measured."""
        (self.folder / "stores").mkdir()
        records = []
        for host in self.names:
            wanted = {"certificates": [self._certificate(host)], "subject": SUBJECT, "manager": MANAGER}
            made = _request.Request({**wanted, "store": self._store(host)}, time.time()).run()
            records.append(made["certificates"][0]["record"])
        now = datetime.datetime.now(datetime.UTC)
        outbox, inbox = str(self.upki / "outbox"), str(self.upki / "inbox")
        given = {"records": records, "dest": outbox, "known_keys": [], "confirm_key_compromise": False}
        tsv.run(given, False, now.strftime("%Y-%m-%d"))
        authority = str(self.upki / "practice-ca")
        _practice_desk.run({"path": authority, "outbox": [outbox], "inbox": inbox})
        names = [f"{host}.example.ac.jp" for host in self.names]
        found = _inbox.look(names, [inbox], [f"{authority}/repository"], [f"{authority}/roots"], now)
        for host in self.names:
            _install.run(
                {
                    "certificates": [{"name": f"{host}.example.ac.jp"}],
                    "candidates": [one for one in found.candidates if self._is_for(host, one)],
                    "store": self._store(host),
                }
            )

    def _is_for(self, host: str, candidate: dict[str, Any]) -> bool:
        (certificate,) = _x509.certificates_from_pem(candidate["certificate"])
        return f"{host}.example.ac.jp" in _x509.dns_names(certificate)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """One nginx for all."""
        for part in ("conf.d", "tmp"):
            (self.folder / part).mkdir()
        rows = [
            SERVER.format(address="127.0.0.1", port=self.port, name=f"{host}.example.ac.jp", store=self._store(host))
            for host in self.names
        ]
        (self.folder / "conf.d" / "all.conf").write_text("server_names_hash_max_size 8192;\n" + "".join(rows))
        (self.folder / "nginx.conf").write_text(NGINX.format(port=free_port(), folder=self.folder))
        command = ["nginx", "-p", str(self.folder), "-c", "nginx.conf", "-e", "error.log"]
        subprocess.run(command, check=True)
        try:
            yield
        finally:
            os.kill(int((self.folder / "nginx.pid").read_text()), signal.SIGTERM)

    def play(self, name: str) -> Taken:
        """One ansible-playbook."""
        command = ["ansible-playbook", "-i", "hosts.json", "-f", str(FORKS), name]
        environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
        start, before = time.monotonic(), cpu()
        with open(self.folder / "log", "w+") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            with Peak(process.pid) as peak:
                process.wait()
            log.seek(0)
            if process.returncode or "changed=1" in (text := log.read()):
                raise SystemExit(f"{name} failed or changed something:\n{text[-3000:]}")
        return Taken(time.monotonic() - start, cpu() - before, peak.controller, peak.everything)


def measure(count: int, runs: int, names: list[str]) -> dict[str, Taken]:
    """Each playbook: the median of its runs."""
    with tempfile.TemporaryDirectory() as place:
        fleet = Fleet(pathlib.Path(place), count)
        with fleet.served():
            taken = [{name: fleet.play(name) for name in names} for _run in range(runs)]
    return {name: median([one[name] for one in taken]) for name in names}


def median(rows: list[Taken]) -> Taken:
    return Taken(*(statistics.median(values) for values in zip(*rows, strict=True)))


def per_host(found: dict[int, dict[str, Taken]], name: str) -> list[str]:
    """The slope from ten hosts on: seconds, CPU seconds and KiB of the controller for each further host."""
    first, lines = found[10][name], []
    for count, rows in found.items():
        if count > 10 and name in rows:
            more = [(rows[name][index] - first[index]) / (count - 10) for index in range(3)]
            lines.append(f"| {name} | 10 to {count} | {more[0]:.2f} s | {more[1]:.2f} s | {more[2] * 1024:.0f} KiB |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", action="append", choices=NAMES[1:], help="these playbooks, beside ping")
    options = parser.parse_args()
    if not shutil.which("nginx"):
        print("skipped: nginx is not installed")
        return
    print(f"{os.cpu_count()} processors, {FORKS} forks; load of the machine at the start {os.getloadavg()[0]:.1f}\n")
    print(
        "| hosts | | wall | × ping | CPU | × ping | controller's memory |\n| --: | --- | --: | --: | --: | --: | --: |"
    )
    found: dict[int, dict[str, Taken]] = {}
    names = [NAMES[0], *(options.only or NAMES[1:])]
    for count in options.hosts or SIZES:
        found[count] = measure(count, options.runs if count <= 10 else 1, names)
        ping = found[count]["ping.yml"]
        for name, one in found[count].items():
            wall = f"{one.seconds:.1f} s | {one.seconds / ping.seconds:.2f}"
            used = f"{one.cpu:.1f} s | {one.cpu / ping.cpu:.2f}"
            print(f"| {count} | {name} | {wall} | {used} | {one.controller:.0f} MiB |", flush=True)
    if 10 in found and len(found) > 1:
        print("\n| | hosts | wall for each more | CPU | controller's memory |\n| --- | --- | --: | --: | --: |")
        print("\n".join(line for name in names for line in per_host(found, name)))


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daily run in which nothing is due costs, beside a playbook that only pings.

    python tests/benchmark/bench_fleet.py [--hosts 1 --hosts 10 --hosts 50] [--runs 3]

Simulated hosts: local connections, each with a store of its own that holds one live certificate (issued by the practice
CA, no web server). Measured in turn, as whole processes with their children: `ansible.builtin.ping`, the playbook
campus.upki.request and the role deploy, each over all hosts. Wall seconds are the median of the runs. Prints a table in
Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

HEAD = "| hosts | ping | request, nothing due | ratio | install, nothing new | ratio |"
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
PING = "- hosts: upki\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"


def inventory(folder: pathlib.Path, count: int) -> None:
    """So many hosts with one certificate each."""
    hosts = {
        f"host{number:03d}": {
            "upki_certificates": [
                {"name": f"host{number:03d}.example.ac.jp", "key_type": "p384", "software": "nginx"},
            ]
        }
        for number in range(count)
    }
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "upki_subject": SUBJECT,
        "upki_manager": {"name": "a", "affiliation": "b", "email": "a@example.ac.jp"},
        "upki_store": "{{ inventory_dir }}/{{ inventory_hostname }}",
        "upki_intermediates": ["{{ inventory_dir }}/upki/practice-ca/repository"],
        "upki_roots": ["{{ inventory_dir }}/upki/practice-ca/roots"],
    }
    (folder / "hosts.json").write_text(json.dumps({"upki": {"hosts": hosts, "vars": common}}))
    (folder / "ping.yml").write_text(PING)
    (folder / "upki" / "inbox").mkdir(parents=True)


def play(folder: pathlib.Path, name: str) -> float:
    """Wall seconds of one ansible-playbook."""
    command = ["ansible-playbook", "-i", "hosts.json", "-f", "10", name]
    environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
    return time.monotonic() - start


def measure(count: int, runs: int) -> dict[str, float]:
    """Median seconds of each playbook."""
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        inventory(folder, count)
        for name in ("request", "practice_ca", "deploy"):
            play(folder, f"campus.upki.{name}")
        names = ("ping.yml", "campus.upki.request", "campus.upki.deploy")
        taken = [{name: play(folder, name) for name in names} for _run in range(runs)]
        return {name: statistics.median(one[name] for one in taken) for name in names}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, action="append")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, 10 forks, seconds (median of {options.runs})\n\n{HEAD}")
    print("| --: | --: | --: | --: | --: | --: |")
    for count in options.hosts or [1, 10, 50]:
        found = measure(count, options.runs)
        ping, request, deploy = found["ping.yml"], found["campus.upki.request"], found["campus.upki.deploy"]
        print(f"| {count} | {ping:.1f} | {request:.1f} | {request / ping:.2f} | {deploy:.1f} | {deploy / ping:.2f} |")


if __name__ == "__main__":
    main()

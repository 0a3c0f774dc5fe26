# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job slicing as AWX does it: two ansible-runner jobs at once, each with half of the fleet, and their outboxes.

Every host is this machine; what matters is who writes which TSV file.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

HOSTS = [f"web{number}" for number in range(4)]
HALVES = {"job71": HOSTS[:2], "job72": HOSTS[2:]}
EACH = 55  # certificates a host: more than one file of 99 for each half
VARIABLES = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "upki_subject": {"organization": "Example University", "state": "Tokyo", "locality": "Chiyoda-ku"},
    "upki_manager": {"name": "Hanako", "affiliation": "IT centre", "email": "hanako@example.ac.jp"},
}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ansible_runner") is None, reason="ansible-runner is not installed for this Python"
)


def names_of(host: str) -> list[str]:
    return [f"site{number}.{host}.example.ac.jp" for number in range(EACH)]


def prepare(folder: pathlib.Path, job: str, hosts: list[str], **variables: Any) -> list[str]:
    """The directory that AWX lays out for one slice, and the command that it runs there."""
    place = folder / job
    (place / "inventory").mkdir(parents=True, exist_ok=True)
    (place / "project").mkdir(exist_ok=True)
    store = f"{folder}/stores/{{{{ inventory_hostname }}}}"
    rows = {
        host: {"upki_certificates": [{"name": n, "key_type": "p384", "software": "nginx"} for n in names_of(host)]}
        for host in hosts
    }
    group = {"hosts": rows, "vars": {**VARIABLES, "upki_store": store, **variables}}
    (place / "inventory" / "hosts.json").write_text(json.dumps({"all": {"children": {"upki": group}}}))
    return [sys.executable, "-m", "ansible_runner", "run", str(place), "-p", "campus.upki.request"]


def together(*commands: list[str]) -> list[str]:
    """Outputs of commands that run at the same time; every one must succeed."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1"}
    running = [
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for command in commands
    ]
    outputs = [process.communicate(timeout=300)[0].decode() for process in running]
    for process, output in zip(running, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def changed(output: str) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def applied_for(outbox: pathlib.Path) -> list[str]:
    """The FQDN of every line of every file, each file within the service's limit."""
    found = []
    for file in sorted(outbox.glob("*.tsv")):
        lines = file.read_bytes().decode("shift_jis").splitlines()
        assert 0 < len(lines) <= 99, file
        found += [line.split("\t")[10] for line in lines]
    return found


def complete(names: list[str]) -> bool:
    """Every certificate of the fleet is applied for, none twice."""
    return collections.Counter(names) == collections.Counter(name for host in HOSTS for name in names_of(host))


def test_two_slices_that_share_an_outbox_lose_nothing_and_repeat_nothing(tmp_path: pathlib.Path) -> None:
    outbox = tmp_path / "outbox"
    commands = [prepare(tmp_path, job, hosts, upki_outbox=str(outbox)) for job, hosts in HALVES.items()]
    assert all(changed(output) for output in together(*commands))
    assert len(list(outbox.glob("*.tsv"))) == 4
    assert complete(applied_for(outbox))
    assert not any(changed(output) for output in together(*commands))
    assert complete(applied_for(outbox))


def test_outboxes_of_two_slices_are_brought_together_by_copying(tmp_path: pathlib.Path) -> None:
    commands = [
        prepare(tmp_path, job, hosts, upki_outbox=str(tmp_path / job / "outbox"), upki_outbox_label=job)
        for job, hosts in HALVES.items()
    ]
    together(*commands)
    merged = tmp_path / "merged"
    merged.mkdir()
    for job in HALVES:
        for file in (tmp_path / job / "outbox").glob("*.tsv"):
            assert job in file.name and not (merged / file.name).exists()
            shutil.copy2(file, merged)
    assert complete(applied_for(merged))
    # The next job finds there what is applied for, whatever its own label.
    (output,) = together(prepare(tmp_path, "whole", HOSTS, upki_outbox=str(merged), upki_outbox_label="job80"))
    assert not changed(output) and complete(applied_for(merged))


def test_the_outbox_may_be_on_a_managed_host(tmp_path: pathlib.Path) -> None:
    command = prepare(
        tmp_path, "job71", HOSTS[:1], upki_outbox=str(tmp_path / "outbox"), upki_outbox_host="admin.example.ac.jp"
    )
    # Not in the slice's inventory, so its connection comes from the job, as a machine credential does.
    (tmp_path / "job71" / "env").mkdir()
    (tmp_path / "job71" / "env" / "cmdline").write_text("--connection local")
    (tmp_path / "job71" / "env" / "envvars").write_text(json.dumps({"ANSIBLE_PYTHON_INTERPRETER": sys.executable}))
    (output,) = together(command)
    assert "web0 -> admin.example.ac.jp" in output
    assert sorted(applied_for(tmp_path / "outbox")) == sorted(names_of("web0"))

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Not one trace of a private key outside the store: a whole life at -vvvv --diff, with and without pipelining."""

from __future__ import annotations

import contextlib
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import web_hosts

pytestmark = pytest.mark.nightly

LOUD = ("-vvvv", "--diff")


@contextlib.contextmanager
def watching_processes(seen: set[bytes]) -> Iterator[None]:
    """Collect the command lines and environments of all processes, those of the hosts included."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for entry in pathlib.Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        seen.add((entry / part).read_bytes())
            stop.wait(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("pipelining", [True, False])
def test_no_trace_of_a_key_outside_the_store(start: Start, pipelining: bool) -> None:
    fleet = start(*web_hosts(3))
    issuer = Issuer(fleet)
    log = fleet.path / "ansible.log"
    options: dict[str, Any] = {
        "env": {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_KEEP_REMOTE_FILES": str(int(not pipelining))},
        "ansible_pipelining": pipelining,
    }
    outputs, processes = [], set[bytes]()
    with watching_processes(processes):
        for due in ("1/3", "120d"):
            outputs.append(fleet.request(*LOUD, upki_renew_before=due, **options).good().output)
            issuer.issue_all(start=100, end=-98)
            outputs.append(fleet.deploy(*LOUD, **options).good().output)
        outputs.append(fleet.verify(*LOUD, **options).good().output)
    canaries = keys(fleet)
    assert len(canaries) > 6 * 10
    for text in outputs:
        assert "task path" in text  # it was loud indeed
    spoken = {"output": "\n".join(outputs).encode(), "processes": b"\n".join(processes)}
    written = files(fleet)
    assert str(log) in written
    assert not traces({**spoken, **written}, canaries)
    # The search finds what there is to find.
    (fleet.lab.running_root(fleet.hosts[0].name) / "tmp" / "left-behind").write_bytes(b"x" + min(canaries) + b"x")
    assert len(traces(files(fleet), canaries)) == 1


def traces(places: dict[str, bytes], canaries: set[bytes]) -> list[str]:
    return [place for place, data in places.items() if any(canary in data for canary in canaries)]


def files(fleet: Controller) -> dict[str, bytes]:
    """Every file of the operator's directory and of the hosts, memory file systems included, but for the keys."""
    folders = [fleet.path]
    for host in fleet.hosts:
        running = fleet.lab.running_root(host.name)
        folders += [fleet.lab.folder(host.name) / "upper", running / "tmp", running / "run", running / "dev" / "shm"]
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != "key.pem"
    }


def keys(fleet: Controller) -> set[bytes]:
    """What would betray a key: every line of its PEM, its DER, and its secret number in hexadecimal."""
    found = set()
    for host in fleet.hosts:
        for path in fleet.lab.root(host.name).glob("etc/upki/*/generations/*/key.pem"):
            text = path.read_bytes()
            found |= {line for line in text.splitlines() if len(line) == 64}
            numbers = _x509.private_key_from_pem(text).private_numbers()
            secret = numbers.d if hasattr(numbers, "d") else numbers.private_value
            found.add(f"{secret:x}".encode())
            found.add(secret.to_bytes((secret.bit_length() + 7) // 8, "big"))
    # The head of every RSA key of this size is the same and no secret; so is the public part, which stands in the CSR.
    public = b"".join(
        path.read_bytes()
        for host in fleet.hosts
        for path in fleet.lab.root(host.name).glob("etc/upki/*/*/*/request.pem")
    )
    return {canary for canary in found if canary not in public}

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: hosts that answer, and nothing left behind however a run ends."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.campus.upki.tests.lab import lab as tool

TOOL = pathlib.Path(tool.__file__)


@pytest.fixture
def work(lab: tool.Lab, tmp_path: pathlib.Path) -> pathlib.Path:
    """A work folder of its own; `lab` is there to skip where no lab can run."""
    return tmp_path


def command(work: pathlib.Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TOOL), *words],
        env={**os.environ, "UPKI_WORK": str(work)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(work: pathlib.Path, *words: str) -> str:
    process = command(work, *words)
    output, _errors = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def left(work: pathlib.Path) -> list[str]:
    """What of a lab is on the machine: mounts, namespaces, cables, processes, files."""
    made = tool.Lab(work)
    found = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(work) in line]
    names = tool.run("ip", "netns", "list") + tool.run("ip", "-brief", "link")
    found += [line for line in names.splitlines() if made.bridge in line or line.startswith(f"v{made.id}n")]
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"lab{made.id}-".encode() in line:
            found.append(line.decode(errors="replace"))
    return found + [str(path) for path in (work / "lab").rglob("*")]


def test_hosts_answer_and_down_leaves_nothing(work: pathlib.Path) -> None:
    assert "web3" in finish(work, "up", "3")
    versions = [
        finish(work, "shell", f"web{n}", "cat /etc/debian_version").split(".", maxsplit=1)[0] for n in (1, 2, 3)
    ]
    assert versions == ["11", "12", "13"]
    inventory = json.loads((work / "lab" / "inventory" / "hosts.json").read_text())
    assert list(inventory["all"]["children"]["lab"]["hosts"]) == ["web1", "web2", "web3"]
    assert left(work)
    finish(work, "down")
    assert not left(work)
    finish(work, "down")  # again, with nothing there


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_cleans_up_itself(work: pathlib.Path, number: int) -> None:
    process = command(work, "up", "3")
    await_something(work)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not left(work)


def test_down_finds_what_a_killed_start_left(work: pathlib.Path) -> None:
    process = command(work, "up", "3")
    await_something(work)
    time.sleep(0.5)
    process.kill()
    process.communicate(timeout=60)
    assert left(work)
    finish(work, "down")
    assert not left(work)


def await_something(work: pathlib.Path) -> None:
    end = time.monotonic() + 30
    while not any(work.glob("lab/hosts/*/root/etc")):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("words", [["check"], ["up", "3"]])
def test_without_root_one_line_says_so(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tool.main(words) == tool.MISSING
    (line,) = capsys.readouterr().err.splitlines()
    assert "root" in line


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tool.shutil, "which", lambda program: None)
    assert "systemd-nspawn" in tool.missing() and "systemd-container" in tool.missing()

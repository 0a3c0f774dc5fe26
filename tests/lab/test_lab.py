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
from collections.abc import Iterator

import pytest
from ansible_collections.campus.upki.tests.lab import lab as tool

TOOL = pathlib.Path(tool.__file__)


@pytest.fixture
def work(lab: tool.Lab, tmp_path: pathlib.Path) -> pathlib.Path:
    """A work folder of its own; `lab` is there to skip where no lab can run."""
    return tmp_path


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Where the tests run in the background, a shell has them and all that they start ignore the interruption."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def left(work: pathlib.Path, below: str = "") -> list[str]:
    """What of a lab is on the machine: mounts, namespaces, cables, processes, files."""
    made = tool.Lab(work / below)
    found = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(made.path) in line]
    names = tool.run("ip", "netns", "list") + tool.run("ip", "-brief", "link")
    found += [line for line in names.splitlines() if made.bridge in line or line.startswith(f"v{made.id}n")]
    return [*found, *running(work / below), *(str(path) for path in made.path.rglob("*"))]


def running(work: pathlib.Path) -> list[str]:
    return [tool.command_line(pid) for pid in tool.machines(f"lab{tool.Lab(work).id}-")]


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


SCENARIO = """
import time
from ansible_collections.campus.upki.tests.lab.lab import web_hosts

def test_scenario(start):
    start(*web_hosts(2))
    print("hosts are up", flush=True)
    time.sleep(100)
"""


def scenario(work: pathlib.Path) -> subprocess.Popen[str]:
    """A pytest in the middle of a scenario, its hosts running."""
    file = work / "test_scenario.py"
    file.write_text(SCENARIO)
    command = [sys.executable, "-m", "pytest", "-s", "-c", os.devnull, "-p", "no:cacheprovider", str(file)]
    process = subprocess.Popen(
        [*command, "-p", tool.__name__.replace("lab.lab", "lab.conftest"), "--basetemp", str(work / "tmp")],
        env={**os.environ, "UPKI_WORK": str(work)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "hosts are up" in line:
            return process
    pytest.fail("".join(said))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_tests_take_their_hosts_along(work: pathlib.Path, number: int) -> None:
    process = scenario(work)
    assert left(work, "tests")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not left(work, "tests")


def test_the_next_tests_clean_up_after_killed_ones(work: pathlib.Path) -> None:
    process = scenario(work)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 20
    while running(work / "tests"):  # the hosts end with the tests, though nobody can tell them
        assert time.monotonic() < end, running(work / "tests")
        time.sleep(0.1)
    assert left(work, "tests")
    process = scenario(work)
    process.terminate()
    process.communicate(timeout=60)
    assert not left(work, "tests")


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


def test_a_mirror_that_is_away_is_a_reason_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(tool, "missing", lambda: "")
    monkeypatch.setattr(tool, "WORK", tmp_path / "work")
    monkeypatch.setattr(tool, "mirrors", lambda: {"Debian": "http://127.0.0.1:9/debian"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if tool.missing_programs():
        pytest.skip("debootstrap is not installed")
    assert tool.main(["ready"]) == tool.MISSING
    (line,) = capsys.readouterr().err.splitlines()
    assert "bullseye could not be made: " in line and "127.0.0.1" in line

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gates.py and matrix.py share: run a command or pytest, count, and find or make interpreters."""

from __future__ import annotations

import collections
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable

import tree

CHECKOUT = tree.CHECKOUT
WORK = tree.WORK
TREE = tree.TREE
LOG = WORK / "log"
HOST_TESTS = ["tests/unit/plugins/module_utils", "tests/unit/plugins/modules"]
OLDEST = (3, 6)
GRACE = 90  # seconds in which a command that is told to end may clean up
TIMED_OUT = 124  # as the status of timeout(1)
START = time.monotonic()


class Result:
    """What came of one gate."""

    def __init__(self, passed: int = 0, failed: int = 0, skipped: int = 0, notes: list[str] | None = None) -> None:
        self.passed, self.failed, self.skipped = passed, failed, skipped
        self.notes = notes or []
        self.output = ""

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


Gate = Callable[[list[str]], Result]


# --- running ---------------------------------------------------------------------------------------------


PROCESSES: set[subprocess.Popen[bytes]] = set()
ENDING = threading.Event()  # nothing new begins


def run(
    command: list[str],
    name: str,
    cwd: pathlib.Path = TREE,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> tuple[int, str]:
    """(exit code, output); the output also goes to .work/log/NAME.log."""
    if ENDING.is_set():
        raise RuntimeError("this run was ended")
    variables = {**os.environ, "PYTHONPATH": "", "NO_COLOR": "1", "PY_COLORS": "0", **(environment or {})}
    with open(LOG / f"{name}.log", "w", encoding="utf-8") as log:
        print("$", *command, file=log, flush=True)
        process = subprocess.Popen(
            command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        PROCESSES.add(process)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            end(process)
            code = TIMED_OUT
        PROCESSES.discard(process)
    return code, (LOG / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """Tell it to end, and end it when it does not."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def terminated(_number: int, _frame: object) -> None:
    """What this run has started ends with it, and cleans up."""
    ENDING.set()
    for process in list(PROCESSES):
        process.send_signal(signal.SIGTERM)
    raise SystemExit(128 + signal.SIGTERM)


def judged(
    command: list[str], name: str, cwd: pathlib.Path = TREE, environment: dict[str, str] | None = None
) -> Result:
    """A gate of one command: passed when it exits with 0."""
    code, output = run(command, name, cwd, environment)
    result = Result(passed=int(code == 0), failed=int(code != 0))
    result.output = output if code else ""
    return result


def tested(python: pathlib.Path, arguments: list[str], name: str) -> Result:
    """A gate of one pytest run."""
    report = LOG / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        f"--junitxml={report}",
        f"--basetemp={WORK / 'tmp' / name}",
        *arguments,
    ]
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    code, output = run(command, name, environment={"PYTHONPATH": str(WORK / "tree"), "PATH": path})
    result = counted(report) if report.is_file() else Result()
    if code and not result.failed:  # a collection that broke, or no test at all
        result.failed = 1
    result.output = output if code else ""
    return result


def counted(report: pathlib.Path) -> Result:
    """pytest's numbers from its JUnit report, with the reasons of the skipped ones."""
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    reasons = [skip.get("message", "") for case in cases if (skip := case.find("skipped")) is not None]
    notes = [f"skipped {count}: {reason}" for reason, count in collections.Counter(reasons).items()]
    return Result(len(cases) - failed - len(reasons), failed, len(reasons), notes)


def skipped(reason: str) -> Result:
    """A gate that this machine cannot run."""
    return Result(skipped=1, notes=[f"skipped: {reason}"])


# --- interpreters ----------------------------------------------------------------------------------------


@functools.cache
def interpreters() -> dict[tuple[int, int], pathlib.Path]:
    """Every CPython 3 that runs here, by (major, minor): this one, on PATH, under pyenv."""
    candidates = [pathlib.Path(sys.executable)]
    for minor in range(OLDEST[1], sys.version_info[1] + 10):
        found = shutil.which(f"python3.{minor}")
        candidates += [pathlib.Path(found)] if found else []
    candidates += sorted(
        pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.*/bin/python")
    )
    usable: dict[tuple[int, int], pathlib.Path] = {}
    question = "import json, sys, venv, ensurepip; print(json.dumps([sys.version_info[:2], sys.executable]))"
    for candidate in candidates:
        answer = subprocess.run(
            [str(candidate), "-c", question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if answer.returncode == 0:
            version, executable = json.loads(answer.stdout)
            usable.setdefault((version[0], version[1]), pathlib.Path(executable))
    return usable


def environment(version: tuple[int, int], name: str, packages: list[str]) -> pathlib.Path:
    """The interpreter of a virtual environment of that Python with these packages; raises when pip fails."""
    folder = WORK / "hosts" / f"{version[0]}.{version[1]}-{name}"
    python, stamp = folder / "bin" / "python", folder / "stamp"
    if stamp.is_file() and stamp.read_text() == "\n".join(packages):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    steps = [[str(interpreters()[version]), "-m", "venv", str(folder)]]
    if version < (3, 8):
        steps.append([*pip, "--upgrade", "pip<22"])  # the bundled one is too old for today's wheels
    steps.append([*pip, *packages])
    for step in steps:
        code, output = run(step, f"setup-{folder.name}", CHECKOUT)
        if code:
            raise RuntimeError(f"'{' '.join(step)}' failed:\n{output}")
    stamp.write_text("\n".join(packages))
    return python


def pinned(name: str) -> list[str]:
    """The requirements of requirements/NAME.txt."""
    lines = (CHECKOUT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def host_tests() -> list[str]:
    return [path for path in HOST_TESTS if (TREE / path).is_dir()]


# --- showing ------------------------------------------------------------------------------------------------


def shown(heading: str, gate: Callable[[], Result]) -> Result:
    """Run one gate and show what came of it."""
    start = time.monotonic()
    try:
        result = gate()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        result = Result(failed=1)
        result.output = str(error)
    lines = [f"\n=== {heading}", *([result.output.rstrip()] if result.output else [])]
    lines += [f"    {note}" for note in result.notes]
    lines.append(f"    {result} in {time.monotonic() - start:.0f} s")
    print("\n".join(lines), flush=True)
    return result


def prepare() -> None:
    """Lay the folders and a fresh copy of the tree."""
    LOG.mkdir(parents=True, exist_ok=True)
    (WORK / "tmp").mkdir(exist_ok=True)
    tree.copy_tree()


def summary(results: dict[str, Result]) -> int:
    """Count everything, the totals alone on the last line, the time before it; the exit status."""
    print("\n=== summary")
    for name, result in results.items():
        print(f"    {'FAILED' if result.failed else 'ok':6} {name:{max(map(len, results))}} {result}")
    passed, failed, left_out = (
        sum(getattr(result, kind) for result in results.values()) for kind in ("passed", "failed", "skipped")
    )
    minutes, seconds = divmod(round(time.monotonic() - START), 60)
    print(f"\ntook {minutes} min {seconds} s")
    print(f"{passed} passed, {failed} failed, {left_out} skipped", flush=True)
    return 1 if failed else 0

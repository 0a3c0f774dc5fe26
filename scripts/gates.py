# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the project's tests and gates, each under a heading, and count them.

gates.py                        all of them
gates.py --only NAME [ARG ...]  one of them; pytest gates hand the arguments on to pytest

The last line is `N passed, N failed, N skipped`: pytest's numbers, and one for each other gate.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections.abc import Callable

import tree

CHECKOUT = tree.CHECKOUT
WORK = tree.WORK
TREE = tree.TREE
LOG = WORK / "log"
BIN = CHECKOUT / ".venv" / "bin"
HOST_TESTS = ["tests/unit/plugins/module_utils", "tests/unit/plugins/modules"]
OLDEST = (3, 6)
# The controller's side: annotated in full and judged by mypy. tests/unit runs partly on Python 3.6, see pyproject.toml.
TYPED = ["plugins/action", "plugins/filter", "plugins/lookup", "plugins/plugin_utils", "plugins/doc_fragments"]
TYPED += ["scripts", "demo", "tests"]
# Folders whose files import each other by their bare names.
IMPORTED_PLAINLY = ["scripts", "demo"]


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


def run(
    command: list[str], name: str, cwd: pathlib.Path = TREE, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """(exit code, output); the output also goes to .work/log/NAME.log."""
    variables = {**os.environ, "PYTHONPATH": "", "NO_COLOR": "1", "PY_COLORS": "0", **(environment or {})}
    with open(LOG / f"{name}.log", "w", encoding="utf-8") as log:
        print("$", *command, file=log, flush=True)
        code = subprocess.run(
            command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    return code, (LOG / f"{name}.log").read_text(encoding="utf-8", errors="replace")


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


# --- the gates -------------------------------------------------------------------------------------------


def unit(arguments: list[str]) -> Result:
    return tested(BIN / "python", arguments or ["tests/unit"], "unit")


def unit_oldest(arguments: list[str]) -> Result:
    if OLDEST not in interpreters():
        return skipped("no Python 3.6 found on PATH or under pyenv")
    python = environment(OLDEST, "host-oldest", pinned("host-oldest"))
    return tested(python, arguments or host_tests(), "unit-oldest")


def unit_newest(arguments: list[str]) -> Result:
    newest = max(interpreters())
    if newest == sys.version_info[:2]:
        return skipped(f"Python {newest[0]}.{newest[1]} of .venv is the newest found")
    python = environment(newest, "host-newest", pinned("host-newest"))
    return tested(python, arguments or host_tests(), "unit-newest")


def sanity(arguments: list[str]) -> Result:
    """ansible-test in a home and a copy of its own, so that its caches and environments stay there."""
    copy = WORK / "sanity" / TREE.relative_to(WORK / "tree")
    tree.copy_tree(copy)
    home, pythons = WORK / "home", WORK / "pythons"
    shutil.rmtree(pythons, ignore_errors=True)
    pythons.mkdir(parents=True)
    for (major, minor), path in interpreters().items():
        (pythons / f"python{major}.{minor}").symlink_to(path)
    pip_cache = subprocess.run(
        [BIN / "python", "-m", "pip", "cache", "dir"], stdout=subprocess.PIPE, text=True, check=False
    )
    offer_bootstrap(home)
    result = judged(
        [str(BIN / "ansible-test"), "sanity", "--venv", "--color", "no", *arguments],
        "sanity",
        copy,
        {
            "HOME": str(home),
            "PATH": os.pathsep.join([str(pythons), os.environ["PATH"]]),
            "PIP_CACHE_DIR": pip_cache.stdout.strip() or str(home / "pip"),
        },
    )
    output = (LOG / "sanity.log").read_text(encoding="utf-8", errors="replace")
    result.notes = [f"{len(re.findall('^Running sanity test', output, re.M))} sanity tests ran"]
    result.notes += sorted(set(re.findall(r"^WARNING: (Skipping .*)$", output, re.M)))
    return result


def offer_bootstrap(home: pathlib.Path) -> None:
    """Lay the pip bootstrap script where ansible-test looks before it downloads one: Python brings pip along."""
    code = "import ansible_test._internal as package; print(package.__path__[0])"
    internal = subprocess.run(
        [BIN / "python", "-c", code], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    source = (pathlib.Path(internal) / "python_requirements.py").read_text(encoding="utf-8")
    for version in set(re.findall(r"\bpip='([0-9.]+)'", source)):
        script = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text("import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n", encoding="utf-8")


def ansible_lint(arguments: list[str]) -> Result:
    command = [str(BIN / "ansible-lint"), "--offline", "--profile", "production", "--strict", *arguments]
    return judged(command, "ansible-lint")


def antsibull_docs(arguments: list[str]) -> Result:
    return judged([str(BIN / "antsibull-docs"), "lint-collection-docs", "--plugin-docs", ".", *arguments], "docs")


def changelog(arguments: list[str]) -> Result:
    return judged([str(BIN / "antsibull-changelog"), "lint", *arguments], "changelog")


def yamllint(arguments: list[str]) -> Result:
    return judged([str(BIN / "yamllint"), "--strict", *(arguments or ["."])], "yamllint")


def python_files(folders: list[str]) -> list[str]:
    """Python files below the folders, those without a suffix known by their first line."""
    found = []
    for folder in folders:
        for path in sorted((TREE / folder).rglob("*")):
            if path.suffix == ".py" or (path.is_file() and not path.suffix and is_python_script(path)):
                found.append(str(path.relative_to(TREE)))
    return found


def is_python_script(path: pathlib.Path) -> bool:
    with open(path, "rb") as handle:
        first = handle.readline()
    return first.startswith(b"#!") and b"python" in first


def ruff_check(arguments: list[str]) -> Result:
    files = arguments or [".", *python_files(["scripts", "demo", "tests"])]
    return judged([str(BIN / "ruff"), "check", "--no-cache", *files], "ruff-check")


def ruff_format(arguments: list[str]) -> Result:
    files = arguments or [".", *python_files(["scripts", "demo", "tests"])]
    return judged([str(BIN / "ruff"), "format", "--no-cache", "--check", *files], "ruff-format")


def mypy(arguments: list[str]) -> Result:
    base = TREE.relative_to(WORK / "tree")
    files = arguments or python_files(TYPED)
    settings = [
        "--config-file",
        str(TREE / "pyproject.toml"),
        "--cache-dir",
        str(WORK / "mypy"),
        "--scripts-are-modules",
    ]
    search = os.pathsep.join([str(WORK / "tree"), *(str(TREE / folder) for folder in IMPORTED_PLAINLY)])
    return judged(
        [str(BIN / "mypy"), *settings, *(str(base / name) for name in files)],
        "mypy",
        WORK / "tree",
        {"MYPYPATH": search},
    )


def integration(arguments: list[str]) -> Result:
    return tested(BIN / "python", arguments or ["tests/integration"], "integration")


# name: (heading, gate). Long ones first, so that two at a time end together.
TOGETHER: dict[str, tuple[str, Gate]] = {
    "sanity": ("ansible-test sanity", sanity),
    "unit": ("unit tests in .venv", unit),
    "unit-oldest": ("unit tests of host code, oldest Python and cryptography", unit_oldest),
    "unit-newest": ("unit tests of host code, newest Python", unit_newest),
    "ansible-lint": ("ansible-lint, production profile", ansible_lint),
    "docs": ("antsibull-docs: documentation of the plugins and roles", antsibull_docs),
    "mypy": ("mypy on the controller's side", mypy),
    "ruff-check": ("ruff check", ruff_check),
    "ruff-format": ("ruff format", ruff_format),
    "yamllint": ("yamllint", yamllint),
    "changelog": ("antsibull-changelog lint", changelog),
}
# Looks at ports and clocks, so nothing else runs beside it.
ALONE: dict[str, tuple[str, Gate]] = {
    "integration": ("integration: the installed collection with real servers", integration),
}


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


def perform(name: str, arguments: list[str]) -> Result:
    heading, gate = {**TOGETHER, **ALONE}[name]
    return shown(f"{heading} [{name}]", lambda: gate(arguments))


def prepare() -> None:
    """Lay the folders and a fresh copy of the tree."""
    LOG.mkdir(parents=True, exist_ok=True)
    (WORK / "tmp").mkdir(exist_ok=True)
    tree.copy_tree()


def summary(results: dict[str, Result]) -> int:
    """Count everything, the totals alone on the last line; the exit status."""
    print("\n=== summary")
    for name, result in results.items():
        print(f"    {'FAILED' if result.failed else 'ok':6} {name:{max(map(len, results))}} {result}")
    passed, failed, left_out = (
        sum(getattr(result, kind) for result in results.values()) for kind in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {left_out} skipped", flush=True)
    return 1 if failed else 0


def perform_all() -> dict[str, Result]:
    """Two gates at a time, then those that want the machine for themselves."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        futures = {name: pool.submit(perform, name, []) for name in TOGETHER}
        results = {name: future.result() for name, future in futures.items()}
    return results | {name: perform(name, []) for name in ALONE}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", choices=[*TOGETHER, *ALONE], help="run this gate alone")
    options, arguments = parser.parse_known_args()
    prepare()
    return summary({options.only: perform(options.only, arguments)} if options.only else perform_all())


if __name__ == "__main__":
    sys.exit(main())

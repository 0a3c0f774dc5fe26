# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the project's tests and gates, each under a heading, and count them.

gates.py                        all of them
gates.py --only NAME [ARG ...]  one of them; pytest gates hand the arguments on to pytest

The last line is `N passed, N failed, N skipped`: pytest's numbers, and one for each other gate.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import matrix
import tree
from running import (
    CHECKOUT,
    ENDING,
    LOG,
    OLDEST,
    TIMED_OUT,
    TREE,
    WORK,
    Gate,
    Result,
    environment,
    host_tests,
    interpreters,
    judged,
    pinned,
    prepare,
    run,
    shown,
    skipped,
    summary,
    terminated,
    tested,
)

BIN = CHECKOUT / ".venv" / "bin"
# The controller's side: annotated in full and judged by mypy. tests/unit runs partly on Python 3.6, see pyproject.toml.
TYPED = ["plugins/action", "plugins/filter", "plugins/lookup", "plugins/plugin_utils", "plugins/doc_fragments"]
TYPED += ["scripts", "demo", "tests", "bin"]
# Folders whose files import each other by their bare names.
IMPORTED_PLAINLY = ["scripts", "demo"]
LAB_READY = 900  # seconds
LAB_MISSING = 3  # exit status of tests/lab/lab.py where no host can start


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


def hosts(arguments: list[str]) -> Result:
    """campus.upki.request through the oldest ansible-core on the oldest host, and through .venv's on the newest."""
    known = [version for version in matrix.HOSTS if version in interpreters()]
    oldest_core = matrix.controller(matrix.OLDEST_CORE)
    total = Result()
    for ansible, version in ((oldest_core, OLDEST), (BIN / "ansible", max(known, default=OLDEST))):
        if ansible is None or version not in known:
            one = skipped(
                f"no Python for ansible-core {matrix.OLDEST_CORE}, or none of {matrix.dotted(version)} as host"
            )
        else:
            one = matrix.manages(ansible, version)
        total.passed, total.skipped = total.passed + one.passed, total.skipped + one.skipped
        total.notes += one.notes
    return total


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
    """In two processes, each file in one of them: a single one waits often enough to leave a processor idle."""
    return tested(
        BIN / "python",
        ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *(arguments or ["tests/integration"])],
        "integration",
    )


def lab(arguments: list[str]) -> Result:
    """Scenarios on real hosts, where this machine can start some; all of them: make lab-test."""
    if os.environ.get("LAB") == "no":
        return skipped("left out by LAB=no")
    # In the background: making root file systems takes minutes, and nothing waits for them.
    command = ["nice", "-n", "5", str(BIN / "python"), "tests/lab/lab.py", "ready"]
    code, output = run(command, "lab-ready", timeout=LAB_READY)
    if code == TIMED_OUT:
        return skipped(f"the lab was not ready after {LAB_READY} s, see .work/log/lab-ready.log")
    if code == LAB_MISSING:
        return skipped(output.strip().splitlines()[-1])
    if code:
        failed = Result(failed=1)
        failed.output = output
        return failed
    start = time.time()
    result = tested(BIN / "python", arguments or ["-m", "not nightly", "tests/lab"], "lab")
    result.notes += last_cuts(start)
    return result


def last_cuts(since: float) -> list[str]:
    """What the random cuts of this run came to: the last line of their log, with the seed."""
    own = os.environ.get("UPKI_LAB_CUTS_LOG")
    logs = [path for path in ([pathlib.Path(own)] if own else LOG.glob("cuts-*.log")) if path.is_file()]
    recent = [path for path in logs if path.stat().st_mtime >= since and path.stat().st_size]
    return [path.read_text(encoding="utf-8").splitlines()[-1] for path in recent]


# name: (heading, gate). Long ones first, so that two at a time end together.
TOGETHER: dict[str, tuple[str, Gate]] = {
    "sanity": ("ansible-test sanity", sanity),
    "unit": ("unit tests in .venv", unit),
    "unit-oldest": ("unit tests of host code, oldest Python and cryptography", unit_oldest),
    "unit-newest": ("unit tests of host code, newest Python", unit_newest),
    "hosts": ("a module through ansible on the oldest and the newest host", hosts),
    "ansible-lint": ("ansible-lint, production profile", ansible_lint),
    "docs": ("antsibull-docs: documentation of the plugins and roles", antsibull_docs),
    "mypy": ("mypy on the controller's side", mypy),
    "ruff-check": ("ruff check", ruff_check),
    "ruff-format": ("ruff format", ruff_format),
    "yamllint": ("yamllint", yamllint),
    "changelog": ("antsibull-changelog lint", changelog),
}
# Looks at ports and clocks, so of the others only the lab runs beside it, whose hosts have networks of their own.
ALONE: dict[str, tuple[str, Gate]] = {
    "integration": ("integration: the installed collection with real servers", integration),
}
# Waits for the network first, so it runs beside all others.
BESIDE: dict[str, tuple[str, Gate]] = {
    "lab": ("lab: the collection over ssh on real hosts", lab),
}


def perform(name: str, arguments: list[str]) -> Result:
    heading, gate = {**TOGETHER, **ALONE, **BESIDE}[name]
    return shown(f"{heading} [{name}]", lambda: gate(arguments))


def perform_all() -> dict[str, Result]:
    """Two gates at a time, then those that want the machine for themselves; the lab beside them all."""
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    background = concurrent.futures.ThreadPoolExecutor()
    try:
        beside = {name: background.submit(perform, name, []) for name in BESIDE}
        together = {name: pool.submit(perform, name, []) for name in TOGETHER}
        results = {name: future.result() for name, future in together.items()}
        results |= {name: perform(name, []) for name in ALONE}
        return results | {name: future.result() for name, future in beside.items()}
    except BaseException:
        ENDING.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        background.shutdown(cancel_futures=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", choices=[*TOGETHER, *ALONE, *BESIDE], help="run this gate alone")
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, terminated)
    prepare()
    return summary({options.only: perform(options.only, arguments)} if options.only else perform_all())


if __name__ == "__main__":
    sys.exit(main())

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection on every supported pair of Python and cryptography, driven by every supported ansible-core.

First the unit tests of host code on each pair, then each controller runs campus.upki.request twice on each pair that
it can manage: the first run must change something, the second nothing. What the machine lacks is skipped by name.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import running
import tree

# Python: (cryptography, the newest pytest of that Python). The pairs of the distributions that are in use.
HOSTS = {
    (3, 6): ("3.2.1", "7.0.1"),  # Red Hat 8
    (3, 7): ("3.4.8", "7.4.4"),  # Debian 10 and 11's library on the Python before
    (3, 9): ("36.0.2", "8.4.2"),  # Red Hat 9
    (3, 11): ("38.0.4", "9.2.0"),  # Debian 12
    (3, 12): ("41.0.7", "9.2.0"),  # Ubuntu 24.04
    (3, 13): ("50.0.2", "9.2.0"),  # the newest
}
# ansible-core: (Pythons of the controller, oldest Python of a managed host).
CONTROLLERS = {
    "2.16.19": ([(3, 12), (3, 11), (3, 10)], (3, 6)),
    "2.17.14": ([(3, 12), (3, 11), (3, 10)], (3, 7)),
    "2.19.14": ([(3, 13), (3, 12), (3, 11)], (3, 8)),
    "2.21.5": ([(3, 14), (3, 13), (3, 12)], (3, 9)),
}

OLDEST_CORE = next(iter(CONTROLLERS))


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def host(version: tuple[int, int]) -> pathlib.Path:
    cryptography, pytest = HOSTS[version]
    return running.environment(version, "pair", [f"cryptography=={cryptography}", f"pytest=={pytest}"])


def unit(version: tuple[int, int]) -> running.Result:
    return running.tested(host(version), running.host_tests(), f"matrix-unit-{dotted(version)}")


def controller(core: str) -> pathlib.Path | None:
    """The ansible program of that ansible-core, or None where the machine has no Python for it."""
    for version in CONTROLLERS[core][0]:
        if version in running.interpreters():
            python = running.environment(version, f"core-{core}", [f"ansible-core=={core}", "jmespath==1.1.0"])
            return python.with_name("ansible")
    return None


def request(ansible: pathlib.Path, python: pathlib.Path, store: pathlib.Path) -> dict[str, object]:
    """One run of the module on the host's interpreter: its result."""
    arguments = {
        "certificates": [{"name": "www.example.ac.jp", "software": "nginx", "key_type": "p384"}],
        "subject": {"organization": "Example University", "state": "tokyo", "locality": "chofu"},
        "manager": {"email": "admin@example.ac.jp"},
        "store": str(store),
    }
    command = [str(ansible), "localhost", "-m", "campus.upki.request", "-a", json.dumps(arguments)]
    done = subprocess.run(
        [*command, "-c", "local", "-e", f"ansible_python_interpreter={python}"],
        env={**os.environ, "PATH": f"{ansible.parent}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    result: dict[str, object] = json.loads(done.stdout.split("=> ", 1)[1])
    return result


def manages(ansible: pathlib.Path, version: tuple[int, int]) -> running.Result:
    """That controller asks for a certificate on that host, twice."""
    store = running.WORK / "tmp" / f"matrix-{ansible.parent.parent.name}-{dotted(version)}"
    shutil.rmtree(store, ignore_errors=True)
    changes = [request(ansible, host(version), store)["changed"] for _run in range(2)]
    if changes != [True, False]:
        raise RuntimeError(f"campus.upki.request should change something once, and said {changes}")
    return running.Result(passed=1)


def pair(core: str, version: tuple[int, int]) -> running.Result:
    """One field of the matrix."""
    ansible = controller(core)
    if ansible is None:
        return running.skipped(f"no Python for ansible-core {core}: {', '.join(map(dotted, CONTROLLERS[core][0]))}")
    return manages(ansible, version)


def main() -> int:
    running.prepare()
    results = {}
    for version in HOSTS:
        name = f"Python {dotted(version)}, cryptography {HOSTS[version][0]}"
        if version in running.interpreters():
            results[name] = running.shown(f"unit tests: {name}", functools.partial(unit, version))
        else:
            reason = f"no Python {dotted(version)} found on PATH or under pyenv"
            results[name] = running.shown(f"unit tests: {name}", functools.partial(running.skipped, reason))
    for core, (_pythons, oldest) in CONTROLLERS.items():
        for version in HOSTS:
            if version >= oldest and version in running.interpreters():
                name = f"ansible-core {core} on Python {dotted(version)}"
                results[name] = running.shown(name, functools.partial(pair, core, version))
    return running.summary(results)


if __name__ == "__main__":
    tree.install(tree.copy_tree())
    sys.exit(main())

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo as a fixture: two real servers, a practice CA, and ansible as an operator types it."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.integration import playbooks

USE_THE_DEMO = ("test_demo.py", "test_refusals.py")
CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


class Result:
    """Exit status and output of one command."""

    def __init__(self, status: int, output: str) -> None:
        self.status, self.output = status, output

    @property
    def changed(self) -> int:
        return sum(int(number) for number in re.findall(r"changed=(\d+)\s", self.output))


class Demo:
    """The directory of a finished demo, with its servers running."""

    def __init__(self, work: pathlib.Path, output: str) -> None:
        self.work, self.path, self.output = work, work / "demo", output
        self.summary = json.loads((self.path / "summary.json").read_text())

    def play(self, playbook: str, *options: str, **variables: object) -> Result:
        """ansible-playbook with extra variables; the exit status is the test's to judge."""
        extra = ["-e", json.dumps(variables)] if variables else []
        return self.command("ansible-playbook", "-i", str(self.path / "inventory.yml"), playbook, *extra, *options)

    def command(self, *words: str) -> Result:
        return Result(*playbooks.command(self.path, *words))

    def tree(self) -> dict[str, str]:
        """Every file, link and directory that the collection may write, with mode and content."""
        found = {}
        for folder in ("web1/upki", "web2/upki", "web1/conf.d", "web2/conf.d", "outbox", "inbox"):
            for path in sorted((self.path / folder).rglob("*")):
                facts = [oct(path.lstat().st_mode)]
                if path.is_symlink():
                    facts.append(os.readlink(path))
                elif path.is_file() and path.name != ".lock":  # the lock names its last holder
                    facts.append(hashlib.sha256(path.read_bytes()).hexdigest())
                found[str(path.relative_to(self.path))] = " ".join(facts)
        return found


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In several processes: file by file, but what uses the demo in one of them, so that it is made once."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope: str = super()._split_scope(nodeid)
            return "the demo" if scope.endswith(USE_THE_DEMO) else scope

    return Files(config, log)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One whole demo; its servers are stopped at the end."""
    for program in ("nginx", "openssl", "ansible-playbook"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if shutil.which("apache2") is None and shutil.which("httpd") is None:
        pytest.skip("Apache is not installed")
    work = tmp_path_factory.mktemp("work")
    environment = {**os.environ, "UPKI_WORK": str(work)}
    try:
        done = subprocess.run(
            [sys.executable, str(CHECKOUT / "demo" / "demo.py")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        yield Demo(work, done.stdout)
    finally:
        subprocess.run([str(CHECKOUT / "demo" / "stop")], env=environment, check=False)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as fixtures. Every test file starts its own hosts, as new machines, and they end with it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.campus.upki.tests.lab import lab as tool
from ansible_collections.campus.upki.tests.lab.controller import Controller

# Apart from the hosts of `make lab-up`, which stay as they are.
WORK = tool.WORK / "tests"
Start = Callable[..., Controller]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: too long for `make test`; `make lab-test` runs it")


@pytest.fixture(scope="session")
def lab() -> Iterator[tool.Lab]:
    """An empty lab; everything in it is taken away at the end."""
    if reason := tool.missing():
        pytest.skip(reason)
    tool.when_ended(lambda _number: pytest.exit("terminated"))
    with tool.only_one(WORK):
        made = tool.Lab(WORK, mortal=True)
        made.down()  # what a killed run left
        try:
            yield made
        finally:
            made.down()


@pytest.fixture(scope="module")
def start(lab: tool.Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """start(host, ...): these hosts as new machines, and a controller for them."""
    names: list[str] = []

    def begin(*hosts: tool.Host, folder: pathlib.Path | None = None) -> Controller:
        lab.up(hosts)
        names.extend(host.name for host in hosts)
        return Controller(lab, folder or tmp_path_factory.mktemp("operator"), list(hosts))

    yield begin
    for name in names:
        if name in lab.hosts:
            lab.remove(name)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of a process and all that it starts, sampled while it runs."""

from __future__ import annotations

import os
import pathlib
import threading
from types import TracebackType

PAUSE = 0.3  # seconds between samples


class Peak:
    """`with Peak(pid) as peak:` … peak.controller, peak.everything: the largest sums of PSS seen, in MiB.

    PSS counts a page that several processes share as one, so forks that share most of their memory are not counted
    several times. The controller is every process with ansible-playbook in its command line, the forks included;
    modules, which by local connection run on the same machine, are not.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.controller = self.everything = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(PAUSE):
            own, every = sample(self.pid)
            self.controller, self.everything = max(self.controller, own), max(self.everything, every)


def sample(pid: int) -> tuple[float, float]:
    """(controller, everything) of the tree below a process now, in MiB."""
    controller = everything = 0
    for one in descendants(pid):
        size = proportional(one)
        everything += size
        try:
            line = pathlib.Path(f"/proc/{one}/cmdline").read_bytes()
        except OSError:
            continue
        controller += size if b"ansible-playbook" in line else 0
    return controller / 1024, everything / 1024


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def proportional(pid: int) -> int:
    """PSS in KiB; 0 for a process that has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there for a moment only: processes' arguments and environments, and files in temporary folders."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
import threading
from types import TracebackType

INTERVAL = 0.02  # seconds between two looks
PATIENCE = 30  # seconds for the last one


class Sampler:
    """Looks again and again, in a thread of its own. A look that failed is an error at the end, and so is none."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.seen: set[tuple[str, bytes]] = set()  # (where, content)
        self.looks = 0
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def look(self) -> None:
        raise NotImplementedError

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self.look()
                self.looks += 1
                self._stop.wait(INTERVAL)
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(self.patience)
        if kind is None:
            if self._error:
                raise self._error
            assert not self._thread.is_alive(), "the last look does not end"
            assert self.looks, "not one look"


class Processes(Sampler):
    """Of this machine, those of the hosts included. What not even root may read of is none of theirs."""

    def look(self) -> None:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for part in ("cmdline", "environ"):
                with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
                    self.seen.add((f"{part} of {pid}", pathlib.Path("/proc", pid, part).read_bytes()))


class TemporaryFiles(Sampler):
    """Every file in these folders, as often as it changes; the folders may come later."""

    def __init__(self, folders: list[pathlib.Path]) -> None:
        super().__init__()
        self.folders = folders
        self._known: set[tuple[int, ...]] = set()

    def look(self) -> None:
        for folder in self.folders:
            for base, _folders, names in os.walk(folder):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        self._read(os.path.join(base, name))

    def _read(self, path: str) -> None:
        facts = os.lstat(path)
        version = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if not stat.S_ISREG(facts.st_mode) or version in self._known:
            return
        data = pathlib.Path(path).read_bytes()
        self._known.add(version)
        self.seen.add((f"passing file {path}", data))

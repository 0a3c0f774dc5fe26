# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines on the controller's display while a module takes long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

EVERY = 10.0  # seconds between two lines, and before the first
LONGEST = 200  # characters of the file that are shown


@contextlib.contextmanager
def told(display: Callable[..., None], host: str, count: int, path: str | None) -> Iterator[None]:
    """Every ten seconds what the file at `path` says, or how long it has taken where there is none.

    Each line is one call of Ansible's display, which writes lines of parallel hosts one after the other, and goes to
    standard error, so that nothing comes between the lines of a result.
    """
    done = threading.Event()
    began = time.monotonic()

    def tell() -> None:
        while not done.wait(EVERY):
            seconds = int(time.monotonic() - began)
            said = _read(path) or f"looking at {count} endpoint{'' if count == 1 else 's'} or files"
            display(f"verify, {host}: {said} ({seconds} s)", stderr=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _read(path: str | None) -> str:
    """The file's one line, or '' where it is not there (yet)."""
    if path is None:
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return "".join(one for one in stream.read(LONGEST) if one.isprintable())
    except OSError:
        return ""

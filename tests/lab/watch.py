# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the changes of files below a folder as they happen, by inotify: also those that a host makes."""

from __future__ import annotations

import ctypes
import os
import pathlib
import select
import struct
import time

CHANGES = 0x02 | 0x04 | 0x40 | 0x80 | 0x100 | 0x200  # modified, attributes, moved from and to, created, deleted
HEAD = struct.Struct("iIII")  # watch, kind, cookie, length of the name that follows
LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Of the folders that are there now, and of what is made directly in them later."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.handle = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.handle < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "inotify")
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
            if LIBC.inotify_add_watch(self.handle, os.fsencode(path), CHANGES) < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        self.seen: list[float] = []  # the moment of each change, by time.monotonic()

    def close(self) -> None:
        os.close(self.handle)

    def wait(self, count: int, until: float) -> bool:
        """Whether so many changes were seen, before that time by time.monotonic()."""
        while len(self.seen) < count:
            if not select.select([self.handle], [], [], max(0.0, until - time.monotonic()))[0]:
                return False
            self.seen += [time.monotonic()] * packed(os.read(self.handle, 65536))
        return True


def packed(events: bytes) -> int:
    """How many events the kernel packed into these bytes."""
    count = place = 0
    while place < len(events):
        place += HEAD.size + HEAD.unpack_from(events, place)[-1]
        count += 1
    return count

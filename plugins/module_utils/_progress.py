# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, in a file for whoever watches it. What cannot be written is no reason to end a run."""

import threading
import time

PAUSE = 0.5  # seconds between two writings


class Progress(object):
    """Counts what is done; path None for nobody who watches. Threads may share it."""

    def __init__(self, path, total, clock=time.monotonic):
        self.path, self.total, self.count = path, total, 0
        self._clock, self._next = clock, clock()
        self._lock = threading.Lock()

    def step(self):
        """One more is done."""
        with self._lock:
            self.count += 1
            if self.path is None or (self.count < self.total and self._clock() < self._next):
                return
            self._next = self._clock() + PAUSE
            try:
                with open(self.path, "w", encoding="utf-8") as stream:
                    stream.write("{0} of {1} endpoints looked at".format(self.count, self.total))
            except OSError:
                self.path = None

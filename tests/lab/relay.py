# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""relay.py HOST PORT: a slow line for a ProxyCommand of ssh where the kernel has no netem.

Packets come 80 ms late. One of 50 is lost, which TCP shows as a stall until it was sent again; what follows waits.
"""

from __future__ import annotations

import os
import queue
import random
import socket
import sys
import threading
import time
from collections.abc import Callable

DELAY, JITTER = 0.08, 0.02
LOSS, RESENT = 0.02, 0.3


def late(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Hand on what comes, each piece at its own time; many may be on their way at once."""
    line: queue.Queue[tuple[float, bytes]] = queue.Queue()

    def deliver() -> None:
        while True:
            moment, data = line.get()
            time.sleep(max(0.0, moment - time.monotonic()))
            if not data:
                return
            write(data)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    while True:
        data = read(1400)
        stall = RESENT if random.random() < LOSS else 0.0
        line.put((time.monotonic() + DELAY + random.uniform(0, JITTER) + stall, data))
        if not data:
            thread.join()
            return


def main(host: str, port: str) -> None:
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.settimeout(None)

    def outward() -> None:
        late(lambda size: os.read(0, size), connection.sendall)
        connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=outward, daemon=True).start()
    late(connection.recv, lambda data: os.write(1, data))


if __name__ == "__main__":
    main(*sys.argv[1:])

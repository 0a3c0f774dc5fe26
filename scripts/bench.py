# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the benchmarks of tests/benchmark one after the other; what they print goes to .work/bench.md as well.

bench.py [NAME ...]     all of them, or bench_NAME.py only

What the machine lacks (root for the lab's hosts, nginx, the network for the peer) is skipped with the reason.
Nothing here passes or fails: figures depend on the machine, so docs/performance.md keeps ratios from one run.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import time
from typing import TextIO

import tree


def main(names: list[str]) -> int:
    tree.install(tree.copy_tree())
    folder = tree.TREE / "tests" / "benchmark"
    files = sorted(folder.glob("bench_*.py"))
    wanted = [file for file in files if not names or file.stem.removeprefix("bench_") in names]
    if not wanted:
        print(f"no such benchmark; there are {', '.join(file.stem.removeprefix('bench_') for file in files)}")
        return 2
    environment = {**os.environ, "PYTHONPATH": str(tree.WORK / "tree"), "UPKI_WORK": str(tree.WORK)}
    status = 0
    with open(tree.WORK / "bench.md", "w", encoding="utf-8") as record:
        show(machine(), record)
        for file in wanted:
            start = time.monotonic()
            done = subprocess.run(
                [sys.executable, str(file)],
                env=environment,
                cwd=tree.TREE,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            show(f"## {file.stem}\n\n{done.stdout}\nTook {time.monotonic() - start:.0f} s.\n", record)
            status = status or done.returncode
    return status


def show(text: str, record: TextIO) -> None:
    """On the screen and in the file."""
    print(text, flush=True)
    print(text, file=record, flush=True)


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{day}: {os.cpu_count()} processors, {memory:.0f} GiB, {system}; load {os.getloadavg()[0]:.1f}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

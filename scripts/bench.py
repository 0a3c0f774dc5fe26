# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the benchmarks of tests/benchmark one after the other; what they print goes to .work/bench.md as well.

bench.py [NAME ...]     all of them, or bench_NAME.py only

Nothing here passes or fails: figures depend on the machine, so docs/performance.md keeps ratios from one run.
"""

from __future__ import annotations

import os
import subprocess
import sys

import tree


def main(names: list[str]) -> int:
    tree.install(tree.copy_tree())
    folder = tree.TREE / "tests" / "benchmark"
    files = sorted(folder.glob("bench_*.py"))
    wanted = [file for file in files if not names or file.stem.removeprefix("bench_") in names]
    if not wanted:
        print(f"no such benchmark; there are {', '.join(file.stem.removeprefix('bench_') for file in files)}")
        return 2
    environment = {**os.environ, "PYTHONPATH": str(tree.WORK / "tree")}
    status = 0
    with open(tree.WORK / "bench.md", "w", encoding="utf-8") as record:
        for file in wanted:
            done = subprocess.run(
                [sys.executable, str(file)],
                env=environment,
                cwd=tree.TREE,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            text = f"## {file.stem}\n\n{done.stdout}\n"
            print(text, flush=True)
            record.write(text)
            status = status or done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every program that is started over ssh on a host, and all that these programs write, by strace from outside."""

from __future__ import annotations

import contextlib
import pathlib
import re
import subprocess
from collections.abc import Iterator

from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.lab import Host, command_line, descendants

CALLS = "execve,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,symlink,symlinkat"
TEXT = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')
LINE = re.compile(rb"^\d+ +(?P<call>\w+)\((?:\d+<(?P<file>[^>]*)>)?")


@contextlib.contextmanager
def traced(fleet: Controller, host: Host, log: pathlib.Path) -> Iterator[None]:
    """Write the calls of all that sshd starts into the log: texts whole, and as bytes in hexadecimal."""
    fleet.hang_up()  # what is connected already would not be seen
    family = descendants(fleet.lab.state["pids"][host.name][0])
    (listener,) = [pid for pid in family if "[listener]" in command_line(pid)]
    command = ["strace", "-f", "-v", "-y", "-xx", "-s", "1048576", "-e", f"trace={CALLS}", "-e", "signal=none"]
    process = subprocess.Popen(
        [*command, "-o", str(log), "-p", str(listener)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    said = process.stderr.readline()
    assert "attached" in said, said
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def calls(log: pathlib.Path) -> Iterator[tuple[str, str, bytes]]:
    """(call, file written to, all bytes in its arguments)."""
    with open(log, "rb") as stream:
        for line in stream:
            if head := LINE.match(line):
                yield (
                    head["call"].decode(),
                    plain(head["file"] or b"").decode(),
                    b"\0".join(map(plain, TEXT.findall(line))),
                )


def plain(text: bytes) -> bytes:
    return bytes.fromhex(text.replace(b"\\x", b"").decode()) if text.startswith(b"\\x") else text

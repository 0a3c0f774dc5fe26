# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast campus.upki.verify looks at many endpoints, beside other ways to the same certificates.

    python tests/benchmark/bench_verify.py [--endpoints 1000] [--rounds 3] [--loop 50]

All endpoints are ports of one server process on loopback, each with an ECDSA key and certificate of its own and the
same intermediate. Compared are

- the whole task: `ansible localhost -m campus.upki.verify`, with the start of Ansible;
- the rules alone: the module's functions, started as a process of their own, with judging;
- a bare client: the same Python, as many threads, connect, handshake and verification by OpenSSL, nothing else;
- `openssl s_client` under `xargs -P`;
- a loop of community.crypto.get_certificate over the first --loop endpoints, extrapolated (left out without it).

Each is a fresh process; wall time, and the peak memory of the largest process. The rounds alternate, so that a busy
machine slows all alike; shown is the median. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import datetime
import json
import multiprocessing
import os
import pathlib
import platform
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _tls, _verify
from ansible_collections.campus.upki.tests.benchmark import community
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
PARALLEL = 32
TIMEOUT = 30


# --- the servers ---------------------------------------------------------------------------------------------


def prepare(folder: pathlib.Path, count: int) -> None:
    """Certificates that are valid now, one for each endpoint."""
    now = datetime.datetime.now(datetime.UTC)
    root = pki.CA("Root", start=now - pki.days(100), end=now + pki.days(900))
    sub = pki.CA("Sub", issuer=root, start=now - pki.days(100), end=now + pki.days(900))
    (folder / "root.pem").write_text(pki.pem(root.certificate), encoding="ascii")
    for number in range(count):
        key = pki.new_key("p256")
        leaf = sub.issue(NAME, public_key=key.public_key(), start=now - pki.days(1), end=now + pki.days(190))
        (folder / f"{number}.pem").write_text(pki.key_pem(key).decode("ascii") + pki.pem(leaf, sub.certificate))


def serve(count: int, folder: str, pipe: Connection) -> None:
    """One process with `count` listening ports; sends the ports and runs until it is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(reader.read(1), 10)
        writer.close()

    async def listen() -> None:
        ports = []
        for number in range(count):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(os.path.join(folder, f"{number}.pem"))
            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, backlog=64)
            ports.append(server.sockets[0].getsockname()[1])
            servers.append(server)
        pipe.send(ports)
        await asyncio.Event().wait()

    servers: list[asyncio.AbstractServer] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(listen())


# --- the parts, each run in a process of its own ---------------------------------------------------------------


def rules(folder: pathlib.Path, ports: list[int]) -> None:
    trust = _tls.Trust(str(folder / "root.pem"))
    now = datetime.datetime.now(datetime.UTC)
    around = _verify.surroundings(trust, [], now, _verify.parse_warn_before("1/3"))
    rows = _verify.endpoints_of([{"host": "127.0.0.1", "port": port, "server_name": NAME} for port in ports])
    results = _verify.run(rows, trust, around, TIMEOUT, PARALLEL)
    bad = [row for result in results for row in result["findings"]]
    assert len(results) == len(ports) and not bad, bad[:3]


def bare(folder: pathlib.Path, ports: list[int]) -> None:
    context = ssl.create_default_context(cafile=str(folder / "root.pem"))

    def one(port: int) -> bool:
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        with plain, context.wrap_socket(plain, server_hostname=NAME) as secured:
            return bool(secured.getpeercert(binary_form=True))

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        assert all(pool.map(one, ports))


def s_client(folder: pathlib.Path, ports: list[int]) -> None:
    command = (
        f"openssl s_client -connect 127.0.0.1:{{}} -servername {NAME} -CAfile {folder}/root.pem -showcerts </dev/null"
    )
    done = subprocess.run(
        ["xargs", "-P", str(PARALLEL), "-I{}", "sh", "-c", command],
        input="\n".join(map(str, ports)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.stdout.count("Verify return code: 0 (ok)") >= len(ports), done.stdout[-500:]


def task(folder: pathlib.Path, ports: list[int]) -> None:
    endpoints = [{"host": "127.0.0.1", "port": port, "server_name": NAME} for port in ports]
    arguments = {"endpoints": endpoints, "ca_file": str(folder / "root.pem"), "timeout": TIMEOUT, "parallel": PARALLEL}
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"campus.upki.verify": arguments}]}]
    playbook(folder, play)


def loop(folder: pathlib.Path, ports: list[int]) -> None:
    arguments = {"host": "127.0.0.1", "port": "{{ item }}", "server_name": NAME, "ca_cert": str(folder / "root.pem")}
    step = {"community.crypto.get_certificate": arguments, "loop": ports}
    playbook(folder, [{"hosts": "localhost", "gather_facts": False, "tasks": [step]}])


def playbook(folder: pathlib.Path, play: list[dict[str, Any]]) -> None:
    path = folder / "play.json"
    path.write_text(json.dumps(play), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
        + [str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:]


PARTS = {"task": task, "rules": rules, "bare": bare, "s_client": s_client, "loop": loop}
TITLES = {
    "task": "one task of Ansible",
    "rules": "the rules alone",
    "bare": "bare client in the same Python",
    "s_client": "openssl s_client, xargs -P",
    "loop": "loop of community.crypto.get_certificate",
}


def part(name: str, folder: str, ports: str) -> None:
    """What the process of one measurement does; prints wall seconds and the peak memory in MiB."""
    numbers = json.loads(pathlib.Path(ports).read_text(encoding="ascii"))
    began = time.perf_counter()
    PARTS[name](pathlib.Path(folder), numbers)
    wall = time.perf_counter() - began
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    sys.stdout.write(json.dumps([wall, (peaks[0] if name in ("rules", "bare") else peaks[1]) / 1024]))


# --- measuring -----------------------------------------------------------------------------------------------


def measure(name: str, folder: pathlib.Path, ports: list[int]) -> tuple[float, float]:
    (folder / "ports.json").write_text(json.dumps(ports), encoding="ascii")
    command = [sys.executable, __file__, "--part", name, str(folder), str(folder / "ports.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    wall, peak = json.loads(done.stdout)
    return wall, peak


def with_community_crypto() -> bool:
    """Whether the loop can run; its collection is then among those that Ansible looks for."""
    try:
        paths = [str(community.peer_collections())]
    except OSError as error:
        sys.stdout.write(f"Skipped: the loop of community.crypto.get_certificate; {error}\n\n")
        return False
    paths += [path for path in [os.environ.get("ANSIBLE_COLLECTIONS_PATH")] if path]
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join(paths)
    return True


def run(count: int, rounds: int, looped: int) -> list[str]:
    names = ["bare", "rules", "task"]
    names += ["s_client"] if shutil.which("openssl") and shutil.which("xargs") else []
    names += ["loop"] if looped and with_community_crypto() else []
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        prepare(folder, count)
        server = multiprocessing.Process(target=serve, args=(count, str(folder), theirs), daemon=True)
        server.start()
        try:
            ports = ours.recv()
            for number in range(rounds):
                for name in names:
                    if name == "loop" and number:
                        continue  # slow, and a loop's time grows with its length
                    found[name].append(measure(name, folder, ports[:looped] if name == "loop" else ports))
        finally:
            server.terminate()
            server.join(10)
    return table(found, count, looped)


def table(found: dict[str, list[tuple[float, float]]], count: int, looped: int) -> list[str]:
    base = statistics.median(wall for wall, _peak in found["bare"])
    lines = [
        f"| {count} endpoints | wall time | endpoints/s | × bare client | peak memory |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, rows in found.items():
        wall, peak = statistics.median(row[0] for row in rows), max(row[1] for row in rows)
        title = TITLES[name]
        if name == "loop":
            title += f" ({looped} measured: {wall:.1f} s, extrapolated)"
            wall *= count / looped
        lines.append(f"| {title} | {wall:.1f} s | {count / wall:.0f} | {wall / base:.2f} | {peak:.0f} MiB |")
    system = f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, {os.cpu_count()} CPUs, {PARALLEL} at a time"
    load = f"load of the machine at the end {os.getloadavg()[0]:.1f}"
    return [*lines, "", f"{system}; {len(found['bare'])} rounds, median; {load}."]


def main() -> None:
    if sys.argv[1:2] == ["--part"]:
        part(*sys.argv[2:5])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", type=int, default=50)
    given = parser.parse_args()
    sys.stdout.write("\n".join(run(given.endpoints, given.rounds, given.loop)) + "\n")


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bench_peer.py measures: hosts of the lab over ssh, or simulated ones on this machine.

Each host has an nginx of its own and nothing else; its TLS virtual hosts are written before each first run, so that
both contestants find a server that names files which do not exist yet.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.campus.upki.tests.lab import lab as tool
from ansible_collections.campus.upki.tests.lab.controller import MANAGER, SUBJECT, Controller
from cryptography import x509
from cryptography.hazmat.primitives import serialization

OURS, PEER = "ours", "peer"
STORES = {OURS: "upki-store", PEER: "peer-store"}
# The collection's own playbooks for the first run, step by step, and for each day after it.
DAILY = {OURS: "campus.upki.renew", PEER: "renew.yml"}
SERVER = """server {{
    listen {address}:{port} ssl;
    server_name {name};
    ssl_certificate {store}/{name}/live/fullchain.pem;
    ssl_certificate_key {store}/{name}/live/key.pem;
}}
"""


class Taken(NamedTuple):
    """What one playbook took, or several: wall seconds, the controller's CPU seconds, starts of ssh and sftp."""

    seconds: float
    cpu: float
    exchanges: int

    def then(self, other: Taken) -> Taken:
        return Taken(self.seconds + other.seconds, self.cpu + other.cpu, self.exchanges + other.exchanges)


def cpu() -> float:
    """CPU seconds of all children that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Site:
    """Hosts with servers, and a controller's folder."""

    title = ""
    port = 443

    def __init__(self, folder: pathlib.Path, names: list[str], peer_collections: str) -> None:
        self.folder, self.names = folder, names
        self.collections = os.pathsep.join(filter(None, [peer_collections, os.environ.get("ANSIBLE_COLLECTIONS_PATH")]))
        self.playbooks = pathlib.Path(__file__).resolve().parent / "peer"

    # --- what differs ----------------------------------------------------------------------------------------

    def address(self, host: str) -> str:
        raise NotImplementedError

    def ansible(self, playbook: str, environment: dict[str, str]) -> Taken:
        raise NotImplementedError

    def server(self, host: str, config: str) -> None:
        """Nothing of former runs, a server without TLS that runs, and this configuration for its next reload."""
        raise NotImplementedError

    def store(self, host: str, side: str) -> str:
        raise NotImplementedError

    def commands(self, host: str) -> tuple[list[str], list[str]]:
        """The server's test and reload."""
        raise NotImplementedError

    def variables(self, host: str, rows: dict[str, Any]) -> None:
        raise NotImplementedError

    # --- what is the same ------------------------------------------------------------------------------------

    def play(self, playbook: str) -> Taken:
        path = str(self.playbooks / playbook) if playbook.endswith(".yml") else playbook
        return self.ansible(path, {"ANSIBLE_COLLECTIONS_PATH": self.collections, "ANSIBLE_FORKS": str(len(self.names))})

    def fresh(self, side: str, label: str, each: int) -> None:
        """Hosts that have no certificate yet, with so many wanted each, for one of the two."""
        for part in ("outbox", "inbox"):
            shutil.rmtree(self.folder / "upki" / part, ignore_errors=True)
            (self.folder / "upki" / part).mkdir(parents=True)
        for host in self.names:
            names = [f"{label}-{number}.{host}.lab.example.ac.jp" for number in range(each)]
            shape = {"address": self.address(host), "port": self.port_of(host), "store": self.store(host, side)}
            self.server(host, "".join(SERVER.format(name=name, **shape) for name in names))
            endpoint = f"{shape['address']}:{shape['port']}"
            row = {"software": "nginx", "server": "nginx", "endpoint": endpoint}
            test, reload_ = self.commands(host)
            own = {
                "upki_certificates": [{"name": name, **row} for name in names],
                "upki_store": self.store(host, OURS),
                "upki_servers": {"nginx": {"test": test, "reload": reload_}},
                "peer_certificates": [{"name": n, "host": shape["address"], "port": shape["port"]} for n in names],
                "peer_store": self.store(host, PEER),
                "peer_test": test,
                "peer_reload": reload_,
            }
            self.variables(host, own)

    def port_of(self, host: str) -> int:
        return self.port

    def common(self) -> dict[str, Any]:
        """Variables of the whole fleet for both."""
        upki = self.folder / "upki"
        trust = str(upki / "practice-ca/roots/widely-trusted.pem")
        return {
            "upki_subject": SUBJECT,
            "upki_manager": MANAGER,
            "upki_intermediates": [str(upki / "practice-ca/repository")],
            "upki_roots": [str(upki / "practice-ca/roots")],
            "upki_verify_ca_file": trust,
            "upki_verify_loopback": "as_written",
            "peer_subject": SUBJECT,
            "peer_manager": MANAGER,
            "peer_outbox": str(upki / "outbox"),
            "peer_inbox": str(upki / "inbox"),
            "peer_intermediates": str(upki / "peer-intermediates"),
            "peer_root": trust,
            "peer_renew_before": "+66d",
            "peer_day": "{{ now(utc=true, fmt='%Y%m%d') }}",
        }

    def found_ca(self) -> None:
        """The practice CA's own certificates; the peer gets the intermediates as PEM, the form that it reads."""
        self.issue()
        target = self.folder / "upki" / "peer-intermediates"
        target.mkdir()
        for file in (self.folder / "upki/practice-ca/repository").glob("*.cer"):
            data = file.read_bytes()
            pem = data.startswith(b"-----")
            certificate = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
            (target / f"{file.stem}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self) -> None:
        """The CA's part, which is not measured."""
        (self.folder / "upki" / "outbox").mkdir(parents=True, exist_ok=True)
        self.play("campus.upki.practice_ca")

    def first(self, side: str) -> Taken:
        """From nothing to certificates that are served and looked at."""
        if side == PEER:
            asked = self.play(DAILY[PEER])
            self.issue()
            return asked.then(self.play(DAILY[PEER]))
        asked = self.play("campus.upki.request")
        self.issue()
        return asked.then(self.play(DAILY[OURS]))

    def daily(self, side: str) -> Taken:
        return self.play(DAILY[side])


# --- the lab -----------------------------------------------------------------------------------------------------


class LabSite(Site):
    """Real hosts of three Debian releases over ssh, with pipelining and connections that stay open."""

    title = "lab hosts over ssh"

    def __init__(self, lab: tool.Lab, folder: pathlib.Path, count: int, peer_collections: str) -> None:
        hosts = [tool.Host(f"bench{n}", tool.RELEASES[n % len(tool.RELEASES)]) for n in range(count)]
        super().__init__(folder, [host.name for host in hosts], peer_collections)
        self.lab = lab
        lab.up(hosts)
        self.controller = Controller(lab, folder, hosts)
        self.controller.set(**self.common())
        self._count_sftp()
        self.hosts = {host.name: host for host in hosts}
        self.found_ca()

    def _count_sftp(self) -> None:
        """An sftp that writes down each of its calls; it does not use the ssh that Ansible was given."""
        script = f'#!/bin/sh\necho sftp >>"{self.controller.log}"\nexec {shutil.which("sftp")} "$@"\n'
        (self.folder / "bin" / "sftp").write_text(script)
        (self.folder / "bin" / "sftp").chmod(0o755)

    def address(self, host: str) -> str:
        return self.lab.address(host)

    def ansible(self, playbook: str, environment: dict[str, str]) -> Taken:
        sftp = {"ANSIBLE_SFTP_EXECUTABLE": str(self.folder / "bin" / "sftp")}
        before = cpu()
        run = self.controller.play(playbook, env={**environment, **sftp}, timeout=1200).good()
        return Taken(run.seconds, cpu() - before, len(run.exchanges))

    def server(self, host: str, config: str) -> None:
        own = self.hosts[host]
        stores = " ".join(self.store(host, side) for side in STORES)
        # A busy machine can be slow to stop a server.
        script = (
            f"systemctl stop nginx; rm -rf {stores} /etc/nginx/conf.d/bench.conf /run/nginx.pid; "
            "for try in 1 2 3 4 5; do systemctl start nginx && test -s /run/nginx.pid && break; sleep 1; done; "
            f"test -s /run/nginx.pid && cat >/etc/nginx/conf.d/bench.conf <<'END'\n{config}END\n"
        )
        self.controller.on(own, script)

    def store(self, host: str, side: str) -> str:
        return f"/etc/{STORES[side]}"

    def commands(self, host: str) -> tuple[list[str], list[str]]:
        return ["nginx", "-t"], ["nginx", "-s", "reload"]

    def variables(self, host: str, rows: dict[str, Any]) -> None:
        self.controller.set_host(self.hosts[host], **rows, upki_nginx_manage=False)

    def exchange(self) -> float:
        """Seconds of one ssh exchange over a connection that is open, as Ansible makes them."""
        name = self.names[0]
        options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={self.lab.path}/floor"]
        command = [*self.lab.ssh(name)[:-1], *options, self.lab.ssh(name)[-1], "true"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        start = time.monotonic()
        for _number in range(10):
            subprocess.run(command, check=True)
        return (time.monotonic() - start) / 10

    def key_generation(self) -> float:
        """Seconds in which a host makes one RSA 2048 key, its Python started; the mean of twenty."""
        code = (
            "import time; from cryptography.hazmat.primitives.asymmetric import rsa; "
            "from cryptography.hazmat.backends import default_backend as b; s = time.time(); "
            "[rsa.generate_private_key(65537, 2048, b()) for n in range(20)]; print((time.time() - s) / 20)"
        )
        return float(self.controller.on(self.hosts[self.names[0]], f'python3 -c "{code}"'))


@contextlib.contextmanager
def lab_site(folder: pathlib.Path, count: int, peer_collections: str) -> Iterator[LabSite]:
    """Hosts of their own, taken away at the end."""
    work = tool.WORK / "bench"
    with tool.only_one(work):
        lab = tool.Lab(work, mortal=True)
        lab.down()  # what a killed run left
        try:
            yield LabSite(lab, folder, count, peer_collections)
        finally:
            lab.down()


# --- simulated hosts ---------------------------------------------------------------------------------------------

NGINX = """pid nginx.pid;
error_log error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    server {{ listen 127.0.0.1:{port}; }}
    include {folder}/conf.d/*.conf;
}}
"""


class LocalSite(Site):
    """Hosts that are folders of this machine (connection local), each with an nginx on ports of its own."""

    title = "simulated hosts, local connection"

    def __init__(self, folder: pathlib.Path, count: int, peer_collections: str) -> None:
        super().__init__(folder, [f"bench{n}" for n in range(count)], peer_collections)
        self.ports = {name: (free_port(), free_port()) for name in self.names}
        self.rows: dict[str, Any] = {}
        self._inventory()
        self.found_ca()

    def _inventory(self) -> None:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        group = {"hosts": {name: self.rows.get(name, {}) for name in self.names}, "vars": {**self.common(), **local}}
        practice = {"upki_practice_ca_institution": SUBJECT, "ansible_python_interpreter": sys.executable}
        (self.folder / "hosts.json").write_text(json.dumps({"all": {"children": {"upki": group}, "vars": practice}}))

    def address(self, host: str) -> str:
        return "127.0.0.1"

    def port_of(self, host: str) -> int:
        return self.ports[host][1]

    def ansible(self, playbook: str, environment: dict[str, str]) -> Taken:
        start, before = time.monotonic(), cpu()
        done = subprocess.run(
            ["ansible-playbook", "-i", "hosts.json", playbook],
            cwd=self.folder,
            env={
                **os.environ,
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_LOCALHOST_WARNING": "0",
                **environment,
                "PWD": str(self.folder),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{playbook} failed:\n{done.stdout}\n{done.stderr}")
        return Taken(time.monotonic() - start, cpu() - before, 0)

    def server(self, host: str, config: str) -> None:
        folder = self.folder / host
        self._stop(host)
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("conf.d", "tmp"):
            (folder / part).mkdir(parents=True)
        (folder / "nginx.conf").write_text(NGINX.format(port=self.ports[host][0], folder=folder))
        subprocess.run(self._nginx(host), check=True)
        (folder / "conf.d" / "bench.conf").write_text(config)

    def _nginx(self, host: str) -> list[str]:
        return ["nginx", "-p", str(self.folder / host), "-c", "nginx.conf", "-e", "error.log"]

    def _stop(self, host: str) -> None:
        pid = self.folder / host / "nginx.pid"
        if pid.exists():
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGTERM)
            end = time.monotonic() + 10
            while pid.exists() and time.monotonic() < end:
                time.sleep(0.05)

    def store(self, host: str, side: str) -> str:
        return str(self.folder / host / STORES[side])

    def commands(self, host: str) -> tuple[list[str], list[str]]:
        return [*self._nginx(host), "-t"], [*self._nginx(host), "-s", "reload"]

    def variables(self, host: str, rows: dict[str, Any]) -> None:
        self.rows[host] = rows
        self._inventory()

    def end(self) -> None:
        for name in self.names:
            self._stop(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def local_site(folder: pathlib.Path, count: int, peer_collections: str) -> Iterator[LocalSite]:
    site = LocalSite(folder, count, peer_collections)
    try:
        yield site
    finally:
        site.end()

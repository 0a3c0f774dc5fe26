# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's directory: inventory, folders for the CA's post, and ansible-playbook over ssh, exchanges counted."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ansible_collections.campus.upki.tests.lab.lab import Host, Lab, children, command_line, descendants, started

SUBJECT = {"organization": "Practice University", "state": "tokyo", "locality": "chofu"}
MANAGER = {"name": "山田 太郎", "affiliation": "情報学部", "email": "taro.yamada@example.ac.jp"}
RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=\d+.*)$", re.M)
# What changes on a running system by itself, below the root of a host.
# Ansible's own folder for files on their way is not the collection's matter.
RESTLESS = (
    "root/.ansible",
    "home/admin1/.ansible",
    "var/log",
    "var/lib/systemd",
    "run",
    "dev",
    "proc",
    "sys",
    "tmp",
    "var/tmp",
    "var/cache",
    "var/spool",
)
NUMBERS = itertools.count(1)
# How every scenario goes, for `make lab-nightly`: a strategy, or under ansible-runner; each step thrice.
MANNER = os.environ.get("UPKI_LAB_MANNER", "linear")
THRICE = os.environ.get("UPKI_LAB_THRICE", "") == "yes"
PROVED = {"campus.upki.request", "campus.upki.deploy", "campus.upki.renew"}
SERVERS = {"nginx": "nginx", "apache2": "apache"}
Workers = dict[str, set[str]]  # 'web1 nginx': {id and start of each}


class Run:
    """What came of one ansible-playbook."""

    def __init__(self, status: int, output: str, exchanges: list[str], seconds: float) -> None:
        self.status, self.output, self.exchanges, self.seconds = status, output, exchanges, seconds
        self.recap = {
            match["host"]: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match["counts"])}
            for match in RECAP.finditer(output)
        }

    @property
    def changed(self) -> int:
        return sum(counts["changed"] for counts in self.recap.values())

    @property
    def changing(self) -> dict[str, bool]:
        """Whether something changed, for each host where all went well."""
        good = {host: counts for host, counts in self.recap.items() if not counts["failed"] + counts["unreachable"]}
        return {host: counts["changed"] > 0 for host, counts in good.items()}

    def good(self) -> Run:
        """Itself, when every host was reached and nothing failed."""
        assert self.status == 0 and self.recap, self.output
        return self

    def quiet(self) -> Run:
        """Itself, when it changed nothing."""
        self.good()
        assert self.changed == 0, self.output
        return self


class Controller:
    """One directory from which an operator runs playbooks against hosts of the lab."""

    def __init__(self, lab: Lab, path: pathlib.Path, hosts: list[Host]) -> None:
        self.lab, self.path, self.hosts = lab, path, hosts
        self.manner = MANNER
        self.number = next(NUMBERS)  # connections kept open to a machine must not meet the next one at its address
        self.inventory = path / "inventory"
        (self.inventory / "host_vars").mkdir(parents=True)
        (self.inventory / "group_vars").mkdir()
        (path / "bin").mkdir()
        self.log = path / "ssh.log"
        self.trust = path / "upki/practice-ca/roots/widely-trusted.pem"
        self._count_ssh()
        known = lab.inventory()["all"]["children"]["lab"]
        group = {"hosts": {host.name: known["hosts"][host.name] for host in hosts}, "vars": known["vars"]}
        self._write("inventory/hosts.json", {"all": {"children": {"upki": group}}})
        self.common: dict[str, Any] = {
            "upki_subject": SUBJECT,
            "upki_manager": MANAGER,
            "upki_intermediates": [str(path / "upki/practice-ca/repository")],
            "upki_roots": [str(path / "upki/practice-ca/roots")],
            "upki_verify_ca_file": str(self.trust),
        }
        self.set(**self.common)
        self._write("inventory/group_vars/all.json", {"upki_practice_ca_institution": SUBJECT})
        for host in (one for one in hosts if one.services):
            self.set_host(host, upki_certificates=[certificate(host)], **manage(host))

    def _write(self, name: str, value: object) -> None:
        (self.path / name).write_text(json.dumps(value, indent=1, ensure_ascii=False))

    def set(self, **variables: Any) -> None:
        """Variables of the group upki, over those that are there."""
        self.common.update(variables)
        self._write("inventory/group_vars/upki.json", self.common)

    def set_host(self, host: Host, **variables: Any) -> None:
        """Variables of one host, over those that are there."""
        file = self.inventory / "host_vars" / f"{host.name}.json"
        before = json.loads(file.read_text()) if file.exists() else {}
        self._write(f"inventory/host_vars/{host.name}.json", {**before, **variables})

    def _count_ssh(self) -> None:
        """An ssh that writes down each of its calls."""
        real = shutil.which("ssh")
        script = f'#!/bin/sh\nfor word; do case $word in 198.1[89].*) echo "$word" >>"{self.log}" ;; esac; done\n'
        (self.path / "bin" / "ssh").write_text(f'{script}exec {real} "$@"\n')
        (self.path / "bin" / "ssh").chmod(0o755)

    # --- running -----------------------------------------------------------------------------------------

    def environment(self, **more: str) -> dict[str, str]:
        """As in the operator's shell, with what Make set for the tests on this machine taken out."""
        own = {key: value for key, value in os.environ.items() if key != "ANSIBLE_REMOTE_TMP"}
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), own["PATH"]])
        settings = {
            "PWD": str(self.path),
            "PATH": path,
            "HOME": str(self.path),
            "ANSIBLE_HOME": str(self.path / ".ansible"),
            "ANSIBLE_SSH_EXECUTABLE": str(self.log.with_name("bin") / "ssh"),
            # Short: a socket's path has room for about 100 bytes.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.lab.path / f"cp{self.number}"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_STRATEGY": "linear" if MANNER == "runner" else MANNER,
            # A busy machine breaks a connection now and then; what a cut does is looked at without this (test_cuts.py).
            "ANSIBLE_SSH_RETRIES": "2",
        }
        return {**own, **settings, **more}

    def start(
        self, command: list[str], log: pathlib.Path | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """A command of the controller in the background, in a session of its own."""
        output = open(log, "w", encoding="utf-8") if log else subprocess.PIPE  # noqa: SIM115 (the process keeps it)
        return subprocess.Popen(
            self.lab.controller(*command),
            cwd=self.path,
            env=self.environment(**(environment or {})),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def hang_up(self, control: pathlib.Path | None = None) -> None:
        """End the connections that ssh keeps open for later runs, without a word to the hosts."""
        sockets = str(control or self.lab.path / f"cp{self.number}") + "/"
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            if sockets in command_line(int(entry.name)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)

    def kill(self, process: subprocess.Popen[str], control: pathlib.Path | None = None) -> None:
        """End a run as the controller's own power cut does: its workers, their ssh and what that keeps open as well."""
        for pid in (process.pid, *descendants(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.hang_up(control)
        process.wait()

    def play(
        self,
        playbook: str,
        *options: str,
        timeout: float = 300,
        env: dict[str, str] | None = None,
        again: bool = True,
        **variables: Any,
    ) -> Run:
        """One step of a scenario. `again`: a second run changes nothing, as all but going back does."""
        how: dict[str, Any] = {"timeout": timeout, "env": env, **variables}
        if not THRICE or not set(playbook.split()) <= PROVED or "--check" in options:
            return self._play(playbook, *options, **how)
        with self.untouched(f"{playbook} in check mode"):
            check = self._play(playbook, "--check", *options, **how)
        run = self._play(playbook, *options, **how)
        unlike = unannounced(playbook, check, run)
        assert not unlike, f"check mode of {playbook} announced something else for {unlike}: {check.output}{run.output}"
        if again:
            second = self._play(playbook, *options, **how)
            assert second.changed == 0 and second.status == run.status, second.output
        return run

    def _play(
        self, playbook: str, *options: str, timeout: float = 300, env: dict[str, str] | None = None, **variables: Any
    ) -> Run:
        """ansible-playbook as an operator types it, of one playbook or several, with extra variables."""
        extra = ["-e", json.dumps(variables)] if variables else []
        if self.manner == "runner" and " " not in playbook:
            command = ["ansible-runner", "run", str(self.path), "-p", playbook, "--inventory", str(self.inventory)]
            more = shlex.join([*extra, *options])
            (self.path / "env" / "cmdline").unlink(missing_ok=True)  # the runner keeps the options of its last job
            command += ["--project-dir", str(self.path), *([f"--cmdline={more}"] if more else [])]
        else:
            command = ["ansible-playbook", "-i", str(self.inventory), *playbook.split(), *extra, *options]
        before, start = len(self.calls()), time.monotonic()
        process = self.start(command, environment=env)
        try:
            output, _errors = process.communicate(timeout=timeout)
        except BaseException:
            self.kill(process)  # with its workers, which have sessions of their own
            raise
        return Run(process.returncode, output, self.calls()[before:], time.monotonic() - start)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def request(self, *options: str, **variables: Any) -> Run:
        return self.play("campus.upki.request", *options, **variables)

    def deploy(self, *options: str, **variables: Any) -> Run:
        return self.play("campus.upki.deploy", *options, **variables)

    def verify(self, *options: str, **variables: Any) -> Run:
        return self.play("campus.upki.verify", *options, **variables)

    def issue(self, **variables: Any) -> Run:
        """The practice CA in the place of the IT centre and the real CA."""
        return self.play("campus.upki.practice_ca", **variables)

    def first_issue(self) -> None:
        """From nothing to certificates that are served, 100 days old, so that a renewal can follow."""
        self.request().good()
        self.issue(upki_practice_ca_backdate=100).good()
        self.deploy().good()

    def on(self, host: Host, command: str) -> str:
        """Output of a shell command on a host; the command must succeed."""
        done = subprocess.run([*self.lab.ssh(host.name), command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    # --- looking -----------------------------------------------------------------------------------------

    @property
    def outbox(self) -> pathlib.Path:
        return self.path / "upki" / "outbox"

    @property
    def inbox(self) -> pathlib.Path:
        return self.path / "upki" / "inbox"

    def served(self, host: Host, port: int = 443, name: str = "") -> int:
        """Serial of the certificate that a verifying client gets; raises when it does not verify."""
        return served(self.lab.address(host.name), port, name or host.fqdn, self.trust)

    @contextlib.contextmanager
    def untouched(self, what: str) -> Iterator[None]:
        """No file of any host changes meanwhile, not even into an equal one, and no server reads its files anew."""
        files, workers = self.trees(), self.workers()
        yield
        changes = differences(files, self.trees()) + reloads(workers, self.workers())
        assert not changes, f"{what} changed {changes}"

    def workers(self) -> Workers:
        """The processes of every running server that end with a reload."""
        found: Workers = {}
        for host in (one for one in self.hosts if self.lab.running(one.name)):
            family = descendants(self.lab.state["pids"][host.name][0])
            names = {pid: process_name(pid) for pid in family}
            for pid in (pid for pid in family if names[pid] in SERVERS):
                for child in (child for child in children(pid) if names.get(child) == names[pid]):
                    found.setdefault(f"{host.name} {names[pid]}", set()).add(f"{child}, {started(child)}")
        return found

    def trees(self) -> dict[str, dict[str, str]]:
        """Every file of every host and of this directory."""
        found = {host.name: tree(self.lab.folder(host.name) / "upper", RESTLESS) for host in self.hosts}
        return {**found, "controller": tree(self.path / "upki", ())}


def certificate(host: Host, **more: object) -> dict[str, object]:
    """The certificate of a web host, as its host_vars name it."""
    server = SERVERS[host.services[0]]
    return {"name": host.fqdn, "dns_names": [f"docs.{host.fqdn}"], "software": server, "server": server, **more}


def manage(host: Host) -> dict[str, object]:
    return {f"upki_{SERVERS[host.services[0]]}_manage": True}


def process_name(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def served(address: str, port: int, name: str, trust: pathlib.Path) -> int:
    context = ssl.create_default_context(cafile=str(trust))
    with (
        socket.create_connection((address, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        facts: Any = connection.getpeercert()
    return int(facts["serialNumber"], 16)


def tree(folder: pathlib.Path, without: tuple[str, ...]) -> dict[str, str]:
    """Every file below; for a host, every file that differs from its release.

    Mode, owner and content, and of files and links what tells an equal one that was written anew: inode and time.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith(without) or path.name in (".lock", "__pycache__") or "__pycache__" in path.parts:
            continue
        facts = path.lstat()
        shape = f"{stat.filemode(facts.st_mode)} {facts.st_uid}:{facts.st_gid}"
        if path.is_symlink():
            shape += f" -> {os.readlink(path)}"
        elif path.is_file():
            shape += f" {hashlib.sha256(path.read_bytes()).hexdigest()}"
        if not stat.S_ISDIR(facts.st_mode):
            shape += f" {facts.st_ino} {facts.st_mtime_ns}"
        found[name] = shape
    return found


def differences(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """What trees() saw change, as lines."""
    return [
        f"{place}: {name}: {before.get(place, {}).get(name)} => {after.get(place, {}).get(name)}"
        for place in sorted(before.keys() | after.keys())
        for name in sorted(before.get(place, {}).keys() | after.get(place, {}).keys())
        if before.get(place, {}).get(name) != after.get(place, {}).get(name)
    ]


def reloads(before: Workers, after: Workers) -> list[str]:
    """The running servers of which no worker stayed. Apache ends and starts some by itself, never all."""
    return [f"{server}: all workers" for server in before.keys() & after.keys() if not before[server] & after[server]]


def unannounced(playbook: str, check: Run, real: Run) -> list[str]:
    """The hosts for which check mode said something else than came: a change or none."""
    told, came = check.changing, real.changing
    unlike = sorted(host for host in told.keys() & came.keys() if told[host] != came[host])
    # Check mode leaves the old certificate live, so it cannot see that the new one is due as well, as some tests want
    # it to be. The application is written in the name of one host, which may have nothing else to do.
    if "deploy" not in playbook and "renew" not in playbook or not any(told.values()):
        return unlike
    return [host for host in unlike if told[host]] or unlike[1:]


class Visitors:
    """Clients that connect to every host again and again, and what they met."""

    def __init__(self, controller: Controller, look: Callable[[Host], int] | None = None) -> None:
        """look: the serial that a host serves; raises OSError where it does not."""
        self.look = look or controller.served
        self.visits = {host.name: 0 for host in controller.hosts}
        self.errors: list[BaseException] = []
        self.failures: list[str] = []
        self.serials: set[int] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(host,), daemon=True) for host in controller.hosts]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        if kind is None:  # else the scenario has a fault of its own to tell
            assert not any(thread.is_alive() for thread in self._threads), "a visitor hangs"
            for error in self.errors:
                raise error
            assert all(self.visits.values()), f"nobody came to some hosts: {self.visits}"

    @property
    def connections(self) -> int:
        return sum(self.visits.values())

    def _work(self, host: Host) -> None:
        try:
            while not self._stop.wait(0.05):
                self._visit(host)
        except BaseException as error:
            self.errors.append(error)

    def _visit(self, host: Host) -> None:
        try:
            self.serials.add(self.look(host))
        except OSError as error:
            self.failures.append(f"{host.name}: {error}")
        self.visits[host.name] += 1

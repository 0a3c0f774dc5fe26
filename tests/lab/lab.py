# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several real Debian hosts with systemd on one machine, without a container engine. Needs root.

lab.py check            say in one line what is missing, exit status 3
lab.py ready            make the root file systems and boot one host; what the machine lacks for that in one line, exit
                        status 3; a host that does not boot is a failure, exit status 1
lab.py up [COUNT]       start web1 ... webCOUNT, answering ssh; inventory in .work/lab/inventory
lab.py status           what runs
lab.py shell HOST [COMMAND ...]
lab.py down             end everything, also what killed tests and benchmarks left, and remove what was made; cached
                        root file systems stay

A host is an overlay over the root file system of its Debian release, a network namespace on a bridge of its own, and
systemd-nspawn in it. Everything is recorded in .work/lab/state.json before it is made, so that `down` finds it after
whatever ended the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ.get("UPKI_WORK", HERE.parents[1] / ".work")).resolve()
RELEASES = ("bullseye", "bookworm", "trixie")
# Packages of every host, and those that the mail and directory hosts need besides.
PACKAGES = ["systemd", "systemd-sysv", "openssh-server", "sudo", "python3", "python3-cryptography", "libfaketime"]
PACKAGES += ["openssl", "ca-certificates", "nginx", "apache2"]
MORE = dict.fromkeys(("bookworm", "trixie"), ["postfix", "dovecot-imapd", "slapd"])  # dovecot 2.3 and 2.4
DOMAIN = "lab.example.ac.jp"
# Below the work folder: the hosts of `up`, of the tests, of `ready` and of the benchmarks.
PLACES = ("", "tests", "trial", "bench")
NUMBERS = range(11, 250)  # last part of the hosts' addresses
# What every host needs of the kernel, tried in namespaces of its own.
PROBE = """
ip link add probe type bridge
ip link add probe0 type veth peer name probe1
mkdir lower upper work root
mount -t overlay probe -o lowerdir=lower,upperdir=upper,workdir=work root
"""
# program -> Debian package
TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "tc": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
UPDATE = ["apt-get", "update", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
BOOT = 60  # seconds until a host answers ssh
WATCHES = 1024  # inotify instances for all hosts of all labs on this machine
BUILD = 900  # seconds for one root file system; a mirror that hangs ends nobody's patience
MISSING = 3


class LabError(Exception):
    """Something that a person must know; one line."""


class Lacking(LabError):
    """The machine cannot run a lab."""


# --- what the machine must have ----------------------------------------------------------------------------


def run(*command: str, quiet: bool = True, check: bool = True, text: str | None = None) -> str:
    """Output of a command; LabError when it fails."""
    done = subprocess.run(
        command, input=text or "", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode:
        raise LabError(f"'{' '.join(command)}' ended with status {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.stdout


def missing_programs() -> list[str]:
    return [program for program in TOOLS if shutil.which(program) is None]


def install_programs() -> None:
    """Install what is missing where apt-get is there."""
    lacking = missing_programs()
    if not lacking or os.geteuid() or shutil.which("apt-get") is None:
        return
    packages = sorted({TOOLS[program] for program in lacking})
    print(f"lab: installing {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (UPDATE, ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


def missing() -> str:
    """Why no lab can run here, as one line; '' when it can. Installs programs where it may."""
    if not sys.platform.startswith("linux"):
        return "the lab needs Linux"
    if os.geteuid():
        return "the lab needs root (namespaces, overlay mounts)"
    install_programs()
    if lacking := missing_programs():
        packages = " ".join(sorted({TOOLS[program] for program in lacking}))
        return f"the lab needs {', '.join(lacking)} (apt-get install {packages})"
    probe = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode:
        return f"the lab needs namespaces: {probe.stderr.decode(errors='replace').strip()}"
    run("modprobe", "overlay", check=False) if shutil.which("modprobe") else None
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        return "the lab needs a kernel with overlay file systems"
    if lacks := kernel_lacks():
        return lacks
    if not all(Root(release).cached for release in RELEASES) and not mirrors():
        return "the lab needs a Debian mirror in apt's sources"
    return ""


def kernel_lacks() -> str:
    """What this machine's kernel, or the container around us, keeps from a lab, as one line; '' for nothing."""
    if not os.access("/sys/fs/cgroup", os.W_OK):
        return "the lab needs control groups (/sys/fs/cgroup cannot be written)"
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        command = ["unshare", "--mount", "--net", "sh", "-ec", PROBE]
        probe = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"the lab needs bridges, virtual cables and overlays of the kernel: {' '.join(probe.stderr.split())}"
    return ""


# --- root file systems -------------------------------------------------------------------------------------


@functools.cache
def mirrors() -> dict[str, str]:
    """The addresses of Debian and of its security updates, as apt has them: {'Debian': ..., 'Debian-Security': ...}."""
    if shutil.which("apt-get") is None:
        return {}
    question = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(COMPONENT)"]
    for attempt in (1, 2):
        lines = run(*question, "Created-By: Packages", check=False).splitlines()
        rows = [line.split("|") for line in lines if line.count("|") == 3]
        found = {label: uri for origin, label, uri, part in rows if origin == "Debian" and part == "main"}
        if "Debian" in found or attempt == 2:
            return found if "Debian" in found else {}
        run(*UPDATE, check=False)  # without lists apt knows no labels
    return {}


def cache() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(base).expanduser() / "campus-upki-lab"


class Root:
    """The root file system of a release: made once, then only read."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.packages = sorted([*PACKAGES, *MORE.get(release, [])])
        recipe = (HERE / "root.sh").read_text() + " ".join(self.packages)
        self.path = cache() / f"{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    @property
    def cached(self) -> bool:
        return self.path.is_dir()

    def build(self) -> None:
        """Make it unless it is there; one at a time on this machine."""
        cache().mkdir(parents=True, exist_ok=True)
        with open(cache() / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for partial in cache().glob("*.partial"):  # of a build that was killed
                remove_tree(partial)
            if not self.cached:
                self._build()

    def _build(self) -> None:
        start, partial, log = time.monotonic(), self.path.with_suffix(".partial"), self.path.with_suffix(".log")
        print(f"lab: making the root file system of {self.release}, a minute or two, once", flush=True)
        known = mirrors()
        # Ends with this process, however that ends, and with it (--kill-child) all that it has started.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command += ["--mount-proc", "sh", str(HERE / "root.sh")]
        command += [self.release, known["Debian"], known.get("Debian-Security", ""), str(partial), *self.packages]
        try:
            with open(log, "wb") as output:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=BUILD,
                    check=False,
                ).returncode
            if code:
                last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
                raise Lacking(f"the root file system of {self.release} could not be made: {last[0]} (see {log})")
            partial.rename(self.path)
        except subprocess.TimeoutExpired:
            why = f"it took more than {BUILD} s"
            raise Lacking(f"the root file system of {self.release} could not be made: {why} (see {log})") from None
        finally:
            remove_tree(partial)
        print(f"lab: {self.release} is ready after {time.monotonic() - start:.0f} s", flush=True)


def remove_tree(path: pathlib.Path) -> None:
    """Also one into which processes write that are just being killed."""
    for _try in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.1)


# --- hosts -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Host:
    """One machine. `service` names the units that start with it."""

    name: str
    release: str = "bookworm"
    services: tuple[str, ...] = ("nginx",)
    number: int = 0  # last part of the address, given by the lab

    @property
    def fqdn(self) -> str:
        return f"{self.name}.{DOMAIN}"


def web_hosts(count: int) -> list[Host]:
    """web1 ...: the releases in turn; odd ones run nginx, even ones Apache."""
    return [
        Host(f"web{n}", RELEASES[(n - 1) % len(RELEASES)], ("nginx",) if n % 2 else ("apache2",))
        for n in range(1, count + 1)
    ]


class Lab:
    """All hosts of one checkout, and what was made for them."""

    def __init__(self, work: pathlib.Path = WORK, mortal: bool = False) -> None:
        self.path = work / "lab"
        self.mortal = mortal  # its hosts end with this process, however that ends
        self.state_file = self.path / "state.json"
        self.key = self.path / "ssh" / "key"
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()
        self.id = digest[:4]
        # 198.18.0.0/15 is for test networks (RFC 2544), so it is nobody's own.
        self.network = f"198.{18 + int(digest[4], 16) % 2}.{int(digest[5:7], 16)}"
        self.bridge = f"upki{self.id}"
        self.hosts: dict[str, Host] = {}
        self._saving = threading.Lock()  # hosts may be switched off from threads
        self.state: dict[str, dict[str, Any]] = {"pids": {}, "mounts": {}, "namespaces": {}, "bridges": {}}
        if self.state_file.exists():
            self.state.update(json.loads(self.state_file.read_text()))
            for row in self.state.pop("hosts", {}).values():
                host = Host(**{**row, "services": tuple(row["services"])})
                self.hosts[host.name] = host

    # --- the record --------------------------------------------------------------------------------------

    def save(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        hosts = {name: dataclasses.asdict(host) for name, host in self.hosts.items()}
        temporary = self.state_file.with_suffix(".new")
        temporary.write_text(json.dumps({**self.state, "hosts": hosts}, indent=1))
        temporary.rename(self.state_file)

    def record(self, kind: str, name: str, value: Any = True) -> None:
        with self._saving:
            self.state[kind][name] = value
            self.save()

    def forget(self, kind: str, name: str) -> None:
        with self._saving:
            if self.state[kind].pop(name, None) is not None:
                self.save()

    # --- start -------------------------------------------------------------------------------------------

    def up(self, hosts: Iterable[Host]) -> None:
        """Start these hosts, each as a new machine, and wait until they answer ssh."""
        hosts = list(hosts)
        for release in sorted({host.release for host in hosts}):
            Root(release).build()
        self._ssh_key()
        self._bridge()
        make_room()
        for host in hosts:
            taken = {other.number for other in self.hosts.values() if other.name != host.name}
            host.number = next(n for n in NUMBERS if n not in taken)
            self.hosts[host.name] = host
        self.save()
        self._forget_host_keys({self.address(host.name) for host in hosts})
        for host in hosts:
            self.remove(host.name, forget=False)
            self._mount(host)
            self._furnish(host)
            self._namespace(host)
        self._names()
        for host in hosts:
            self.boot(host.name, wait=False)
        for host in hosts:
            self.await_ssh(host.name)

    def _forget_host_keys(self, addresses: set[str]) -> None:
        """A new machine at an old address has another key."""
        known = self.path / "ssh" / "known_hosts"
        for address in addresses if known.exists() else ():
            run("ssh-keygen", "-q", "-f", str(known), "-R", address)

    def _ssh_key(self) -> None:
        if not self.key.exists():
            self.key.parent.mkdir(parents=True, exist_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.key))

    def _bridge(self) -> None:
        if self.bridge in run("ip", "-o", "link", "show", "type", "bridge"):
            return
        if run("ip", "route", "show", "root", f"{self.network}.0/24").strip():
            raise LabError(
                f"the network {self.network}.0/24 is in use on this machine; set UPKI_WORK to another folder"
            )
        self.record("bridges", self.bridge)
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.network}.1/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def folder(self, name: str) -> pathlib.Path:
        return self.path / "hosts" / name

    def root(self, name: str) -> pathlib.Path:
        """The host's file system as the host sees it."""
        return self.folder(name) / "root"

    def lower(self, name: str) -> pathlib.Path:
        """What its release brings."""
        return Root(self.hosts[name].release).path

    def address(self, name: str) -> str:
        return f"{self.network}.{self.hosts[name].number}"

    def _mount(self, host: Host) -> None:
        folder = self.folder(host.name)
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        target = str(folder / "root")
        options = f"lowerdir={Root(host.release).path},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        self.record("mounts", target)
        run("mount", "-t", "overlay", f"lab-{host.name}", "-o", options, target)

    def _furnish(self, host: Host) -> None:
        root = self.root(host.name)
        (root / "etc" / "hostname").write_text(f"{host.name}\n")
        (root / "root" / ".ssh" / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        wants = root / "etc" / "systemd" / "system" / "multi-user.target.wants"
        for service in host.services:
            (wants / f"{service}.service").symlink_to(f"/lib/systemd/system/{service}.service")
        (root / "var" / "www" / "html" / "index.html").write_text(f"{host.name}\n")

    def _names(self) -> None:
        """One list of names for all hosts and for the controller, in place of a name server."""
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
        lines += [f"{self.address(name)} {host.fqdn} {name}" for name, host in self.hosts.items()]
        text = "\n".join(lines) + "\n"
        (self.path / "hosts.txt").write_text(text)
        for name in self.hosts:
            if self.root(name).is_mount():
                (self.root(name) / "etc" / "hosts").write_text(text)

    def _namespace(self, host: Host) -> None:
        space, inner, outer = f"{self.bridge}-{host.name}", "host0", f"v{self.id}n{host.number}"
        self.record("namespaces", space, outer)
        run("ip", "netns", "add", space)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
        run("ip", "link", "set", outer, "master", self.bridge, "up")
        run("ip", "-n", space, "address", "add", f"{self.address(host.name)}/24", "dev", inner)
        run("ip", "-n", space, "link", "set", inner, "up")
        run("ip", "-n", space, "link", "set", "lo", "up")

    def boot(self, name: str, wait: bool = True) -> None:
        """Switch a host on."""
        space = f"{self.bridge}-{name}"
        command = ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", f"--machine=lab{self.id}-{name}"]
        command += [f"--network-namespace-path=/run/netns/{space}", "--resolv-conf=off", "--timezone=off"]
        command += ["--hostname", name, "--boot", f"--directory={self.root(name)}"]
        if self.mortal:
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with open(self.folder(name) / "console.log", "ab") as console:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        self.record("pids", name, [process.pid, started(process.pid)])
        if wait:
            self.await_ssh(name)
            self.await_web(name)

    def await_web(self, name: str) -> None:
        """Until a web server that starts with the host is there: it has port 80 from its package."""
        end = time.monotonic() + BOOT
        while self.hosts[name].services and not opens(self.address(name), 80) and time.monotonic() < end:
            time.sleep(0.1)

    def await_ssh(self, name: str) -> None:
        end = time.monotonic() + BOOT
        while not answers(self.address(name), 22):
            if not self.running(name):
                raise LabError(f"{name} did not start, see {self.folder(name) / 'console.log'}")
            if time.monotonic() > end:
                raise LabError(f"{name} does not answer ssh after {BOOT} s, see {self.folder(name) / 'console.log'}")
            time.sleep(0.1)

    # --- stop --------------------------------------------------------------------------------------------

    def running(self, name: str) -> bool:
        row = self.state["pids"].get(name)
        return isinstance(row, list) and row[1] is not None and started(row[0]) == row[1]

    def running_root(self, name: str) -> pathlib.Path:
        """The file system of a running host with what is mounted in it, such as its /tmp."""
        return pathlib.Path(f"/proc/{children(self.state['pids'][name][0])[0]}/root")

    def link(self, name: str, state: str) -> None:
        """Pull the host's cable (down), or plug it in again (up)."""
        run("ip", "link", "set", self.state["namespaces"][f"{self.bridge}-{name}"], state)

    def kill_ssh(self, name: str) -> int:
        """End sshd's side of every connection to the host at once; what was started over it goes on. How many ended."""
        ended = 0
        for pid in descendants(self.state["pids"][name][0]):
            title = command_line(pid)
            if title.startswith(("sshd: ", "sshd-session: ")) and "[listener]" not in title:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    ended += 1
        return ended

    def power_cut(self, name: str) -> None:
        """End a host as a power cut does: no process gets a word."""
        row = self.state["pids"].get(name)
        if isinstance(row, list) and self.running(name):
            kill_machine(row[0])
        self.forget("pids", name)

    def remove(self, name: str, forget: bool = True) -> None:
        """End a host and take away all that belongs to it."""
        self.power_cut(name)
        self._unmount(str(self.root(name)))
        self._drop_namespace(f"{self.bridge}-{name}")
        shutil.rmtree(self.folder(name), ignore_errors=True)
        if forget and name in self.hosts:
            del self.hosts[name]
            self.save()

    def _unmount(self, target: str) -> None:
        for _try in range(20):
            if not os.path.ismount(target):
                self.forget("mounts", target)
                return
            subprocess.run(["umount", target], capture_output=True, check=False)
            time.sleep(0.05 if os.path.ismount(target) else 0)
        raise LabError(f"{target} cannot be unmounted")

    def _drop_namespace(self, space: str) -> None:
        if space in self.state["namespaces"]:
            # By hand: unfinished TCP connections can keep a namespace, and with it the cable, for minutes.
            subprocess.run(["ip", "link", "delete", self.state["namespaces"][space]], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
            self.forget("namespaces", space)

    def down(self) -> None:
        """Remove everything that the record names."""
        for name in list(self.state["pids"]):
            self.power_cut(name)
        for pid in machines(f"lab{self.id}-"):  # started in the moment before its id could be written down
            kill_machine(pid)
        for target in list(self.state["mounts"]):
            self._unmount(target)
        for space in list(self.state["namespaces"]):
            self._drop_namespace(space)
        for bridge in list(self.state["bridges"]):
            subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)
            self.forget("bridges", bridge)
        shutil.rmtree(self.path, ignore_errors=True)
        self.hosts.clear()

    # --- use ---------------------------------------------------------------------------------------------

    def ssh_options(self) -> list[str]:
        known = self.path / "ssh" / "known_hosts"
        options = [f"UserKnownHostsFile={known}", "StrictHostKeyChecking=accept-new", "ConnectTimeout=5"]
        options += ["ServerAliveInterval=3", "ServerAliveCountMax=2", "LogLevel=ERROR"]
        return [word for option in options for word in ("-o", option)]

    def ssh(self, name: str) -> list[str]:
        return ["ssh", "-i", str(self.key), *self.ssh_options(), f"root@{self.address(name)}"]

    def inventory(self) -> dict[str, Any]:
        """What Ansible needs to reach the hosts: the group `lab`."""
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(self.ssh_options()),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_pipelining": True,
        }
        hosts = {name: {"ansible_host": self.address(name)} for name in self.hosts}
        return {"all": {"children": {"lab": {"hosts": hosts, "vars": common}}}}

    def controller(self, *command: str) -> list[str]:
        """A command of the controller, for which the names of the hosts resolve."""
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.path / "hosts.txt"), *command]


def started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; with the id this names one process for ever. None when it ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def alive(pid: int) -> bool:
    return started(pid) is not None


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those have."""
    found = children(pid)
    for child in found:  # grows meanwhile
        found += children(child)
    return found


def command_line(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def make_room() -> None:
    """Each systemd watches files with a few of what the kernel gives root 128 of, which is enough for some 12 hosts."""
    limit = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")
    with contextlib.suppress(OSError):  # as it is, then
        if int(limit.read_text()) < WATCHES:
            limit.write_text(str(WATCHES))


def machines(beginning: str) -> list[int]:
    """The systemd-nspawn of every machine whose name begins so."""
    pids = [int(entry.name) for entry in pathlib.Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if f" --machine={beginning}" in command_line(pid)]


def kill_machine(nspawn: int) -> None:
    family = [nspawn, *children(nspawn)]
    for pid in reversed(family):  # its own init first, with which all its processes end
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while any(alive(pid) for pid in family) and time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(nspawn, os.WNOHANG)
        time.sleep(0.01)


def answers(address: str, port: int) -> bool:
    """Whether a server on that port says something, as sshd does at once."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.settimeout(2)
            return bool(connection.recv(4))
    except OSError:
        return False


def opens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def only_one(work: pathlib.Path) -> Iterator[None]:
    """Hold the lab of this checkout."""
    work.mkdir(parents=True, exist_ok=True)
    with open(work / "lab.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another run holds the lab of this checkout; wait for it to end") from None
        yield


# --- the command line --------------------------------------------------------------------------------------


def when_ended(action: Callable[[int], object]) -> None:
    """Do this when told to end, or when the terminal goes away; what nohup ignores stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _frame: action(received))


def need_root(what: str) -> None:
    if os.geteuid():
        raise LabError(f"the hosts are root's, and so is '{what}'; type it as root")


def up(count: str = "6") -> None:
    if not re.fullmatch("[1-9][0-9]{0,2}", count) or int(count) > len(NUMBERS):
        raise LabError(f"the number of hosts (HOSTS) is 1 to {len(NUMBERS)}, not '{count}'")
    if reason := missing():
        raise Lacking(reason)
    hosts = web_hosts(int(count))
    start = time.monotonic()
    with only_one(WORK):
        lab = Lab(WORK)
        lab.down()
        try:
            lab.up(hosts)
        except BaseException:
            lab.down()
            raise
        folder = lab.path / "inventory"
        (folder / "group_vars").mkdir(parents=True, exist_ok=True)
        (folder / "hosts.json").write_text(json.dumps(lab.inventory(), indent=1))
    print(f"lab: {len(hosts)} hosts answer ssh after {time.monotonic() - start:.1f} s")
    status()
    print(f"inventory: {os.path.relpath(folder)}   shell: make lab-shell HOST={hosts[0].name}   end: make lab-down")


def status() -> None:
    lab = Lab(WORK)
    for name, host in lab.hosts.items():
        state = "running" if lab.running(name) else "off"
        print(f"{name:8} {lab.address(name):16} {host.release:9} {','.join(host.services):12} {state}")


def shell(name: str = "", *command: str) -> None:
    need_root("shell")
    lab = Lab(WORK)
    if name not in lab.hosts:
        raise LabError(f"there is no host '{name}'; running are: {', '.join(lab.hosts) or 'none, see make lab-up'}")
    sys.stdout.flush()
    os.execvp("ssh", [*lab.ssh(name), *command])


def check() -> None:
    if reason := missing():
        raise Lacking(reason)
    print("lab: this machine can run it")


def ready() -> None:
    """All that can keep hosts from starting, found out before a test relies on them."""
    if reason := missing():
        raise Lacking(reason)
    try:
        for release in RELEASES:
            Root(release).build()
    except OSError as error:
        raise Lacking(f"the root file systems cannot be kept: {error}") from None
    with only_one(WORK / "trial"):
        trial = Lab(WORK / "trial", mortal=True)
        trial.down()
        try:
            trial.up([Host("trial", services=())])
        finally:
            trial.down()
    print("lab: hosts start here")


def down() -> None:
    """Everywhere; what another run holds stays, is named, and keeps nothing else from its end."""
    need_root("down")
    refused = []
    for place in PLACES:
        work = WORK / place
        if work.is_dir():
            try:
                with only_one(work):
                    Lab(work).down()
            except LabError as error:
                refused.append(f"{place or 'up'}: {error}")
    if refused:
        raise LabError("; ".join(refused))


def main(arguments: list[str]) -> int:
    commands: dict[str, Any] = {
        "check": check,
        "ready": ready,
        "up": up,
        "status": status,
        "shell": shell,
        "down": down,
    }
    if not arguments or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[arguments[0]](*arguments[1:])
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return MISSING if isinstance(error, Lacking) else 1
    return 0


if __name__ == "__main__":
    when_ended(lambda number: sys.exit(128 + number))
    sys.exit(main(sys.argv[1:]))

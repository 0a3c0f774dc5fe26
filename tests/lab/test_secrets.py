# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Not one trace of a private key outside the store: a whole life at -vvvv --diff, with and without pipelining.

All actions that touch keys run loudly, while processes and temporary folders are watched. At the end comes a playbook
that lets a decoy out in every way, so that one search shows both: the decoy is found in each kind of place, and no
other key anywhere.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.lab import controller
from ansible_collections.campus.upki.tests.lab.calls import calls, traced
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller, Run, certificate
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import Host
from ansible_collections.campus.upki.tests.lab.sampling import Processes, TemporaryFiles
from ansible_collections.campus.upki.tests.lab.test_adoption import CERTIFICATE, KEY, OLD, set_up_by_hand
from ansible_collections.campus.upki.tests.lab.traces import Search, files, stored_keys
from ansible_collections.campus.upki.tests.unit import pki

pytestmark = pytest.mark.nightly

LOUD = ("-vvvv", "--diff")
DUE = {"upki_renew_before": "120d"}  # of certificates with 98 of 198 days left
DECOY = bytes(pki.key_pem(pki.new_key("rsa2048")))
TRACED = Host("web1", "bullseye")
CURVE = Host("web2", "bookworm", ("apache2",))
COPIES = Host("web3", "trixie")
HOSTS = (TRACED, CURVE, COPIES, OLD)
# Where a key may be besides the store, because somebody asked for it: a service's copies, the parcel for the IT centre.
COPIED = ("/etc/ssl/private/copy.key", "/etc/ssl/private/combined.pem")
PARCELS = "/root/handoff"
PASSING = ("/tmp", "/var/tmp", "/dev/shm", "/root/.ansible/tmp")
KEPT = ".before-upki"
STORED = re.compile(r"(/\S+)?/etc/upki/[^/]+/generations/[^/]+/key\.pem")
# Every kind of place that is searched, as the search calls it.
KINDS = {
    *("output", "log", "artifact", "fact cache", "passing file of the controller", "file of the controller"),
    *("cmdline", "environ", "journal", "console", "file of a host", "file of a memory file system"),
    *(f"passing file in {folder}" for folder in PASSING),
}


class Life:
    """A fleet on which everything is done loudly, and what it left behind."""

    def __init__(self, fleet: Controller, pipelining: bool) -> None:
        self.fleet, self.issuer = fleet, Issuer(fleet)
        self.outputs: list[tuple[str, bytes]] = []
        self.keys: dict[str, bytes] = {}
        self.temporary = fleet.path / "temporary"
        self.temporary.mkdir()
        self.options: dict[str, Any] = {
            "env": {
                "ANSIBLE_LOG_PATH": str(fleet.path / "ansible.log"),
                "ANSIBLE_KEEP_REMOTE_FILES": str(int(not pipelining)),
                "ANSIBLE_CACHE_PLUGIN": "jsonfile",
                "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet.path / "facts"),
                "TMPDIR": str(self.temporary),
                "XDG_CACHE_HOME": str(fleet.path / ".cache"),
            },
            "ansible_pipelining": pipelining,
        }

    def step(self, playbook: str, **variables: Any) -> Run:
        run = self.fleet.play(playbook, *LOUD, **self.options, **variables)
        assert "task path" in run.output  # it was loud indeed
        self.outputs.append((f"output of {playbook}, step {len(self.outputs)}", run.output.encode()))
        for host in self.fleet.hosts:
            root = self.fleet.lab.root(host.name)
            self.keys |= {f"{host.name}:{path.relative_to(root)}": path.read_bytes() for path in stored_keys(root)}
        return run

    def playbook(self, name: str, *plays: dict[str, Any]) -> str:
        (self.fleet.path / name).write_text(json.dumps(list(plays), indent=1))
        return str(self.fleet.path / name)

    def running(self, host: Host) -> pathlib.Path:
        return self.fleet.lab.running_root(host.name)

    def upper(self, host: Host) -> pathlib.Path:
        return self.fleet.lab.folder(host.name) / "upper"

    def passing(self) -> TemporaryFiles:
        folders = [self.running(host) / folder.lstrip("/") for host in self.fleet.hosts for folder in PASSING]
        return TemporaryFiles([*folders, self.temporary, self.fleet.path / ".ansible" / "tmp"])


@pytest.mark.parametrize("pipelining", [True, False])
def test_no_trace_of_a_key_outside_the_store(
    start: Start, pipelining: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    begin = time.monotonic()
    life = Life(start(*HOSTS), pipelining)
    set_up(life)
    with Processes() as processes, life.passing() as passing:
        live(life, tmp_path / "strace", monkeypatch)
        let_out(life, monkeypatch)
    lived = time.monotonic()
    assert len(life.keys) == 3 * len(HOSTS) + 1, sorted(life.keys)  # and the one that was taken over
    search = Search({**life.keys, "decoy": DECOY})
    spoken, on_disks = Tally(), Tally()
    found = {
        **search.places(spoken.of([*life.outputs, *processes.seen, *passing.seen, *journals(life)])),
        **search.places(on_disks.of(written(life))),
    }
    assert not {place: names for place, names in found.items() if names != {"decoy"}}
    assert {kind_of(place, life) for place in found} == KINDS
    assert not [path for path in let_out_to(life) if str(path) not in found]
    assert_private(life)
    assert_facts_kept(life)
    traced_calls = assert_written_to_the_store_alone(tmp_path / "strace", Search(life.keys))
    print(
        f"pipelining {pipelining}: {len(life.keys)} keys, {on_disks.places} files ({on_disks.size / 1e6:.0f} MB), "
        f"{spoken.places} other places ({spoken.size / 1e6:.0f} MB), {traced_calls} calls traced; "
        f"{processes.looks} looks at processes, {passing.looks} at temporary folders; "
        f"{lived - begin:.0f} s lived, {time.monotonic() - lived:.0f} s searched"
    )


# --- what is done ------------------------------------------------------------------------------------------


def set_up(life: Life) -> None:
    """Keys of both kinds, one server with copies of its key, one that was set up by hand."""
    fleet = life.fleet
    set_up_by_hand(fleet, life.issuer)
    fleet.set_host(CURVE, upki_certificates=[certificate(CURVE, key_type="p384")])
    copies = [
        {"path": path, "what": what, "copy": True} for path, what in zip(COPIED, ("key", "combined"), strict=True)
    ]
    fleet.set_host(COPIES, upki_certificates=[certificate(COPIES, links=copies)])
    links = [{"path": CERTIFICATE, "what": "fullchain"}, {"path": KEY, "what": "key"}]
    adopt = {"certificate": CERTIFICATE, "key": KEY}
    names: dict[str, Any] = {"dns_names": [], "current_certificate": CERTIFICATE}
    fleet.set_host(OLD, upki_certificates=[certificate(OLD, links=links, adopt=adopt, **names)])
    for folder in (fleet.path / "parcels", fleet.lab.root(COPIES.name) / PARCELS.lstrip("/")):
        folder.mkdir(mode=0o700)


def live(life: Life, log: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life.step("campus.upki.request").good()
    issue(life)
    life.step("campus.upki.deploy").good()
    # Both halves of the daily run, the second under ansible-runner, each process on one host traced.
    with traced(life.fleet, TRACED, log) if shutil.which("strace") else contextlib.nullcontext():
        life.step("campus.upki.renew", **DUE).good()
        issue(life)
        with monkeypatch.context() as patch:
            patch.setattr(controller, "MANNER", "runner")
            life.step("campus.upki.renew").good()
    fail(life)
    life.step("campus.upki.deploy", upki_rollback=[TRACED.fqdn], again=False).good()
    assert life.step(hand_over(life)).good().changed
    life.step("campus.upki.verify")


def issue(life: Life, *but: Host) -> None:
    for host in (one for one in HOSTS if one not in but):
        names = [host.fqdn, *([] if host is OLD else [f"docs.{host.fqdn}"])]
        life.issuer.issue(host, start=100, end=-98, names=names)


def fail(life: Life) -> None:
    """A certificate for another key, and a server that cannot reload; then all as it should be."""
    life.step("campus.upki.request", **DUE).good()
    issue(life, TRACED)
    life.issuer.issue(TRACED, key=pki.new_key())
    life.fleet.on(CURVE, "echo Nonsense >/etc/apache2/conf-enabled/nonsense.conf")
    run = life.step("campus.upki.deploy")
    assert {name for name, counts in run.recap.items() if counts["failed"]} == {TRACED.name, CURVE.name}, run.output
    assert "other_key" in run.output and "Nonsense" in run.output
    life.fleet.on(CURVE, "rm /etc/apache2/conf-enabled/nonsense.conf")
    life.issuer.issue(TRACED, start=100, end=-98)
    life.step("campus.upki.deploy").good()


def hand_over(life: Life) -> str:
    """A playbook with what no playbook of the collection has in it; the facts that it gathers go to the cache."""
    parcel = {"name": COPIES.fqdn, "dest": PARCELS, "fetch": True, "fetch_dest": str(life.fleet.path / "parcels")}
    return life.playbook(
        "hand-over.json",
        {"hosts": "upki", "gather_facts": True, "tasks": [{"campus.upki.info": {}}]},
        {"hosts": COPIES.name, "gather_facts": False, "tasks": [{"campus.upki.handoff": parcel}]},
    )


def let_out(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the collection must never do, with a key that is nobody's."""
    folders = " ".join(PASSING)
    script = f"""mkdir -p /root/.ansible/tmp /root/x /srv/etc/upki/x/generations/1
for folder in {folders}; do printf %s "$DECOY" >$folder/passing; done
sleep 2
for folder in {folders}; do rm $folder/passing; done
for path in /root/x/key.pem /srv/etc/upki/x/generations/1/key.pem /dev/shm/key.pem; do printf %s "$DECOY" >$path; done
printf %s "$DECOY" >/dev/console
"""
    on_host = {"argv": ["sh", "-c", script, "sh", "{{ decoy }}"]}
    here = {
        "argv": [
            "sh",
            "-c",
            'printf %s "$DECOY" >$TMPDIR/passing; sleep 2; mv $TMPDIR/passing "$1"',
            "sh",
            str(life.fleet.path / "key.pem"),
        ]
    }
    environment = {"DECOY": "{{ decoy }}"}
    book = life.playbook(
        "let-out.json",
        {
            "hosts": TRACED.name,
            "gather_facts": False,
            "vars": {"decoy": DECOY.decode()},
            "tasks": [
                {"ansible.builtin.command": on_host, "environment": environment},
                {"ansible.builtin.command": here, "environment": environment, "delegate_to": "localhost"},
                {"ansible.builtin.set_fact": {"a_decoy": "{{ decoy }}", "cacheable": True}},
            ],
        },
    )
    with monkeypatch.context() as patch:
        patch.setattr(controller, "MANNER", "runner")
        life.step(book).good()


def let_out_to(life: Life) -> list[pathlib.Path]:
    """Files of the decoy that have the name and even the path of a key's own place, but are elsewhere."""
    names = ("root/x/key.pem", "srv/etc/upki/x/generations/1/key.pem")
    return [*(life.upper(TRACED) / name for name in names), life.fleet.path / "key.pem"]


# --- where it is looked for --------------------------------------------------------------------------------


def journals(life: Life) -> Iterator[tuple[str, bytes]]:
    """What each host's journal holds; in its files longer fields are compressed."""
    for host in HOSTS:
        command = [*life.fleet.lab.ssh(host.name), "journalctl --all -o export --no-pager"]
        data = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        assert b"_HOSTNAME=" in data
        yield f"journal of {host.name}", data


def written(life: Life) -> Iterator[tuple[str, bytes]]:
    """Every file of the operator's directory and of the hosts, but for those where a key belongs."""
    folders = [life.fleet.path]
    for host in HOSTS:
        folders += [life.upper(host), *(life.running(host) / part for part in ("tmp", "run", "dev/shm"))]
        yield f"console of {host.name}", (life.fleet.lab.folder(host.name) / "console.log").read_bytes()
    yield from files(folders, {*allowed(life), life.fleet.path / "let-out.json"})


def allowed(life: Life) -> list[pathlib.Path]:
    """The places of the store, and those that somebody named; the key that an old server was set up with stays."""
    own = [path for host in HOSTS for path in stored_keys(life.upper(host))]
    copies = [life.upper(COPIES) / path.lstrip("/") for path in COPIED]
    by_hand = life.upper(OLD) / f"{KEY}{KEPT}".lstrip("/")
    return [*own, *copies, *parcels(life), by_hand]


def parcels(life: Life) -> list[pathlib.Path]:
    """The one archive on the host, and as it was fetched."""
    folders = [life.upper(COPIES) / PARCELS.lstrip("/"), life.fleet.path / "parcels"]
    found = [path for folder in folders for path in folder.glob(f"{COPIES.fqdn}-????????.zip")]
    assert [path.parent for path in found] == folders
    return found


class Tally:
    """Counts what goes past."""

    def __init__(self) -> None:
        self.places = self.size = 0

    def of(self, places: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for place, data in places:
            self.places, self.size = self.places + 1, self.size + len(data)
            yield place, data


def kind_of(place: str, life: Life) -> str:
    """The kind of a place, as KINDS has it."""
    begin, passing, path = place.rpartition("passing file ")
    own = str(life.fleet.path) + "/"
    if path.startswith(own):
        if "/fact_cache/" in path:  # the runner's own
            return "fact cache"
        parts = {"ansible.log": "log", "artifacts": "artifact", "facts": "fact cache"}
        kind = f"{passing}of the controller" if passing else "file of the controller"
        return parts.get(path.removeprefix(own).split("/")[0], kind)
    if passing:
        (folder,) = [folder for folder in PASSING if re.match(rf"/proc/\d+/root{folder}/", path)]
        return f"passing file in {folder}"
    if place.startswith("/"):
        return "file of a memory file system" if place.startswith("/proc/") else "file of a host"
    return place.split(" ")[0]


# --- what must hold ----------------------------------------------------------------------------------------


def assert_facts_kept(life: Life) -> None:
    """The cache that was searched held something of each host."""
    cached = (life.fleet.path / "facts").iterdir()  # newer releases of Ansible put s1_ in front of the name
    assert {path.name.removeprefix("s1_") for path in cached} == {host.name for host in HOSTS}


def assert_private(life: Life) -> None:
    """Each key that is where it belongs is its owner's alone."""
    for path in (one for one in allowed(life) if one.suffix != KEPT):
        facts = path.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o600, 0), path


def assert_written_to_the_store_alone(log: pathlib.Path, search: Search) -> int:
    """No program was given a key, none handed one on, and each was written to its own place and to no other."""
    programs, stored, number = set[str](), 0, 0
    if not log.exists():
        print("no strace here: processes and temporary files were sampled only")
        return 0
    for call, file, data in calls(log):
        number += 1
        if call == "execve":
            programs.add(data.split(b"\0")[0].rpartition(b"/")[2].decode(errors="replace"))
        if search.found(data):
            assert call == "write" and STORED.fullmatch(file), (call, file)
            stored += 1
    assert stored == 1, stored
    assert {"python3", "nginx"} <= programs, programs
    return number

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9, a full disk and a failing disk at EVERY system call by which a run changes the store.

The calls are found by tracing one run, so that a call added tomorrow is tested tomorrow.
"""

import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._inventory import inventory
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    NAME,
    NOW,
    keys,
    live_store,
    row,
    run,
    snapshot,
    wanted,
)

CHANGING = [
    "open",
    "openat",
    "creat",
    "mkdir",
    "mkdirat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "ftruncate",
    "truncate",
]
LATER = NOW + 180 * 86400


PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)


def attach(work, arguments):
    """Run work() in a child that strace is attached to. Returns (exit code or -signal, output, trace lines).

    The child is forked from this process, so that nothing but the work itself is traced, and a case takes 50 ms.
    """
    go_read, go_write = os.pipe()
    out_read, out_write = os.pipe()
    child = os.fork()
    if child == 0:
        _child(work, go_read, out_write)
    os.close(go_read)
    os.close(out_write)
    log = tempfile.mkstemp(prefix="upki-trace-")[1]
    tracer = subprocess.Popen(
        ["strace", "-o", log, "-p", str(child)] + arguments, stderr=subprocess.PIPE, universal_newlines=True
    )
    first = tracer.stderr.readline()
    os.write(go_write, b"1" if "attached" in first else b"0")
    os.close(go_write)
    with os.fdopen(out_read, "rb") as stream:
        output = stream.read().decode("utf-8")
    status = os.waitpid(child, 0)[1]
    tracer.communicate(timeout=60)
    with open(log, encoding="utf-8", errors="replace") as stream:
        lines = stream.read().splitlines()
    os.unlink(log)
    if "attached" not in first:
        return None, first.strip(), lines
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), output, lines


def _child(work, go, out):
    code = 9
    try:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)
        if os.read(go, 1) == b"1":
            code, text = work()
            sys.stdout = None
            os.writev(out, [text.encode("utf-8")])  # not among the calls that are counted
    finally:
        os._exit(code)


@functools.lru_cache(maxsize=None)
def trouble_with_strace():
    """Why system calls cannot be traced here, or ''."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    code, output, _lines = attach(lambda: (0, ""), ["-e", "trace=write"])
    return "" if code == 0 else "strace may not trace here: {0}".format(output)


class Scene:
    """A store before the run, the certificate that the run is about, and the run under strace."""

    def __init__(self, folder, prepare, certificate):
        self.base = os.path.join(folder, "base")
        self.store = os.path.join(folder, "store")
        self.certificate = certificate
        prepare(self.base)

    def reset(self):
        shutil.rmtree(self.store, ignore_errors=True)
        if os.path.isdir(self.base):
            shutil.copytree(self.base, self.store, symlinks=True)

    def work(self):
        """The run that is disturbed: (exit code, what it says)."""
        try:
            return 0, row(self.store, self.certificate, now=LATER)["reason_code"]
        except UpkiError as error:
            return 3, str(error)

    def points(self):
        """[(system call, how many-th of its name)] of all calls that change files during the run."""
        self.reset()
        code, output, lines = attach(self.work, ["-e", "trace=" + ",".join("?" + name for name in CHANGING)])
        assert code == 0, output
        counts, points = {}, []
        for line in lines:
            name = line.split("(")[0]
            if name not in CHANGING:
                continue
            counts[name] = counts.get(name, 0) + 1
            if name not in ("open", "openat") or "O_CREAT" in line:
                points.append((name, counts[name]))
        return points

    def inject(self, point, fault):
        """Run with a fault at one point. Returns (exit code or -signal, output)."""
        self.reset()
        name, number = point
        inject = "inject={0}:{1}:when={2}".format(name, fault, number)
        code, output, lines = attach(self.work, ["-e", "trace=" + name, "-e", inject])
        hit = code == -signal.SIGKILL or any("INJECTED" in line for line in lines)
        assert hit, "the fault at {0} was not reached".format(point)
        return code, output


def nothing(base):
    """No store at all."""


def due(base):
    """A live certificate that is due at LATER."""
    live_store(base)


def waiting(base):
    """A live certificate with a pending successor."""
    live_store(base)
    run(base, wanted(), now=LATER)


SCENES = {
    "first request": (nothing, wanted()),
    "renewal": (due, wanted()),
    "cancel": (waiting, wanted(state="cancelled")),
    "amend": (waiting, wanted(kind="server_renew", serial="12345")),
}


@pytest.fixture(scope="module", params=sorted(SCENES))
def scene(request):
    if trouble_with_strace():
        pytest.skip(trouble_with_strace())
    folder = tempfile.mkdtemp(prefix="upki-survival-")
    yield Scene(folder, *SCENES[request.param])
    shutil.rmtree(folder, ignore_errors=True)


def live_files(store):
    """The live link and the files behind it; equal before and after whatever happens to a request."""
    slot = Store(store).certificate(NAME)
    live = slot.live
    link = slot.link("live")
    return link, {path: content for path, content in snapshot(store).items() if live and path.startswith(live.path)}


def check_survival(scene, before_keys, before_live, where):
    """No key lost, live intact, and the next run ends where an undisturbed one would have."""
    after = keys(scene.store)
    for path, content in before_keys.items():
        assert after.get(path) == content, where
    assert live_files(scene.store) == before_live, where
    entries = inventory(scene.store, [NAME], LATER)
    assert not entries[0]["problems"], (where, entries)
    for generation in Store(scene.store).certificate(NAME).generations():
        assert generation.has("key.pem", "request.pem", "request.json", "request.tsv"), (where, generation.path)
    again = run_again(scene)
    assert again["changed"] is False, where
    complete = {path: content for path, content in after.items() if content}
    left = keys(scene.store)
    for path, content in complete.items():
        assert left.get(path) == content, where
    assert live_files(scene.store) == before_live, where
    return again


def run_again(scene):
    """The run that repairs, and the one after it, in this process; returns the row of the second."""
    row(scene.store, scene.certificate, now=LATER)
    return row(scene.store, scene.certificate, now=LATER)


def ended(scene, found):
    """Where a store ended: no run makes a second request where the first is whole."""
    return found["state"], found["kind"], len(Store(scene.store).certificate(NAME).generations())


def before(scene):
    scene.reset()
    return keys(scene.store), live_files(scene.store)


def test_kill_at_every_change(scene):
    points = scene.points()
    assert len(points) >= 4
    before_keys, before_live = before(scene)
    ends = set()
    for point in points:
        code, _output = scene.inject(point, "signal=KILL")
        assert code == -signal.SIGKILL, point
        ends.add(ended(scene, check_survival(scene, before_keys, before_live, point)))
    scene.reset()
    assert ends == {ended(scene, run_again(scene))}  # the same as without any kill


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_error_at_every_change(scene, fault):
    points = scene.points()
    before_keys, before_live = before(scene)
    told, ends = 0, set()
    for point in points:
        code, output = scene.inject(point, "error=" + fault)
        assert code in (0, 3), (point, output)
        if code == 3:
            told += 1
            assert os.strerror({"ENOSPC": 28, "EIO": 5}[fault]) in output, point
            assert re.search(r"Make room|disk reports", output), point
        ends.add(ended(scene, check_survival(scene, before_keys, before_live, point)))
    scene.reset()
    assert ends == {ended(scene, run_again(scene))}
    assert told >= len(points) - 2  # who holds the lock is written for messages only; everything else is told


# --- surroundings that are not as they should be ---------------------------------------------------------


@pytest.fixture
def tmpfs():
    """A file system of 64 kB of its own, where this process may mount one."""
    folder = tempfile.mkdtemp(prefix="upki-tmpfs-")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        os.rmdir(folder)
        pytest.skip("cannot mount a small file system: {0}".format(done.stdout.decode("utf-8", "replace").strip()))
    yield folder
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)


def test_a_full_disk_loses_nothing_and_the_next_run_succeeds(tmpfs):
    store = os.path.join(tmpfs, "upki")
    live_store(store)
    before_keys, before_live = keys(store), live_files(store)
    with open(os.path.join(tmpfs, "filler"), "wb") as stream, pytest.raises(OSError):
        while True:
            os.write(stream.fileno(), b"x" * 4096)
    for _attempt in range(20):
        with pytest.raises(UpkiError) as caught:
            row(store, now=LATER)
        assert caught.value.code == "store_io"
        assert "Make room" in str(caught.value)
        assert keys(store) == before_keys  # no half-written key is left behind either
        assert live_files(store) == before_live
        assert not Store(store).certificate(NAME).leftovers()
    os.unlink(os.path.join(tmpfs, "filler"))
    assert row(store, now=LATER)["state"] == "renewing"


def test_a_read_only_file_system_is_told_and_read(tmpfs):
    store = os.path.join(tmpfs, "upki")
    live_store(store)
    before_all = snapshot(store)
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    assert row(store)["state"] == "live"  # nothing is due, so nothing is written
    assert row(store, now=LATER, check_mode=True)["state"] == "renewing"
    with pytest.raises(UpkiError) as caught:
        row(store, now=LATER)
    assert caught.value.code == "store_io"
    assert "read-only" in str(caught.value)
    assert snapshot(store) == before_all
    assert inventory(store, [], NOW)[0]["state"] == "live"


def as_nobody(work):
    """work() → text, run by a user without rights; skipped where this process cannot become one."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                text = work()
            except UpkiError as error:
                text = "{0}: {1}".format(error.code, error)
            os.write(write, text.encode("utf-8"))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        text = stream.read().decode("utf-8")
    os.waitpid(child, 0)
    return text


@pytest.fixture
def public_folder():
    folder = tempfile.mkdtemp(prefix="upki-public-")
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_store_of_another_user_is_read_but_not_changed(public_folder):
    store = os.path.join(public_folder, "upki")
    live_store(store)
    before_all = snapshot(store)
    assert as_nobody(lambda: row(store)["state"]) == "live"
    text = as_nobody(lambda: row(store, now=LATER)["state"])
    assert text.startswith("store_io: ")
    assert "become" in text
    assert (
        as_nobody(lambda: inventory(store, [], NOW)[0]["live"]["generation"])
        in before_all[os.path.join(store, NAME, "live")][1]
    )
    assert snapshot(store) == before_all


def test_root_says_that_another_user_owns_the_store(public_folder):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    store = os.path.join(public_folder, "upki")
    os.mkdir(store)
    os.chown(store, 65534, 65534)
    found = run(store)
    assert any("nobody" in text and "chown" in text for text in found["warn"])
    assert found["certificates"][0]["state"] == "pending"


def test_a_clock_that_went_back_disturbs_nothing(tmp_path):
    store = str(tmp_path / "upki")
    live_store(store)
    row(store, now=LATER)
    before_all = snapshot(store)
    found = row(store, now=NOW - 400 * 86400)
    assert found["changed"] is False
    assert found["state"] == "renewing"
    assert "clock_behind" in [one["code"] for one in found["warnings"]]
    assert snapshot(store) == before_all


def test_a_generation_made_under_an_earlier_clock_is_still_the_newest(tmp_path):
    store = str(tmp_path / "upki")
    live = live_store(store)
    row(store, now=LATER)
    row(store, wanted(state="cancelled"), now=LATER)
    found = row(store, now=NOW + 170 * 86400)  # the clock goes back by ten days and stays there
    identities = [generation.id for generation in Store(store).certificate(NAME).generations()]
    assert identities[0] == live.id
    assert identities[-1] == found["generation"]


def test_two_runs_at_once_make_one_request(tmp_path):
    store = str(tmp_path / "upki")
    found = []
    threads = [threading.Thread(target=lambda: found.append(row(store))) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(one["changed"] for one in found) == [False, False, False, True]
    assert len({one["csr"] for one in found}) == 1
    assert len(keys(store)) == 1


def test_a_run_says_who_holds_the_store(tmp_path):
    store = str(tmp_path / "upki")
    with Store(store).lock(1), pytest.raises(UpkiError) as caught:
        run(store, lock_timeout=0)
    assert caught.value.code == "store_locked"
    assert "pid {0} ".format(os.getpid()) in caught.value.message
    assert not keys(store)
    assert row(store)["state"] == "pending"

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A swap that is killed, or refused by the disk, at every system call that changes a file: no broken pair, ever.

The first run of the swap is traced; each later run starts from a copy of the same store and dies, or gets an error, at
one of the calls found. Then the live pair must load, and the next run must finish what this one began.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _preflight
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.integration import servers
from ansible_collections.campus.upki.tests.unit import pki

NAME = servers.NAME
CHANGING = (
    *("openat", "write", "pwrite64", "ftruncate", "fsync", "fchmod", "chmod", "fchown", "rename", "renameat"),
    *("renameat2", "symlink", "symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat"),
)
SWAP = """
import json, sys
from ansible_collections.campus.upki.plugins.module_utils import _install
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
try:
    print(json.dumps(_install.run(json.load(open(sys.argv[1])))))
except UpkiError as error:
    print(json.dumps(dict(error.result(), failed=True)))
"""
LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<rest>.*)$")

# old, new: what fullchain.pem holds before and after. Beside the store lies a folder for its copies (see etc()).
Before = collections.namedtuple("Before", "store params old new")


def etc(store: pathlib.Path) -> pathlib.Path:
    return store.with_name(store.name + "-etc")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    """A store with a live certificate and one that has arrived, to be copied for each run."""
    path = tmp_path_factory.mktemp("crash")
    issuer = servers.Issuer(path)
    old = issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    new = issuer.issue(issuer.request())
    etc(path / "store").mkdir()
    old, new = (pki.pem(leaf, issuer.inter.certificate) for leaf in (old, new))
    return Before(path / "store", issuer.params({"name": NAME}), old, new)


@pytest.fixture(scope="module")
def before_copies(tmp_path_factory: pytest.TempPathFactory) -> Before:
    """The same with copies for a service that cannot follow symlinks."""
    path = tmp_path_factory.mktemp("copies")
    issuer = servers.Issuer(path)
    old = issuer.issue(issuer.request())
    etc(path / "store").mkdir()
    links = [
        {"path": str(etc(path / "store") / what), "what": what, "copy": True}
        for what in ("fullchain", "key", "combined")
    ]
    issuer.install({"name": NAME, "links": links})
    new = issuer.issue(issuer.request())
    old, new = (pki.pem(leaf, issuer.inter.certificate) for leaf in (old, new))
    return Before(path / "store", issuer.params({"name": NAME, "links": links}), old, new)


@pytest.fixture(scope="module")
def before_chain(tmp_path_factory: pytest.TempPathFactory) -> Before:
    """A store whose live certificate lacks the cross certificate in its chain."""
    path = tmp_path_factory.mktemp("chain")
    issuer = servers.Issuer(path)
    leaf = issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    inter, cross = issuer.with_cross()
    etc(path / "store").mkdir()
    return Before(path / "store", issuer.params({"name": NAME}), pki.pem(leaf, inter), pki.pem(leaf, inter, cross))


@pytest.fixture(scope="module")
def strace() -> str:
    program = shutil.which("strace")
    if program is None:
        pytest.skip("no strace here")
    answer = subprocess.run([program, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"strace may not trace here: {answer.stderr.strip()[:100]}")
    return program


def swap(before: Before, path: pathlib.Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    """One run on the store at `path`, in a process of its own."""
    params = path.parent / f"{path.name}.json"
    text = json.dumps({**before.params, "store": str(path)})
    params.write_text(text.replace(str(etc(before.store)), str(etc(path))))
    return subprocess.run(
        [*prefix, sys.executable, "-B", "-c", SWAP, str(params)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def copied(before: Before, path: pathlib.Path) -> pathlib.Path:
    shutil.copytree(before.store, path, symlinks=True)
    shutil.copytree(etc(before.store), etc(path))
    return path


def points(before: Before, strace: str, path: pathlib.Path, where: str = "") -> Iterator[tuple[str, int]]:
    """(system call, its number among those of its name) for each call of a good run that changes the store.

    where: only calls that concern this place.
    """
    store, log = copied(before, path / "traced"), path / "trace"
    answer = swap(before, store, strace, "-f", "-y", "-e", "trace=" + ",".join(CHANGING), "-o", str(log))
    assert json.loads(answer.stdout)["changed"] is True
    numbers: collections.Counter[str] = collections.Counter()
    for line in log.read_text().splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        call, rest = match.group("call", "rest")
        numbers[call] += 1
        if (where or str(store)) in rest and (call != "openat" or "O_CREAT" in rest):
            yield call, numbers[call]


def whole(store: pathlib.Path, before: Before) -> str:
    """'old' or 'new': which pair is live; it must load as a server loads it."""
    live = store / NAME / "live"
    _preflight.load_files(str(live / "fullchain.pem"), str(live / "key.pem"))
    served = (live / "fullchain.pem").read_text()
    assert served in (before.old, before.new)
    return "new" if served == before.new else "old"


def finish(before: Before, store: pathlib.Path) -> None:
    """The next run repairs whatever the last one left."""
    answer = swap(before, store)
    result = json.loads(answer.stdout)
    assert not result.get("failed"), result
    assert whole(store, before) == "new"
    slot = Store(str(store)).certificate(NAME)
    assert slot.pending is None
    assert [path.name for path in (store / NAME).rglob(".*")] == []
    assert [path.name for path in (store / NAME).rglob("chain-before.pem")] == []
    assert json.loads(swap(before, store).stdout)["changed"] is False


def test_killed_at_every_call_that_changes_a_file(before: Before, strace: str, tmp_path: pathlib.Path) -> None:
    found = list(points(before, strace, tmp_path))
    assert len(found) > 20, found
    assert {"rename", "symlink", "fsync", "write", "unlink"} <= {call for call, _number in found}
    left = killed_at_each(before, strace, tmp_path, found)
    assert left["old"] > 10
    assert left["new"] >= 1


def killed_at_each(
    before: Before, strace: str, path: pathlib.Path, found: list[tuple[str, int]]
) -> collections.Counter[str]:
    """How often the old and how often the new pair was left; the run after each kill finishes."""
    left: collections.Counter[str] = collections.Counter()
    for number, (call, occurrence) in enumerate(found):
        store = copied(before, path / f"killed-{number}")
        inject = f"inject={call}:signal=KILL:when={occurrence}"
        answer = swap(before, store, strace, "-f", "-e", f"trace={call}", "-e", inject, "-o", "/dev/null")
        assert answer.returncode != 0, (call, occurrence)
        left[whole(store, before)] += 1
        whole_copies(store, before)
        finish(before, store)
        assert whole_copies(store, before) <= {"new"}
        assert [path.name for path in etc(store).iterdir() if path.name.startswith(".")] == []  # one may hold the key
        shutil.rmtree(store)
    return left


def whole_copies(store: pathlib.Path, before: Before) -> set[str]:
    """Which certificates the copies hold: each file by itself is the old or the new one."""
    found = set()
    for path in etc(store).iterdir():
        if path.name.startswith("."):  # a temporary file of the run that was killed
            continue
        text = path.read_text()
        kind = "new" if before.new in text or path.name == "key" and text == key(store) else "old"
        if path.name == "combined":
            _preflight.load_files(str(path), str(path))
        elif path.name == "fullchain":
            assert text in (before.old, before.new)
        found.add(kind)
    return found


def key(store: pathlib.Path) -> str:
    """The key of the newest generation."""
    return pathlib.Path(Store(str(store)).certificate(NAME).generations()[-1].key_path).read_text()


def test_a_mended_chain_killed_at_every_call(before_chain: Before, strace: str, tmp_path: pathlib.Path) -> None:
    found = list(points(before_chain, strace, tmp_path))
    assert {"rename", "fsync", "write", "unlink"} <= {call for call, _number in found}
    left = killed_at_each(before_chain, strace, tmp_path, found)
    assert left["old"] > 5
    assert left["new"] > 2


def test_copies_killed_at_every_call_that_concerns_them(
    before_copies: Before, strace: str, tmp_path: pathlib.Path
) -> None:
    found = list(points(before_copies, strace, tmp_path, "traced-etc"))
    assert len([call for call, _number in found if call == "rename"]) == 3
    assert killed_at_each(before_copies, strace, tmp_path, found)["new"] == len(found)


def test_the_flip_is_one_rename(before: Before, strace: str, tmp_path: pathlib.Path) -> None:
    store, log = copied(before, tmp_path / "traced"), tmp_path / "trace"
    swap(before, store, strace, "-f", "-e", "trace=rename,renameat,renameat2,unlink,symlink", "-o", str(log))
    at_live = [line for line in log.read_text().splitlines() if f'/{NAME}/live"' in line]
    assert len(at_live) == 1 and "rename" in at_live[0], at_live


@pytest.mark.parametrize("calls, error", [(("write", "openat", "symlink"), "ENOSPC"), (("fsync", "rename"), "EIO")])
def test_an_error_of_the_disk_at_every_call(
    before: Before, strace: str, tmp_path: pathlib.Path, calls: tuple[str, ...], error: str
) -> None:
    found = [point for point in points(before, strace, tmp_path) if point[0] in calls]
    assert {call for call, _number in found} == set(calls)
    refused = 0
    for number, (call, occurrence) in enumerate(found):
        store = copied(before, tmp_path / f"refused-{number}")
        inject = f"inject={call}:error={error}:when={occurrence}"
        answer = swap(before, store, strace, "-f", "-e", f"trace={call}", "-e", inject, "-o", "/dev/null")
        result = json.loads(answer.stdout)
        assert "Traceback" not in answer.stderr
        if result.get("failed"):
            refused += 1
            assert result["reason_code"] == "store_io", result
            assert str(store) in result["msg"]
        whole(store, before)
        finish(before, store)
        shutil.rmtree(store)
    assert refused >= len(found) - 2  # the name of the lock's holder is a courtesy


def test_an_immutable_store_changes_nothing(before: Before, tmp_path: pathlib.Path) -> None:
    chattr = shutil.which("chattr")
    if chattr is None or os.geteuid() != 0:
        pytest.skip("needs root and chattr")
    store = copied(before, tmp_path / "immutable")
    target = str(store / NAME)
    if subprocess.run([chattr, "+i", target], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable flag")
    try:
        result = json.loads(swap(before, store).stdout)
    finally:
        subprocess.run([chattr, "-i", target], check=True)
    assert result["reason_code"] == "store_io"
    assert "lsattr" in result["msg"]
    assert whole(store, before) == "old"
    finish(before, store)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations, links and the lock."""

import errno
import json
import os
import stat
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Generation, Store
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import NAME, certificate, keys


def made(name=NAME):
    """(key PEM, CSR PEM, meta, public key) of a new request."""
    key = _x509.generate_key("p384")
    csr = _x509.pem(_x509.build_request(key, [("C", "JP"), ("CN", name)], "sha384"))
    meta = {"name": name, "created": "2026-11-22T01:02:03Z", "spki_sha256": _x509.spki_sha256(key.public_key())}
    return _x509.private_key_pem(key), csr, meta, key.public_key()


@pytest.fixture
def slot(tmp_path):
    return Store(str(tmp_path / "upki")).certificate(NAME)


def add(slot, **more):
    key, csr, meta, _public_key = made(slot.name)
    return slot.add_generation(key, csr, dict(meta, **more.pop("meta", {})), **more)


def test_an_empty_store(tmp_path, slot):
    assert Store(str(tmp_path / "upki")).names() == []
    assert (slot.live, slot.pending, slot.generations(), slot.leftovers()) == (None, None, [], [])


def test_a_generation_holds_key_request_and_record(slot):
    key, csr, meta, public_key = made()
    generation = slot.add_generation(key, csr, meta, tsv=b"line\r\n")
    assert generation.id == "20261122T010203Z-" + meta["spki_sha256"][:8]
    assert (generation.meta, generation.request()) == (meta, csr)
    assert generation.spki_sha256() == _x509.spki_sha256(public_key)
    assert generation.certificate() is None and generation.chain() == []
    with open(generation.key_path, "rb") as stream:
        assert stream.read() == key
    with open(generation.file("request.tsv"), "rb") as stream:
        assert stream.read() == b"line\r\n"
    assert sorted(os.listdir(generation.path)) == ["key.pem", "request.json", "request.pem", "request.tsv"]
    assert slot.pending == generation and slot.generations() == [generation]
    assert os.readlink(os.path.join(slot.path, "pending")) == "generations/" + generation.id
    assert slot.store.names() == [NAME]


def test_rights(slot):
    before = os.umask(0o077)
    try:
        generation = add(slot)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE(os.stat(generation.file(name)).st_mode) for name in os.listdir(generation.path)}
    assert modes == {"key.pem": 0o600, "request.pem": 0o644, "request.json": 0o644}
    for folder in (generation.path, slot.generations_path, slot.path, slot.store.path):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o755


def test_the_key_may_belong_to_a_service(slot):
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    generation = add(slot, key_mode=0o640, key_owner="0", key_group="65534")
    status = os.stat(generation.key_path)
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 0, 65534)


def test_ids_grow_even_when_the_clock_stands_or_goes_back(slot):
    times = ["2026-11-22T01:02:03Z", "2026-11-22T01:02:03Z", "2020-01-01T00:00:00Z"]
    generations = [add(slot, meta={"created": created}) for created in times]
    assert [generation.id[:16] for generation in generations] == [
        "20261122T010203Z",
        "20261122T010204Z",
        "20261122T010205Z",
    ]
    assert slot.generations() == generations
    assert generations[-1].created() == 1577836800.0  # request.json keeps the clock's own word


def test_the_whole_way_of_a_certificate(slot):
    key, csr, meta, public_key = made()
    generation = slot.add_generation(key, csr, meta)
    leaf, issuer = _x509.pem(certificate(public_key)), _x509.pem(certificate(public_key, serial=77))
    slot.complete(generation, leaf, issuer)
    assert _x509.pem(generation.certificate()) == leaf
    assert [_x509.pem(one) for one in generation.chain()] == [issuer]
    with open(generation.file("fullchain.pem")) as stream:
        assert stream.read() == leaf + issuer
    assert slot.flip(generation) is None
    assert slot.live == generation
    assert slot.pending is None  # the link is still there, but what is live waits for nothing
    assert slot.link("pending") == generation.id
    slot.clear_pending()
    assert slot.link("pending") is None
    successor = add(slot)
    assert (slot.live, slot.pending) == (generation, successor)
    assert slot.flip(successor) == generation
    slot.unflip(generation)
    assert (slot.live, slot.pending) == (generation, successor)
    slot.unflip(None)
    assert slot.live is None and slot.link("live") is None
    assert len(keys(slot.store.path)) == 2


def test_fullchain_comes_last(slot, monkeypatch):
    generation = add(slot)
    written = []
    monkeypatch.setattr(
        "ansible_collections.campus.upki.plugins.module_utils._atomic.write_file",
        lambda path, *_rest: written.append(os.path.basename(path)),
    )
    slot.complete(generation, "", "")
    assert written == ["certificate.pem", "chain.pem", "fullchain.pem"]


def test_cancelling_keeps_everything(slot):
    generation = add(slot)
    slot.cancel(generation, {"name": NAME})
    assert slot.pending is None and slot.link("pending") is None
    assert generation.cancelled and slot.generations() == [generation]
    with open(generation.file("cancelled.json")) as stream:
        assert json.load(stream) == {"name": NAME}
    assert generation.has("key.pem", "request.pem")


def test_a_cancelled_request_whose_link_was_left_is_not_pending(slot):
    generation = add(slot)
    slot.cancel(generation, {})
    slot.set_pending(generation)
    assert slot.pending is None


@pytest.mark.parametrize("target", ["generations/20200101T000000Z-00000000", "../../etc", "/etc/passwd", "generations"])
def test_links_that_lead_nowhere_are_none(slot, target):
    add(slot)
    os.symlink(target, os.path.join(slot.path, "live"))
    assert slot.live is None


@pytest.mark.parametrize("name", ["", ".", "..", ".lock", "a/b", "../x", "-x", "a\nb", "a b", "*"])
def test_names_that_are_no_folder_are_refused(tmp_path, name):
    with pytest.raises(UpkiError) as caught:
        Store(str(tmp_path)).certificate(name)
    assert caught.value.code == "name_unsafe"


def test_foreign_things_in_the_store_are_no_names(tmp_path, slot):
    add(slot)
    (tmp_path / "upki" / "README").write_text("hello")
    (tmp_path / "upki" / "empty").mkdir()
    (tmp_path / "upki" / NAME / "generations" / "notes").mkdir()
    assert slot.store.names() == [NAME]
    assert len(slot.generations()) == 1


def test_leftovers_are_named_and_kept(slot):
    add(slot)
    path = os.path.join(slot.generations_path, ".20261122T010203Z-01234567.89abcdef.tmp")
    os.mkdir(path)
    assert slot.leftovers() == [path]
    slot.sweep()
    assert slot.leftovers() == [path]
    assert len(slot.generations()) == 1


def test_sweep_removes_temporary_links_and_files_only(slot):
    generation = add(slot)
    os.symlink("generations/x", os.path.join(slot.path, ".live.01234567.tmp"))
    with open(generation.file(".chain.pem.01234567.tmp"), "w"):
        pass
    before = os.listdir(generation.path)
    slot.sweep()
    assert sorted(os.listdir(slot.path)) == ["generations", "pending"]
    assert sorted(os.listdir(generation.path)) == sorted(set(before) - {".chain.pem.01234567.tmp"})


@pytest.mark.parametrize("text", ["", "not json", "[1]", "null"])
def test_a_broken_record_is_an_empty_one(slot, text):
    generation = add(slot)
    with open(generation.file("request.json"), "w") as stream:
        stream.write(text)
    assert generation.meta == {}
    assert generation.created() == 1795309323.0  # from the id


def test_the_key_is_never_opened_for_reading(slot, monkeypatch):
    generation = add(slot)
    real = open

    def watching(path, *rest, **more):
        assert not str(path).endswith("key.pem")
        return real(path, *rest, **more)

    monkeypatch.setattr("builtins.open", watching)
    assert generation.spki_sha256() and generation.meta and generation.request() and generation.has("key.pem")


def test_public_key_from_the_certificate_where_the_request_is_gone(slot):
    key, csr, meta, public_key = made()
    generation = slot.add_generation(key, csr, meta)
    slot.complete(generation, _x509.pem(certificate(public_key)), "")
    os.unlink(generation.file("request.pem"))
    assert generation.spki_sha256() == meta["spki_sha256"]
    os.unlink(generation.file("certificate.pem"))
    assert generation.spki_sha256() == ""


def test_generations_compare_by_path():
    assert Generation("/a/b") == Generation("/a/b") != Generation("/a/c")
    assert len({Generation("/a/b"), Generation("/a/b")}) == 1


def test_the_lock_names_its_holder_and_is_given_back(tmp_path):
    store = Store(str(tmp_path / "upki"))
    with store.lock(0), pytest.raises(UpkiError) as caught, Store(store.path).lock(0.2):
        pass
    assert caught.value.code == "store_locked"
    assert "pid {0} since ".format(os.getpid()) in caught.value.details["holder"]
    with store.lock(0):
        pass


def test_only_the_owner_may_open_the_lock_and_so_stop_all_runs(tmp_path):
    store = Store(str(tmp_path / "upki"))
    os.mkdir(store.path)
    with open(store.lock_path, "w"):
        os.chmod(store.lock_path, 0o644)  # as an earlier run may have left it
    for _again in range(2):
        with store.lock(0):
            assert stat.S_IMODE(os.stat(store.lock_path).st_mode) == 0o600
        os.unlink(store.lock_path)


def test_who_may_not_read_the_lock_hears_no_name_and_no_error(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "upki"))
    with store.lock(0):
        pass

    def forbidden(path, *_rest, **_more):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("builtins.open", forbidden)
    assert "owner" in store.holder()


def test_a_killed_holder_holds_nothing(tmp_path):
    store = Store(str(tmp_path / "upki"))
    text = (
        "import os, sys; from ansible_collections.campus.upki.plugins.module_utils._store import Store\n"
        "with Store(sys.argv[1]).lock(5):\n    os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", text, store.path], stderr=subprocess.PIPE, check=False)
    assert done.returncode == -9, done.stderr
    with store.lock(0):
        assert "pid {0} ".format(os.getpid()) in store.holder()


def test_children_do_not_inherit_the_lock(tmp_path):
    store = Store(str(tmp_path / "upki"))
    with store.lock(0):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with store.lock(0):
            pass
    finally:
        child.kill()
        child.wait()


def test_the_lock_does_not_follow_a_link(tmp_path):
    store = Store(str(tmp_path / "upki"))
    os.mkdir(store.path)
    os.symlink("/etc/hostname", store.lock_path)
    with pytest.raises(UpkiError) as caught, store.lock(0):
        pass
    assert caught.value.code == "store_io"


def test_everything_is_on_the_disk_before_the_next_step(slot, monkeypatch):
    """A power cut keeps only what was synced: content before its name, a name before what points to it."""
    events = []
    real = {name: getattr(os, name) for name in ("fsync", "rename")}

    def fsync(descriptor):
        events.append(("sync", os.path.relpath(os.readlink("/proc/self/fd/{0}".format(descriptor)), slot.path)))
        real["fsync"](descriptor)

    def rename(source, target):
        events.append(("rename", os.path.relpath(source, slot.path), os.path.relpath(target, slot.path)))
        real["rename"](source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    generation = add(slot, tsv=b"x")
    temporary = next(event[1] for event in events if event[0] == "rename")
    where = "generations/" + generation.id
    assert temporary.startswith("generations/.") and temporary.endswith(".tmp")
    first = events.index(("sync", temporary + "/key.pem"))
    link = next(event[1] for event in events if event[-1] == "pending")
    assert events[first:] == [
        ("sync", temporary + "/key.pem"),
        ("sync", temporary),
        ("sync", temporary + "/request.pem"),
        ("sync", temporary + "/request.json"),
        ("sync", temporary + "/request.tsv"),
        ("sync", temporary),
        ("rename", temporary, where),
        ("sync", "generations"),
        ("rename", link, "pending"),
        ("sync", "."),
    ]
    assert events[:first] == [("sync", "../.."), ("sync", ".."), ("sync", ".")]  # the new folders, outermost first


def test_going_back_after_a_kill_between_flip_and_clearing_leaves_nothing_pending(slot):
    """Else the next run would install again what a person has just gone back from."""
    older, newer = add(slot), add(slot, meta={"created": "2026-11-23T00:00:00Z"})
    slot.flip(older)
    slot.flip(newer)
    assert (slot.link("pending"), slot.pending) == (newer.id, None)
    assert slot.flip(older) == newer
    assert (slot.live, slot.pending, slot.link("pending")) == (older, None, None)


def test_a_flip_leaves_the_link_to_another_pending_request(slot):
    older, newer = add(slot), add(slot, meta={"created": "2026-11-23T00:00:00Z"})
    slot.flip(older)
    assert slot.pending == newer
    slot.flip(older)
    assert slot.pending == newer

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links: their rights, their atomicity, and what is said when the disk refuses."""

import errno
import os
import stat

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _atomic
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    """The rights of files must not depend on the caller's umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o644])
def test_rights_are_the_wanted_ones(tmp_path, umask, wanted):
    _atomic.create_file(str(tmp_path / "new"), b"x", wanted)
    _atomic.write_file(str(tmp_path / "renamed"), b"x", wanted)
    assert (mode(tmp_path / "new"), mode(tmp_path / "renamed")) == (wanted, wanted)


def test_a_file_has_no_more_rights_than_its_owners_before_it_has_content(tmp_path, monkeypatch, umask):
    seen = []
    real = os.write

    def watching(descriptor, data):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real(descriptor, data)

    monkeypatch.setattr(_atomic.os, "write", watching)
    _atomic.create_file(str(tmp_path / "key"), b"x", 0o640)
    assert seen and all(found & 0o077 == 0 for found in seen)


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(_atomic.os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    _atomic.create_file(str(tmp_path / "a"), b"0123456789", 0o600)
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_create_never_overwrites_or_follows(tmp_path):
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link"):
        with pytest.raises(FileExistsError):
            _atomic.create_file(str(tmp_path / name), b"new", 0o600)
    assert (tmp_path / "there").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_write_replaces_a_file_and_not_what_a_link_leads_to(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    _atomic.write_file(str(tmp_path / "link"), b"new", 0o644)
    assert (tmp_path / "target").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new"


def test_a_file_gets_the_wanted_owner(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    _atomic.create_file(str(tmp_path / "a"), b"x", 0o640, "nobody", "65534")
    status = os.stat(str(tmp_path / "a"))
    assert (status.st_uid, status.st_gid) == (65534, 65534)


@pytest.mark.parametrize("owner, group, code", [("no-such", None, "user_unknown"), (None, "no-such", "group_unknown")])
def test_unknown_owner(owner, group, code):
    with pytest.raises(UpkiError) as caught:
        _atomic.owner_ids(owner, group)
    assert caught.value.code == code
    assert (owner or group) in caught.value.message


def test_owner_ids():
    assert _atomic.owner_ids(None, "") == (-1, -1)
    assert _atomic.owner_ids("root", "0") == (0, 0)
    assert _atomic.owner_ids(12, 34) == (12, 34)


@pytest.mark.parametrize("number", sorted(_atomic.FIXES))
def test_each_known_error_says_what_to_do(number):
    with pytest.raises(UpkiError) as caught, _atomic.explained("/store/x", "write"):
        raise OSError(number, "something")
    assert caught.value.code == "store_io"
    assert "/store/x" in caught.value.message and os.strerror(number) in caught.value.message
    assert caught.value.fix == _atomic.FIXES[number]
    assert caught.value.details["errno"] == errno.errorcode[number]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, step):
    (tmp_path / "a").write_bytes(b"old")

    def fail(*_arguments):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(_atomic.os, step, fail)
    with pytest.raises(UpkiError):
        _atomic.write_file(str(tmp_path / "a"), b"new", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_link_is_replaced_in_one_step(tmp_path, monkeypatch):
    link = tmp_path / "live"
    _atomic.replace_symlink(str(link), "generations/one")
    seen = []
    real = os.rename

    def watching(source, target):
        seen.append((os.readlink(source), os.readlink(target)))
        real(source, target)

    monkeypatch.setattr(_atomic.os, "rename", watching)
    _atomic.replace_symlink(str(link), "generations/two")
    assert seen == [("generations/two", "generations/one")]
    assert os.readlink(str(link)) == "generations/two"


def test_a_link_does_not_replace_a_folder(tmp_path):
    (tmp_path / "live").mkdir()
    with pytest.raises(UpkiError) as caught:
        _atomic.replace_symlink(str(tmp_path / "live"), "generations/one")
    assert caught.value.code == "store_io"
    assert [path.name for path in tmp_path.iterdir()] == ["live"]


def test_only_links_are_removed(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link", "absent"):
        _atomic.remove_link(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_directories_are_made_with_their_mode(tmp_path, umask):
    _atomic.make_dir(str(tmp_path / "a" / "b" / "c"), 0o755)
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b" / "c")] == [0o755, 0o755]
    os.chmod(str(tmp_path / "a"), 0o700)
    _atomic.make_dir(str(tmp_path / "a"), 0o755)
    assert mode(tmp_path / "a") == 0o700  # what is there stays as it is


def test_a_file_in_the_way_of_a_directory_is_told(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(UpkiError) as caught:
        _atomic.make_dir(str(tmp_path / "a" / "b"))
    assert "'{0}'".format(tmp_path / "a" / "b") in caught.value.message

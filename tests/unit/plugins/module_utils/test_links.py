# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixed paths: made, kept right, put back."""

import grp
import os
import stat

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _links
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store

IDS = ["20260101T000000Z-00000001", "20260201T000000Z-00000002"]


@pytest.fixture
def slot(tmp_path):
    found = Store(str(tmp_path / "store")).certificate("www.example.ac.jp")
    for identity in IDS:
        folder = os.path.join(found.generations_path, identity)
        os.makedirs(folder)
        for piece in ("key", "certificate", "chain", "fullchain"):
            with open(os.path.join(folder, piece + ".pem"), "w") as stream:
                stream.write("{0} of {1}\n".format(piece, identity))
    found.flip(found.generations()[0])
    return found


@pytest.fixture
def etc(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


def row(path, what="fullchain", **more):
    (made,) = _links.checked([dict({"path": str(path), "what": what}, **more)], "www.example.ac.jp", "/etc/upki")
    return made


def test_a_symlink_follows_the_flip_by_itself(slot, etc):
    wanted = row(etc / "www.crt")
    first, second = slot.generations()
    assert _links.differs(wanted, slot, first)
    assert _links.place(wanted, slot, first) is not None
    assert (etc / "www.crt").read_text() == "fullchain of {0}\n".format(IDS[0])
    slot.flip(second)
    assert (etc / "www.crt").read_text() == "fullchain of {0}\n".format(IDS[1])
    assert _links.place(wanted, slot, second) is None


def test_a_copy_is_written_with_its_rights_and_renewed(slot, etc):
    group = grp.getgrgid(os.getegid()).gr_name
    wanted = row(etc / "www.key", "key", copy=True, mode="0640", group=group)
    first, second = slot.generations()
    _links.place(wanted, slot, first)
    assert stat.S_IMODE(os.stat(str(etc / "www.key")).st_mode) == 0o640
    assert not _links.differs(wanted, slot, first)
    assert _links.differs(wanted, slot, second)
    _links.place(wanted, slot, second)
    assert (etc / "www.key").read_text() == "key of {0}\n".format(IDS[1])


def test_a_copy_with_other_rights_is_mended(slot, etc):
    wanted = row(etc / "www.key", "key", copy=True)
    first = slot.generations()[0]
    _links.place(wanted, slot, first)
    os.chmod(str(etc / "www.key"), 0o644)
    assert _links.differs(wanted, slot, first)
    _links.place(wanted, slot, first)
    assert stat.S_IMODE(os.stat(str(etc / "www.key")).st_mode) == 0o600


def test_haproxys_file_holds_key_and_chain_and_is_a_copy(slot, etc):
    wanted = row(etc / "www.pem", "combined")
    first = slot.generations()[0]
    _links.place(wanted, slot, first)
    assert (etc / "www.pem").read_text() == "key of {0}\nfullchain of {0}\n".format(IDS[0])
    assert stat.S_IMODE(os.stat(str(etc / "www.pem")).st_mode) == 0o600


def nothing(path):
    del path


def hand_made(path):
    path.write_text("made by hand\n")
    path.chmod(0o640)


def old_link(path):
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("before", [nothing, hand_made, old_link])
@pytest.mark.parametrize("copy", [False, True])
def test_undo_brings_back_what_was_there(slot, etc, before, copy):
    path = etc / "www.crt"
    before(path)
    was = (os.path.islink(str(path)), path.read_text() if path.exists() else None)
    mode = os.lstat(str(path)).st_mode if os.path.lexists(str(path)) else None
    undo = _links.place(row(path, copy=copy), slot, slot.generations()[0])
    assert path.read_text().startswith("fullchain of")
    undo()
    assert (os.path.islink(str(path)), path.read_text() if path.exists() else None) == was
    assert (os.lstat(str(path)).st_mode if os.path.lexists(str(path)) else None) == mode
    undo()  # a second time does no harm


def test_a_hand_made_file_is_kept_beside_and_our_own_copies_are_not(slot, etc):
    first, second = slot.generations()
    hand_made(etc / "www.key")
    wanted = row(etc / "www.key", "key", copy=True)
    _links.place(wanted, slot, first)
    assert (etc / "www.key.before-upki").read_text() == "made by hand\n"
    _links.place(wanted, slot, second)
    assert (etc / "www.key.before-upki").read_text() == "made by hand\n"
    other = row(etc / "other.crt", copy=True)
    _links.place(other, slot, first)
    _links.place(other, slot, second)
    assert not (etc / "other.crt.before-upki").exists()


@pytest.mark.parametrize(
    "path, what, more, words",
    [
        ("relative.crt", "fullchain", {}, "no absolute path"),
        ("/etc/upki/x/live/fullchain.pem", "fullchain", {}, "in the store itself"),
        ("/nowhere/at/all/x.crt", "fullchain", {}, "does not exist"),
        ("/", "fullchain", {}, "is a folder"),
        ("/tmp/x.key", "key", {"mode": "0644"}, "readable for all"),
        ("/tmp/x.pem", "combined", {"mode": "0444"}, "readable for all"),
    ],
)
def test_links_that_cannot_be_made(path, what, more, words):
    with pytest.raises(UpkiError) as caught:
        _links.checked([dict({"path": path, "what": what}, **more)], "www.example.ac.jp", "/etc/upki")
    assert caught.value.code == "links_invalid"
    assert words in caught.value.message


def test_all_faults_are_told_at_once_and_no_path_is_listed_twice():
    rows = [{"path": "a", "what": "key"}, {"path": "/tmp/x", "what": "key"}, {"path": "/tmp/x", "what": "chain"}]
    with pytest.raises(UpkiError) as caught:
        _links.checked(rows, "www.example.ac.jp", "/etc/upki")
    assert "'a'" in caught.value.message and "listed twice" in caught.value.message


def test_files_of_a_killed_run_go_and_nothing_else(slot, etc):
    first = slot.generations()[0]
    for name in (".www.key.0123abcd.tmp", ".www.key.0123abcd", ".other.key.0123abcd.tmp", "www.key.0123abcd.tmp"):
        (etc / name).write_text("a key, perhaps\n")
    _links.place(row(etc / "www.key", "key", copy=True), slot, first)
    assert sorted(os.listdir(str(etc))) == sorted(
        [".www.key.0123abcd", ".other.key.0123abcd.tmp", "www.key", "www.key.0123abcd.tmp"]
    )


# --- a folder that somebody else may write ---------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "shadow"
    path.write_text("not for the service's user\n")
    path.chmod(0o600)
    return path


def unseen(monkeypatch, path):
    """The path looks like a file until it is opened: it was swapped for a symlink in between."""
    found = os.path.islink

    monkeypatch.setattr(_links.os.path, "islink", lambda one: str(one) != str(path) and found(one))
    monkeypatch.setattr(_links, "_link_target", lambda _path: None)


def test_a_symlink_put_there_at_the_last_moment_is_neither_read_nor_put_back(slot, etc, secret, monkeypatch):
    path = etc / "www.key"
    path.symlink_to(secret)
    unseen(monkeypatch, path)
    undo = _links.place(row(path, "key", copy=True), slot, slot.generations()[0])
    assert not (etc / "www.key.before-upki").exists()
    undo()
    assert not os.path.lexists(str(path))
    assert all("not for" not in (etc / name).read_text() for name in os.listdir(str(etc)))
    assert secret.read_text() == "not for the service's user\n" and stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_pipe_in_the_way_is_replaced_and_not_waited_for(slot, etc):
    path = etc / "www.crt"
    os.mkfifo(str(path))
    wanted = row(path, copy=True)
    first = slot.generations()[0]
    assert _links.differs(wanted, slot, first)
    _links.place(wanted, slot, first)
    assert path.read_text() == "fullchain of {0}\n".format(IDS[0])


def test_a_file_exchanged_while_it_is_kept_is_not_kept_under_a_false_name(slot, etc, secret, monkeypatch):
    path = etc / "www.key"
    hand_made(path)
    link = os.link

    def exchanged(source, target, follow_symlinks=True):
        os.unlink(str(path))
        path.symlink_to(secret)
        link(source, target, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(_links.os, "link", exchanged)
    with pytest.raises(UpkiError) as caught:
        _links.place(row(path, "key", copy=True), slot, slot.generations()[0])
    assert caught.value.code == "links_disturbed"
    assert str(etc) in caught.value.fix
    assert not os.path.lexists(str(path) + ".before-upki")


def test_an_unreadable_path_is_an_error_and_no_traceback(slot, tmp_path):
    wanted = row(tmp_path / "www.crt", copy=True)
    wanted["path"] = str(tmp_path / ("x" * 300))
    with pytest.raises(UpkiError) as caught:
        _links.differs(wanted, slot, slot.generations()[0])
    assert caught.value.code == "store_io"


def test_an_unknown_group_is_an_error_and_changes_nothing(slot, etc):
    hand_made(etc / "www.key")
    with pytest.raises(UpkiError) as caught:
        _links.place(row(etc / "www.key", "key", copy=True, group="no-such-group"), slot, slot.generations()[0])
    assert caught.value.code == "group_unknown"
    assert (etc / "www.key").read_text() == "made by hand\n"


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """A restorecon that notes what it was called with; the function says the notes."""
    program, notes = tmp_path / "sbin" / "restorecon", tmp_path / "notes"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$# $1" >>{0}\n'.format(notes))
    program.chmod(0o755)
    monkeypatch.setattr(_links, "RESTORECON", str(program.parent))
    return lambda: notes.read_text().splitlines() if notes.exists() else []


def test_copies_get_the_label_of_their_place_where_selinux_is_on(slot, etc, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(_links, "SELINUX", str(tmp_path / "enforce"))
    (tmp_path / "enforce").write_text("1")
    first, second = slot.generations()
    path = etc / "www.key"
    wanted = row(path, "key", copy=True)
    _links.place(wanted, slot, first)
    assert labels() == ["1 {0}".format(path)]
    undo = _links.place(wanted, slot, second)
    undo()
    assert labels() == ["1 {0}".format(path)] * 3
    _links.place(row(etc / "www.crt"), slot, first)  # a symlink: its target has a label of its own
    assert len(labels()) == 3


def test_nothing_is_labelled_where_selinux_is_off(slot, etc, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(_links, "SELINUX", str(tmp_path / "enforce"))
    _links.place(row(etc / "www.key", "key", copy=True), slot, slot.generations()[0])
    assert labels() == []


def test_selinux_without_its_program_stops_nothing(slot, etc, tmp_path, monkeypatch):
    monkeypatch.setattr(_links, "SELINUX", str(tmp_path))
    monkeypatch.setattr(_links, "RESTORECON", str(tmp_path / "nowhere"))
    _links.place(row(etc / "www.key", "key", copy=True), slot, slot.generations()[0])
    assert (etc / "www.key").exists()

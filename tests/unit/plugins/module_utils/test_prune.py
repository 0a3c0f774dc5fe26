# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generations may go, and that a killed removal is finished."""

import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _prune
from ansible_collections.campus.upki.plugins.module_utils._store import Generation, Store

IDS = ["2026010{0}T000000Z-0000000{0}".format(number) for number in range(1, 8)]


@pytest.fixture
def slot(tmp_path):
    found = Store(str(tmp_path)).certificate("www.example.ac.jp")
    for identity in IDS:
        folder = os.path.join(found.generations_path, identity)
        os.makedirs(folder)
        with open(os.path.join(folder, "key.pem"), "w") as stream:
            stream.write("a key")
    return found


def link(slot, which, number):
    os.symlink("generations/" + IDS[number], os.path.join(slot.path, which))


def left(slot):
    return sorted(os.listdir(slot.generations_path))


def test_the_newest_stay(slot):
    link(slot, "live", 6)
    assert _prune.prune(slot, 3) == IDS[:4]
    assert left(slot) == IDS[4:]
    assert _prune.prune(slot, 3) == []


def test_the_live_the_pending_and_the_one_before_never_go(slot):
    link(slot, "live", 1)
    link(slot, "pending", 2)
    previous = slot.generations()[0]
    _prune.prune(slot, 2, previous)
    assert left(slot) == IDS[:3] + IDS[5:]


@pytest.mark.parametrize("keep", [0, 1, -5, 2])
def test_fewer_than_two_are_never_kept(slot, keep):
    link(slot, "live", 6)
    _prune.prune(slot, keep)
    assert left(slot) == IDS[5:]


def test_a_killed_removal_is_finished_and_a_half_made_generation_left_alone(slot):
    link(slot, "live", 6)
    rest = os.path.join(slot.generations_path, ".{0}.tmp".format(IDS[0]))
    half = os.path.join(slot.generations_path, ".20270101T000000Z-00000000.a1b2c3d4.tmp")
    os.rename(os.path.join(slot.generations_path, IDS[0]), rest)
    os.mkdir(half)
    _prune.prune(slot, 10)
    assert not os.path.exists(rest)
    assert os.path.exists(half)


def test_nothing_there_is_nothing_to_do(tmp_path):
    assert _prune.prune(Store(str(tmp_path)).certificate("x.example.ac.jp"), 3) == []


def killed(_path):
    raise KeyboardInterrupt()


def test_the_key_of_what_goes_is_remembered_before_it_goes(slot, monkeypatch):
    link(slot, "live", 6)
    monkeypatch.setattr(Generation, "spki_sha256", lambda generation: generation.id[-8:] * 8)
    monkeypatch.setattr(_prune.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        _prune.prune(slot, 3)
    assert _prune.keys(slot) == {identity[-8:] * 8: identity for identity in IDS[:4]}
    monkeypatch.undo()
    monkeypatch.setattr(Generation, "spki_sha256", lambda generation: generation.id[-8:] * 8)
    _prune.prune(slot, 2)
    assert _prune.keys(slot) == {identity[-8:] * 8: identity for identity in IDS[:5]}


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"one\n", b"a b c\n\n"])
def test_a_damaged_record_counts_as_none(slot, content):
    with open(os.path.join(slot.path, _prune.RECORD), "wb") as stream:
        stream.write(content)
    assert _prune.keys(slot) == {}

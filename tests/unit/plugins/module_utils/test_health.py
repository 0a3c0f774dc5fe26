# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken stores: each kind of damage has one clear message, and is never touched."""

import os
import re

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _health, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    DAY,
    NAME,
    NOW,
    certificate,
    live_store,
    make_live,
    row,
    run,
    snapshot,
    wanted,
)

LATER = NOW + 180 * DAY


@pytest.fixture
def store(tmp_path):
    """A live certificate with a pending successor, and an old one behind it."""
    path = str(tmp_path / "upki")
    live_store(path, age=300, days=198)
    run(path, now=NOW - 110 * DAY)
    make_live(path, age=109)
    run(path, now=NOW + 80 * DAY)
    return path


def slot_of(store):
    return Store(store).certificate(NAME)


def write(path, text):
    with open(path, "w") as stream:
        stream.write(text)


def relink(slot, which, target):
    os.unlink(os.path.join(slot.path, which))
    os.symlink(target, os.path.join(slot.path, which))


def link_to_a_folder(slot, which):
    os.unlink(os.path.join(slot.path, which))
    os.mkdir(os.path.join(slot.path, which))


def lose_generation(slot, which):
    generation = getattr(slot, which)
    os.rename(generation.path, generation.path + ".lost")


def lose(name):
    return lambda slot, which: os.unlink(getattr(slot, which).file(name))


def spoil(name):
    return lambda slot, which: write(getattr(slot, which).file(name), "spoiled")


def mix(slot, which):
    other = _x509.generate_key("p384").public_key()
    write(getattr(slot, which).file("certificate.pem"), _x509.pem(certificate(other)))


DAMAGE = [
    (link_to_a_folder, "live", "link_replaced", "symlink"),
    (link_to_a_folder, "pending", "link_replaced", "symlink"),
    (lambda slot, which: relink(slot, which, "/etc/ssl"), "live", "link_foreign", "'/etc/ssl'"),
    (lambda slot, which: relink(slot, which, "generations/../x"), "pending", "link_foreign", "'generations/../x'"),
    (lose_generation, "live", "link_dangling", "backup"),
    (lose_generation, "pending", "link_dangling", "IT centre"),
    (lose("key.pem"), "live", "generation_incomplete", "key.pem"),
    (lose("certificate.pem"), "live", "generation_incomplete", "certificate.pem"),
    (lose("fullchain.pem"), "live", "generation_incomplete", "fullchain.pem"),
    (lose("key.pem"), "pending", "generation_incomplete", "key.pem"),
    (lose("request.pem"), "pending", "generation_incomplete", "request.pem"),
    (lose("request.json"), "pending", "generation_incomplete", "request.json"),
    (spoil("certificate.pem"), "live", "generation_broken", "holds no certificate"),
    (spoil("request.pem"), "live", "generation_broken", "CSR"),
    (spoil("request.pem"), "pending", "generation_broken", "CSR"),
    (spoil("request.json"), "pending", "generation_broken", "request.json"),
    (mix, "live", "generation_mixed", "different keys"),
]


@pytest.mark.parametrize("damage, which, code, word", DAMAGE)
@pytest.mark.parametrize("state", ["present", "cancelled"])
def test_each_damage_is_told_and_left_alone(store, damage, which, code, word, state):
    slot = slot_of(store)
    damage(slot, which)
    before = snapshot(store)
    found = _health.problems(slot)
    assert [problem["code"] for problem in found] == [code]
    assert word in found[0]["message"] + found[0]["fix"]
    assert found[0]["fix"]
    with pytest.raises(UpkiError) as caught:
        row(store, wanted(state=state), now=LATER)
    assert caught.value.code == code
    assert "Nothing was changed." in caught.value.message
    assert caught.value.details["problems"][0]["name"] == NAME
    assert snapshot(store) == before


def test_a_whole_store_has_no_problem(store):
    assert _health.problems(slot_of(store)) == []
    assert _health.problems(Store(store).certificate("absent.example.ac.jp")) == []


@pytest.mark.parametrize("damage", [lose_generation, lose("key.pem")])
def test_the_command_that_is_offered_mends_the_store(store, damage):
    slot = slot_of(store)
    oldest = slot.generations()[0]
    damage(slot, "live")
    fix = _health.problems(slot)[0]["fix"]
    command = re.search(r"ln -sfn (\S+) '([^']+)'", fix)
    assert command.group(1) == "generations/" + oldest.id
    relink(slot, "live", command.group(1))
    assert command.group(2) == os.path.join(slot.path, "live")
    assert _health.problems(slot) == []


def test_the_way_out_without_any_other_generation(tmp_path):
    store = str(tmp_path / "upki")
    live_store(store)
    lose_generation(slot_of(store), "live")
    fix = _health.problems(slot_of(store))[0]["fix"]
    assert "rm '{0}'".format(os.path.join(store, NAME, "live")) in fix
    os.unlink(os.path.join(store, NAME, "live"))
    assert row(store)["state"] == "pending"


def test_both_links_can_be_broken_at_once(store):
    for which in ("live", "pending"):
        lose_generation(slot_of(store), which)
    assert [problem["code"] for problem in _health.problems(slot_of(store))] == ["link_dangling", "link_dangling"]


def test_all_broken_names_stand_in_one_error(store):
    run(store, wanted("b.example.ac.jp"))
    for name in (NAME, "b.example.ac.jp"):
        lose_generation(Store(store).certificate(name), "pending")
    before = snapshot(store)
    with pytest.raises(UpkiError) as caught:
        run(store, wanted("new.example.ac.jp"), wanted(), wanted("b.example.ac.jp"))
    assert [problem["name"] for problem in caught.value.details["problems"]] == [NAME, "b.example.ac.jp"]
    assert snapshot(store) == before  # not even the request of the name that is in order


@pytest.mark.parametrize("mode, codes", [(0o755, []), (0o775, ["store_writable"]), (0o757, ["store_writable"])])
def test_who_may_write_in_the_store(tmp_path, mode, codes):
    store = tmp_path / "upki"
    store.mkdir()
    store.chmod(mode)
    assert [found["code"] for found in _health.store_warnings(str(store))] == codes
    assert _health.store_warnings(str(tmp_path / "absent")) == []


@pytest.mark.parametrize("name", ["certificate.pem", "request.pem"])
def test_a_damaged_file_is_named_and_comes_back_from_the_backup(store, name):
    slot = slot_of(store)
    spoil(name)(slot, "live")
    (problem,) = _health.problems(slot)
    assert "'{0}'".format(slot.live.file(name)) in problem["message"]
    assert "backup" in problem["fix"]


def test_a_file_that_may_not_be_read_says_who_may(store, monkeypatch):
    slot = slot_of(store)

    def forbidden(_generation):
        raise UpkiError("store_io", "Could not read it.", "Run as the owner.")

    monkeypatch.setattr(type(slot.live), "certificate", forbidden)
    (problem,) = _health.problems(slot)
    assert problem["fix"] == "Run as the owner."

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another chain in a live generation, and back; whole runs are in test_install.py."""

import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _atomic, _mend
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit import pki

CA = pki.CA("Mend Inter", pki.CA("Mend Root"))
OLD, NEW = pki.CA("Mend Old").certificate, CA.certificate
LEAF = CA.issue("www.example.ac.jp")


@pytest.fixture
def slot(tmp_path):
    found = Store(str(tmp_path)).certificate("www.example.ac.jp")
    folder = os.path.join(found.generations_path, "20260101T000000Z-00000001")
    os.makedirs(folder)
    (generation,) = found.generations()
    found.complete(generation, pki.pem(LEAF), pki.pem(OLD))
    found.flip(generation)
    return found


def chain(slot):
    """(chain.pem, what follows the certificate in fullchain.pem), and whether the way back is kept."""
    with open(slot.live.file("fullchain.pem")) as full, open(slot.live.file("chain.pem")) as alone:
        return alone.read(), full.read().replace(pki.pem(LEAF), ""), _mend.unconfirmed(slot.live)


def test_there_back_and_confirmed(slot):
    mended = _mend.ChainSlot(slot, LEAF, [NEW])
    live = slot.live
    mended.flip(live)
    assert chain(slot) == (pki.pem(NEW), pki.pem(NEW), True)
    mended.unflip(live)
    assert chain(slot) == (pki.pem(OLD), pki.pem(OLD), False)
    mended.unflip(live)  # nothing to go back to
    mended.flip(live)
    mended.confirm(live)
    mended.confirm(live)
    assert chain(slot) == (pki.pem(NEW), pki.pem(NEW), False)
    assert (mended.path, mended.link("live"), mended.live) == (slot.path, live.id, live)


def test_the_way_back_leads_to_the_chain_before_the_first_attempt(slot):
    _mend.ChainSlot(slot, LEAF, [NEW, OLD]).flip(slot.live)
    second = _mend.ChainSlot(slot, LEAF, [NEW])
    second.flip(slot.live)
    second.unflip(slot.live)
    assert chain(slot) == (pki.pem(OLD), pki.pem(OLD), False)


def test_a_missing_chain_counts_as_none(slot):
    os.unlink(slot.live.file("chain.pem"))
    mended = _mend.ChainSlot(slot, LEAF, [NEW])
    mended.flip(slot.live)
    mended.unflip(slot.live)
    assert chain(slot) == ("", "", False)


@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_fails_leaves_the_old_chain_or_the_way_back(slot, monkeypatch, failing):
    writes = []
    write = _atomic.write_file

    def write_file(path, *rest):
        writes.append(path)
        if len(writes) == failing + 1:
            raise UpkiError("store_io", "Could not write.")
        write(path, *rest)

    monkeypatch.setattr(_atomic, "write_file", write_file)
    mended = _mend.ChainSlot(slot, LEAF, [NEW])
    with pytest.raises(UpkiError):
        mended.flip(slot.live)
    mended.unflip(slot.live)
    assert chain(slot) == (pki.pem(OLD), pki.pem(OLD), False)

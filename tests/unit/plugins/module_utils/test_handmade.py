# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made by hand becomes the first generation."""

import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _handmade, _install, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
ROOT = pki.CA("Handmade Root")
INTER = pki.CA("Handmade Inter", ROOT)
KEY = pki.key("handmade")
LEAF = INTER.issue(NAME, KEY.public_key(), start=pki.NOW - pki.days(300), end=pki.NOW + pki.days(9))


@pytest.fixture
def paths(tmp_path):
    """Key, certificate and a chain file with the root in it, as people leave them."""
    files = {
        "key": pki.key_pem(KEY),
        "certificate": pki.pem(LEAF).encode(),
        "chain": pki.pem(ROOT.certificate, INTER.certificate).encode(),
    }
    for what, data in files.items():
        (tmp_path / what).write_bytes(data)
    return {what: str(tmp_path / what) for what in files}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def run(store, paths, check_mode=False, **more):
    entry = dict({"name": NAME, "adopt": paths}, **more)
    return _install.run({"certificates": [entry], "store": store.path}, check_mode, pki.NOW)


def test_the_files_become_live_without_root_and_stay_where_they_are(store, paths):
    row = run(store, paths)["certificates"][0]
    assert (row["state"], row["reason_code"], row["changed"]) == ("live", "adopted", True)
    live = store.certificate(NAME).live
    assert live.id == row["generation"]
    assert live.certificate() == LEAF
    assert live.chain() == [INTER.certificate]
    assert os.stat(live.key_path).st_mode & 0o777 == 0o600
    with open(paths["key"], "rb") as theirs, open(live.key_path, "rb") as ours:
        assert theirs.read() == ours.read()
    again = run(store, paths)["certificates"][0]
    assert (again["reason_code"], again["changed"]) == ("up_to_date", False)


def test_check_mode_adopts_nothing(store, paths):
    assert run(store, paths, check_mode=True)["changed"] is True
    assert store.certificate(NAME).live is None


def test_the_chain_may_follow_in_the_certificates_file(store, paths, tmp_path):
    (tmp_path / "certificate").write_text(pki.pem(LEAF, INTER.certificate))
    run(store, dict(paths, chain=None))
    assert store.certificate(NAME).live.chain() == [INTER.certificate]


def test_the_first_swap_can_go_back_to_it(store, paths):
    key = pki.key("its successor")
    spki = _x509.spki_sha256(key.public_key())
    meta = {"created": "2020-01-01T00:00:00Z", "spki_sha256": spki, "dns_names": [], "record": {"kind": "issue"}}
    slot = store.certificate(NAME)
    pending = slot.add_generation(pki.key_pem(key), pki.pem(pki.csr(key, NAME)), meta)
    slot.complete(pending, pki.pem(INTER.issue(NAME, key.public_key())), pki.pem(INTER.certificate))
    row = run(store, paths)["certificates"][0]
    assert (row["reason_code"], row["generation"]) == ("installed", pending.id)
    assert [one.certificate() == LEAF for one in slot.generations()] == [True, False]
    row = run(store, paths, state="previous")["certificates"][0]
    assert row["reason_code"] == "went_back"
    assert slot.live.certificate() == LEAF


def fails(code, store, paths):
    with pytest.raises(UpkiError) as caught:
        run(store, paths)
    assert caught.value.code == code
    assert store.certificate(NAME).generations() == []
    return caught.value


def test_a_key_that_does_not_belong_is_refused(store, paths, tmp_path):
    (tmp_path / "key").write_bytes(pki.key_pem(pki.key("stranger")))
    fails("key_mismatch", store, paths)


def test_a_key_with_a_passphrase_is_refused(store, paths, tmp_path):
    (tmp_path / "key").write_bytes(pki.key_pem(KEY, b"secret"))
    fails("key_encrypted", store, paths)


def test_a_missing_file_is_refused(store, paths):
    fails("adopt_missing", store, dict(paths, key="/nowhere"))


def test_a_file_without_certificate_is_refused(store, paths, tmp_path):
    (tmp_path / "certificate").write_text("words\n")
    fails("adopt_unusable", store, paths)


@pytest.mark.parametrize("what", ["certificate", "chain"])
def test_a_damaged_file_is_named(store, paths, tmp_path, what):
    path = tmp_path / "damaged.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n")
    error = fails("adopt_unusable", store, dict(paths, **{what: str(path)}))
    assert str(path) in error.message and "adopt.{0}".format(what) in error.fix


def test_a_chain_of_strangers_is_left_out():
    assert _handmade._in_order(LEAF, [pki.CA("Stranger").certificate]) == []

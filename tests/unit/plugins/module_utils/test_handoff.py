# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parcel for the IT centre."""

import hashlib
import os
import shutil
import stat
import subprocess
import zipfile

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _handoff, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit import pki

NAME = "club.example.ac.jp"
INTER = pki.CA("Handoff Inter", pki.CA("Handoff Root"))
KEY = pki.key("handoff")
LEAF = INTER.issue(NAME, KEY.public_key())


@pytest.fixture
def live(tmp_path):
    """A live generation; the folder for the archive is there."""
    (tmp_path / "dest").mkdir()
    meta = {"created": "2026-11-22T00:00:00Z", "spki_sha256": _x509.spki_sha256(KEY.public_key())}
    slot = Store(str(tmp_path / "store")).certificate(NAME)
    generation = slot.add_generation(pki.key_pem(KEY), pki.pem(pki.csr(KEY, NAME)), meta)
    slot.complete(generation, pki.pem(LEAF), pki.pem(INTER.certificate))
    slot.flip(generation)
    return generation


def run(tmp_path, check_mode=False, **more):
    params = {"name": NAME, "dest": str(tmp_path / "dest"), "store": str(tmp_path / "store")}
    return _handoff.run(dict(params, **more), check_mode)


def fails(code, tmp_path, **more):
    with pytest.raises(UpkiError) as caught:
        run(tmp_path, **more)
    assert caught.value.code == code, str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value.result())
    if (tmp_path / "dest").exists():
        assert os.listdir(str(tmp_path / "dest")) == []


def test_the_archive_has_the_three_their_checksums_and_a_letter(tmp_path, live):
    result = run(tmp_path)
    with zipfile.ZipFile(result["path"]) as archive:
        files = {os.path.basename(name): archive.read(name) for name in archive.namelist()}
    assert sorted(files) == sorted([NAME + ".cer", NAME + ".chain.cer", NAME + ".key", "README.txt", "SHA256SUMS"])
    assert files[NAME + ".cer"].decode() == pki.pem(LEAF)
    assert files[NAME + ".chain.cer"].decode() == pki.pem(INTER.certificate)
    assert files[NAME + ".key"] == pki.key_pem(KEY)
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert str(LEAF.serial_number) in files["README.txt"].decode("utf-8")
    del live


def test_it_is_for_its_owner_alone_and_the_result_shows_no_key(tmp_path, live):
    result = run(tmp_path)
    for path in (result["path"], result["letter"]):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "PRIVATE KEY" not in str(result)
    assert NAME in result["text"] and "シリアル番号" in result["text"]
    del live


def test_a_second_run_changes_nothing_and_check_mode_writes_nothing(tmp_path, live):
    assert run(tmp_path, check_mode=True)["changed"] is True
    assert os.listdir(str(tmp_path / "dest")) == []
    first = run(tmp_path)
    assert first["changed"] is True
    assert run(tmp_path)["changed"] is False
    os.chmod(first["path"], 0o644)
    assert run(tmp_path)["changed"] is True
    del live


def test_without_a_certificate_there_is_nothing_to_hand_over(tmp_path):
    (tmp_path / "dest").mkdir()
    fails("nothing_to_hand_over", tmp_path)


def test_an_unknown_generation_is_an_error(tmp_path, live):
    fails("nothing_to_hand_over", tmp_path, generation="20200101T000000Z-00000000")
    assert run(tmp_path, generation=live.id)["generation"] == live.id


def test_a_key_that_does_not_belong_is_refused(tmp_path, live):
    with open(live.key_path, "wb") as stream:
        stream.write(pki.key_pem(pki.key("stranger")))
    fails("key_mismatch", tmp_path)


def test_a_key_with_a_passphrase_is_refused(tmp_path, live):
    with open(live.key_path, "wb") as stream:
        stream.write(pki.key_pem(KEY, b"secret"))
    fails("key_encrypted", tmp_path)


def test_an_intermediate_that_did_not_sign_is_refused(tmp_path, live):
    with open(live.file("chain.pem"), "w") as stream:
        stream.write(pki.pem(pki.CA("Stranger").certificate))
    fails("chain_broken", tmp_path)


def test_a_missing_folder_is_an_error(tmp_path, live):
    (tmp_path / "dest").rmdir()
    fails("dest_missing", tmp_path)
    del live


# --- encryption ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipients", [[], ["--output=/etc/passwd"], [""]])
def test_recipients_are_needed_and_are_no_options(tmp_path, live, recipients):
    fails("recipients_invalid", tmp_path, encrypt_with="age", recipients=recipients)
    del live


def fake(tmp_path, monkeypatch, script):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "age").write_text("#!/bin/sh\n" + script)
    (folder / "age").chmod(0o755)
    monkeypatch.setenv("PATH", "{0}:/bin:/usr/bin".format(folder))


def test_the_plain_archive_goes_through_a_pipe_only(tmp_path, live, monkeypatch):
    fake(tmp_path, monkeypatch, 'echo "$@"; wc -c\n')
    result = run(tmp_path, encrypt_with="age", recipients=["age1abc", "age1def"])
    assert result["encrypted"] is True
    with open(result["path"]) as stream:
        assert stream.readline() == "--encrypt --recipient age1abc --recipient age1def\n"
    assert sorted(os.listdir(str(tmp_path / "dest"))) == sorted(
        [os.path.basename(result["path"]), os.path.basename(result["letter"])]
    )
    assert run(tmp_path, encrypt_with="age", recipients=["age1abc", "age1def"])["changed"] is False
    del live


def test_another_recipient_gets_another_archive(tmp_path, live, monkeypatch):
    fake(tmp_path, monkeypatch, 'echo "$@"; wc -c\n')
    result = run(tmp_path, encrypt_with="age", recipients=["age1mistyped"])
    assert "age1mistyped" in result["text"]
    assert run(tmp_path, check_mode=True, encrypt_with="age", recipients=["age1abc"])["changed"] is True
    assert run(tmp_path, encrypt_with="age", recipients=["age1abc"])["changed"] is True
    with open(result["path"]) as stream:
        assert "age1abc" in stream.readline()
    del live


def test_a_tool_that_fails_writes_nothing(tmp_path, live, monkeypatch):
    fake(tmp_path, monkeypatch, "echo unknown recipient >&2; exit 1\n")
    fails("encryption_failed", tmp_path, encrypt_with="age", recipients=["age1abc"])
    del live


def test_a_missing_tool_is_named(tmp_path, live, monkeypatch):
    monkeypatch.setitem(_handoff.TOOLS["age"], "argv", ["/nowhere/age"])
    fails("tool_missing", tmp_path, encrypt_with="age", recipients=["age1abc"])
    del live


def test_real_gpg_opens_it_again(tmp_path, live, monkeypatch):
    if shutil.which("gpg") is None:
        pytest.skip("no gpg here")
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    gpg = ["gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback"]
    made = subprocess.run(
        gpg + ["--quick-gen-key", "centre@example.ac.jp", "default", "default", "never"], timeout=60, check=False
    )
    try:
        if made.returncode:
            pytest.skip("gpg cannot make a key here")
        result = run(tmp_path, encrypt_with="gpg", recipients=["centre@example.ac.jp"])
        plain = subprocess.check_output(gpg + ["--decrypt", result["path"]], timeout=60)
        assert plain.startswith(b"PK")
    finally:
        subprocess.call(["gpgconf", "--kill", "gpg-agent"])
    del live

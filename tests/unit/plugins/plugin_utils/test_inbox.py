# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller finds for a host, with the real certificates where they are."""

from __future__ import annotations

import datetime
import pathlib
import zipfile

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _inbox
from ansible_collections.campus.upki.tests.unit import pki

HOST = "shibbi.pki.itc.u-tokyo.ac.jp"
MARCH = datetime.datetime(2026, 3, 22, tzinfo=datetime.timezone.utc)


def test_the_real_leaves_get_their_real_chains(shared: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "mail.zip", "w") as archive:
        for path in (shared / "certs" / "leaf").iterdir():
            archive.write(path, f"any/{path.stem}.cer")
    found = _inbox.look([HOST], [str(tmp_path)], [str(shared / "certs" / "ca")], [], MARCH)
    chains = {}
    for row in found.candidates:
        issuer = _x509.name_value(_x509.certificates_from_pem(row["certificate"])[0].issuer, "CN")
        subjects = [_x509.certificates_from_pem(text)[0].subject for text in row["chain"]]
        chains[issuer] = [_x509.name_value(subject, "CN") for subject in subjects]
    assert chains == {
        "NII Open Domain CA - G7 RSA": ["NII Open Domain CA - G7 RSA"],
        "NII Open Domain CA - G8 RSA": ["NII Open Domain CA - G8 RSA", "SECOM TLS RSA Root CA 2024"],
    }
    assert found.unusable == found.others == []


def test_a_name_in_any_case_or_in_the_cn_alone_is_this_hosts(tmp_path: pathlib.Path) -> None:
    ca = pki.CA("Inbox CA")
    (tmp_path / "a.cer").write_text(pki.pem(ca.issue("WWW.Example.ac.jp", names=["x.example.ac.jp"])))
    found = _inbox.look(["www.example.ac.jp."], [str(tmp_path)], [], [str(tmp_path)], pki.NOW)
    assert len(found.candidates) == 1


def test_ca_certificates_in_the_inbox_are_intermediates_and_no_leaves(tmp_path: pathlib.Path) -> None:
    root = pki.CA("Inbox Root")
    inter = pki.CA("Inbox Inter", root)
    leaf = inter.issue("www.example.ac.jp")
    (tmp_path / "all.p7b").write_bytes(pki.pkcs7(root.certificate, leaf, inter.certificate))
    (tmp_path / "root.pem").write_text(pki.pem(root.certificate))
    found = _inbox.look(["www.example.ac.jp"], [str(tmp_path / "all.p7b")], [], [str(tmp_path / "root.pem")], pki.NOW)
    (candidate,) = found.candidates
    assert candidate["chain"] == [pki.pem(inter.certificate)]
    assert found.others == []


def test_ca_certificates_go_along_once_with_the_roots_that_signed_them(tmp_path: pathlib.Path) -> None:
    root, stranger = pki.CA("Inbox Root"), pki.CA("Inbox stranger")
    inter = pki.CA("Inbox Inter", root)
    for folder in ("inbox", "given", "roots"):
        (tmp_path / folder).mkdir()
    (tmp_path / "inbox" / "all.pem").write_text(pki.pem(inter.certificate, root.certificate))
    (tmp_path / "given" / "ca.cer").write_bytes(pki.der(inter.certificate))
    (tmp_path / "roots" / "all.pem").write_text(pki.pem(stranger.certificate, root.certificate))
    places = ([str(tmp_path / folder)] for folder in ("inbox", "given", "roots"))
    found = _inbox.look(["www.example.ac.jp"], *places, pki.NOW)
    assert found.candidates == []
    assert found.authorities == [pki.pem(inter.certificate)]
    assert found.anchors == [pki.pem(root.certificate)]


@pytest.mark.parametrize("option", ["inbox", "intermediates", "roots"])
def test_a_folder_that_is_missing_is_named_with_its_variable(tmp_path: pathlib.Path, option: str) -> None:
    places = {name: [str(tmp_path)] for name in ("inbox", "intermediates", "roots")}
    places[option] = [str(tmp_path / "nowhere")]
    with pytest.raises(UpkiError) as caught:
        _inbox.look(["www.example.ac.jp"], *places.values(), pki.NOW)
    assert f"(upki_{option})" in caught.value.fix and "nowhere" in caught.value.message


def test_a_damaged_file_among_the_intermediates_is_told_and_stands_in_the_error(tmp_path: pathlib.Path) -> None:
    inter = pki.CA("Inbox Inter", pki.CA("Inbox Root"))
    (tmp_path / "inbox").mkdir()
    (tmp_path / "given").mkdir()
    (tmp_path / "inbox" / "x.cer").write_bytes(pki.der(inter.issue("www.example.ac.jp")))
    (tmp_path / "given" / "ca.cer").write_text(pki.pem(inter.certificate)[:300])
    (tmp_path / "given" / "read.me").write_text("from the repository\n")
    found = _inbox.look(["www.example.ac.jp"], [str(tmp_path / "inbox")], [str(tmp_path / "given")], [], pki.NOW)
    assert [row["code"] for row in found.damaged] == ["truncated"]
    assert str(tmp_path / "given" / "ca.cer") in found.candidates[0]["error"]["fix"]
    assert found.unusable == []


def test_unusable_files_are_told_with_what_to_do(tmp_path: pathlib.Path) -> None:
    (tmp_path / "page.cer").write_text("<!doctype html><title>Login</title>")
    (tmp_path / "note.txt").write_text("the certificate comes tomorrow\n")
    found = _inbox.look(["www.example.ac.jp"], [str(tmp_path)], [], [], pki.NOW)
    assert [(row["code"], row["fault"]) for row in found.unusable] == [("text", False), ("html", True)]
    assert all(row["message"] and row["fix"] for row in found.unusable)

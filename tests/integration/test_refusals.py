# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input and bad days: each ends in one clear error, and nothing has changed."""

from __future__ import annotations

import pathlib
import socket
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ansible_collections.campus.upki.tests.integration.conftest import Demo, Result

NAME = "www.lab.example.ac.jp"
SUBJECT = {"organization": "Practice University, Faculty of Informatics", "state": "Tokyo", "locality": "Chofu"}


def refused(demo: Demo, done: Result, before: dict[str, str], *words: str) -> None:
    assert done.status != 0, done.output
    assert "Traceback" not in done.output
    errors = [line for line in done.output.splitlines() if line.startswith(("fatal:", "[ERROR]"))]
    assert errors, done.output
    for word in words:
        assert word in done.output, f"{word!r} is not in:\n{done.output}"
    assert demo.tree() == before


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ({**SUBJECT, "organizational_unit": "Lab"}, ("OU", "371", "2022-07-26")),
        ({key: value for key, value in SUBJECT.items() if key != "state"}, ("state", "upki_subject")),
        ({**SUBJECT, "organization": "電気通信大学"}, ("電", "organization")),
    ],
    ids=["ou", "state-missing", "japanese-organization"],
)
def test_subject(demo: Demo, subject: dict[str, str], words: tuple[str, ...]) -> None:
    before = demo.tree()
    done = demo.play("campus.upki.request", "--limit", "web1", upki_subject=subject, upki_renew_before="120d")
    refused(demo, done, before, *words)


@pytest.mark.parametrize(
    "name", ["WWW.lab.example.ac.jp", "www_1.lab.example.ac.jp", "*.lab.example.ac.jp", "192.0.2.1"]
)
def test_common_name(demo: Demo, name: str) -> None:
    before = demo.tree()
    certificates = [{"name": name, "software": "nginx"}]
    refused(demo, demo.play("campus.upki.request", "--limit", "web1", upki_certificates=certificates), before, name)


def test_key_that_nobody_knows(demo: Demo) -> None:
    before = demo.tree()
    certificates = [{"name": NAME, "software": "nginx", "dnsnames": ["a.example.ac.jp"]}]
    done = demo.play("campus.upki.request", "--limit", "web1", upki_certificates=certificates)
    refused(demo, done, before, "dnsnames")


def test_verify_where_nothing_listens(demo: Demo) -> None:
    before = demo.tree()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody else takes the port
        port = unused.getsockname()[1]
        certificates = [{"name": NAME, "software": "nginx", "server": "nginx", "endpoint": f"127.0.0.1:{port}"}]
        done = demo.play("campus.upki.verify", "--limit", "web1", upki_certificates=certificates)
    refused(demo, done, before, "connection_refused", str(port))


@pytest.fixture(scope="module")
def pending(demo: Demo) -> None:
    """A renewal that waits for its certificate on both hosts."""
    done = demo.play("campus.upki.request", upki_renew_before="120d")
    assert done.status == 0, done.output


@pytest.fixture(scope="module")
def issued(demo: Demo, pending: None) -> None:
    """Its certificates in the inbox, not yet installed."""
    done = demo.play("campus.upki.practice_ca")
    assert done.status == 0, done.output


@pytest.fixture
def inbox_file(demo: Demo) -> Iterator[pathlib.Path]:
    path = demo.path / "inbox" / "saved-by-a-person.cer"
    yield path
    path.unlink(missing_ok=True)


def test_html_page_in_the_inbox(demo: Demo, pending: None, inbox_file: pathlib.Path) -> None:
    inbox_file.write_text("<!DOCTYPE html><html><body>Session expired</body></html>")
    before = demo.tree()
    done = demo.play("campus.upki.deploy", "--limit", "web1")
    refused(demo, done, before, inbox_file.name, "HTML", NAME)


def test_certificate_of_another_key(
    demo: Demo, pending: None, inbox_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", f"/CN={NAME}"]
    command += [
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        f"subjectAltName=DNS:{NAME}",
        "-keyout",
        str(tmp_path / "key.pem"),
        "-out",
        str(inbox_file),
    ]
    subprocess.run(command, check=True, capture_output=True)
    before = demo.tree()
    refused(demo, demo.play("campus.upki.deploy", "--limit", "web1"), before, inbox_file.name, NAME, "key")


def served_serial(demo: Demo) -> str:
    """In decimal, as the wire has it now."""
    address = f"127.0.0.1:{demo.summary['ports'][NAME]}"
    line = ""
    for command in (["s_client", "-connect", address, "-servername", NAME], ["x509", "-noout", "-serial"]):
        done = subprocess.run(["openssl", *command], input=line, capture_output=True, text=True, check=True)
        line = done.stdout
    return str(int(line.strip().partition("=")[2], 16))


def test_configuration_that_does_not_pass_its_test(demo: Demo, issued: None) -> None:
    broken = demo.path / "web1" / "conf.d" / "other-site.conf"
    broken.write_text("server { listen 127.0.0.1:1; no_such_directive on; }\n")
    try:
        before = demo.tree()
        done = demo.play("campus.upki.deploy", "--limit", "web1")
        refused(demo, done, before, "no_such_directive", "other-site.conf")
        assert served_serial(demo) == demo.summary["after"][NAME]
    finally:
        broken.unlink()


def test_deploy_where_nothing_listens(demo: Demo, issued: None) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        certificates = [{"name": NAME, "software": "nginx", "server": "nginx", "endpoint": f"127.0.0.1:{port}"}]
        before = demo.tree()
        done = demo.play("campus.upki.deploy", "--limit", "web1", upki_certificates=certificates)
        refused(demo, done, before, str(port), NAME)
    assert served_serial(demo) == demo.summary["after"][NAME]


def test_then_the_same_run_succeeds(demo: Demo, issued: None) -> None:
    """The refusals above have left everything in a state from which the ordinary run goes on."""
    done = demo.play("campus.upki.deploy")
    assert done.status == 0, done.output
    assert served_serial(demo) != demo.summary["after"][NAME]
    assert demo.play("campus.upki.deploy").changed == 0

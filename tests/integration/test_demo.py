# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo claims, looked at from outside: files, encodings, modes and the wire."""

from __future__ import annotations

import os
import pathlib
import signal
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ansible_collections.campus.upki.tests.integration.conftest import Demo

NAMES = ("www.lab.example.ac.jp", "wiki.lab.example.ac.jp")


def test_two_issues_then_two_renewals_with_the_old_serials(demo: Demo) -> None:
    files = sorted((demo.path / "outbox").glob("*.tsv"))
    kinds = [path.name.split("-")[3] for path in files]
    assert kinds == ["server_issue", "server_renew"]
    issue, renew = (path.read_bytes().decode("shift_jis") for path in files)
    for text in (issue, renew):
        lines = text.split("\r\n")
        assert lines[-1] == "" and len(lines) == 3
        assert all(len(line.split("\t")) == 13 and '"' not in line for line in lines[:-1])
    assert [line.split("\t")[3] for line in issue.splitlines()] == ["", ""]
    serials = {line.split("\t")[10]: line.split("\t")[3] for line in renew.splitlines()}
    assert serials == demo.summary["before"]
    assert "山田 太郎" in issue


def test_profiles_follow_the_keys(demo: Demo) -> None:
    text = next((demo.path / "outbox").glob("*server_issue*")).read_bytes().decode("shift_jis")
    profiles = {columns[10]: columns[1] for columns in (line.split("\t") for line in text.splitlines())}
    assert profiles == {NAMES[0]: "3", NAMES[1]: "11"}


@pytest.mark.parametrize(("host", "name"), [("web1", NAMES[0]), ("web2", NAMES[1])])
def test_every_request_has_a_key_of_its_own_that_nobody_else_can_read(demo: Demo, host: str, name: str) -> None:
    keys = sorted((demo.path / host / "upki" / name / "generations").glob("*/key.pem"))
    assert len(keys) == 2
    assert len({path.read_bytes() for path in keys}) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_no_key_is_anywhere_but_in_its_store(demo: Demo) -> None:
    stores = {demo.path / "web1" / "upki", demo.path / "web2" / "upki"}
    words = b"PRIVATE" + b" KEY-----"
    for path in demo.path.rglob("*"):
        if path.is_symlink() or not path.is_file() or (demo.path / "ca" / "private") in path.parents:
            continue
        if words in path.read_bytes():
            assert stores & set(path.parents), f"{path} holds a private key"
    assert words.decode() not in demo.output


def test_csr_has_five_fields_in_order_and_no_extension(demo: Demo) -> None:
    request = next((demo.path / "web1" / "upki" / NAMES[0]).glob("generations/*/request.pem"))
    shown = subprocess.run(
        ["openssl", "req", "-in", str(request), "-noout", "-text", "-nameopt", "RFC2253,sep_comma_plus_space"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    subject = next(line.strip() for line in shown.splitlines() if "Subject:" in line)
    fields = [
        "CN=www.lab.example.ac.jp",
        r"O=Practice University\, Faculty of Informatics",
        "L=Chofu",
        "ST=Tokyo",
        "C=JP",
    ]
    assert subject == "Subject: " + ", ".join(fields)  # RFC 2253 prints the last field first
    assert "X509v3" not in shown  # openssl prints an empty "Requested Extensions:" in any case


def test_served_serials_changed_and_no_client_failed(demo: Demo) -> None:
    assert set(demo.summary["before"]) == set(demo.summary["after"]) == set(NAMES)
    assert all(demo.summary["before"][name] != demo.summary["after"][name] for name in NAMES)
    assert demo.summary["connections"] > 20
    assert "0 failed" in demo.output


def test_nothing_under_etc_was_touched(demo: Demo) -> None:
    started = (demo.path / "inventory.yml").stat().st_mtime
    fresh = []
    for folder in ("/etc/nginx", "/etc/apache2", "/etc/httpd", "/etc/upki"):
        for parent, _folders, names in os.walk(folder):
            paths = (os.path.join(parent, name) for name in names)
            fresh += [path for path in paths if os.lstat(path).st_mtime > started]
    assert fresh == []


def test_daily_run_changes_nothing_in_check_mode_either(demo: Demo) -> None:
    before = demo.tree()
    done = demo.play("campus.upki.renew", "--check", "--diff")
    assert done.status == 0, done.output
    assert done.changed == 0 and demo.tree() == before


def test_check_mode_of_a_due_renewal_says_so_and_writes_nothing(demo: Demo) -> None:
    before = demo.tree()
    done = demo.play("campus.upki.request", "--check", "--diff", upki_renew_before="120d")
    assert done.status == 0, done.output
    assert done.changed > 0 and demo.tree() == before
    assert "PRIVATE" not in done.output


def test_queries_answer_on_the_controller(demo: Demo) -> None:
    options = f"store={demo.path}/web1/upki query='certificates[].live.serial'"
    done = demo.command("ansible", "localhost", "-m", "campus.upki.info", "-a", options)
    assert done.status == 0, done.output
    assert demo.summary["after"][NAMES[0]] in done.output.split("query_result")[1]


def test_the_servers_are_stopped_however_long_their_path_is(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "demo" / "web1"
    folder.mkdir(parents=True)
    server = subprocess.Popen(["sh", "-c", "sleep 60; :", "x" * 120, str(folder)])
    (folder / "nginx.pid").write_text(str(server.pid))
    stop = pathlib.Path(__file__).resolve().parents[2] / "demo" / "stop"
    subprocess.run([str(stop)], env={**os.environ, "UPKI_WORK": str(tmp_path), "COLUMNS": "80"}, check=True)
    assert server.wait(10) == -signal.SIGTERM

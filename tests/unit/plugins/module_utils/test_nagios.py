# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines and exit codes for Nagios, and the command that gives them."""

import datetime
import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _nagios
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

NAME = "www.example.ac.jp"
COMMAND = pathlib.Path("ansible_collections") / "campus" / "upki" / "bin" / "check_upki.py"


def finding(severity, code, message="It is so."):
    return {"severity": severity, "code": code, "message": message, "fix": "Do this."}


def result(host, *findings, **changes):
    row = {"host": host, "port": 443, "server_name": host, "days_left": 90, "findings": list(findings)}
    return dict(row, **changes)


ERROR, WARNING, NOTE = finding("error", "expired"), finding("warning", "chain_order"), finding("info", "retried")


@pytest.mark.parametrize(
    "results, code, word",
    [
        ([], 3, "UNKNOWN - no endpoint"),
        (
            [result("a")],
            0,
            "OK - 1 endpoint well, the first certificate to end is that of a:443 in 90 days | 'a:443'=90",
        ),
        (
            [result("a"), result("b", days_left=7)],
            0,
            "OK - 2 endpoints well, the first certificate to end is that of b:443",
        ),
        ([result("a", NOTE)], 0, "OK"),
        ([result("a", WARNING)], 1, "WARNING - a:443: chain_order It is so."),
        ([result("a", WARNING), result("b", ERROR, ERROR)], 2, "CRITICAL - b:443: expired It is so. (and 1 more)"),
        ([result("a", ERROR, days_left=None)], 2, "CRITICAL"),
    ],
)
def test_lines(results, code, word):
    assert _nagios.status(results) == code
    lines = _nagios.text(results).splitlines()
    assert lines[0].startswith("TLS " + word)
    assert len(lines) == 1 + sum(len(row["findings"]) for row in results)


def test_what_would_break_the_line():
    row = result("a", finding("error", "x", "one|two\nthree"), server_name="b='c")
    first, second = _nagios.text([row]).splitlines()
    assert first.count("|") == 1 and first.endswith("| 'a:443 b_c'=90")
    assert "one/two three" in second


@pytest.mark.skipif(sys.version_info < (3, 8), reason="the command is for the machine that monitors")
@pytest.mark.parametrize("chain, code, word", [(2, 0, "OK"), (1, 2, "CRITICAL"), (0, 2, "connection_refused")])
def test_the_command(tmp_path, chain, code, word):
    root = pki.CA("Root", start=pki.NOW - pki.days(900))
    sub = pki.CA("Sub", issuer=root)
    now = datetime.datetime.now(pki.UTC)
    leaf = sub.issue(NAME, start=now - pki.days(1), end=now + pki.days(197))
    (tmp_path / "root.pem").write_text(pki.pem(root.certificate), encoding="ascii")
    with tls_zoo.tls([leaf, sub.certificate][: chain or 1], pki.key("leaf " + NAME)) as port:
        place = "127.0.0.1:{0}".format(port if chain else tls_zoo.refusing_port())
        done = start(place, "--server-name", NAME, "--ca-file", str(tmp_path / "root.pem"))
    assert done.returncode == code and word in done.stdout.splitlines()[0], done.stderr


@pytest.mark.skipif(sys.version_info < (3, 8), reason="the command is for the machine that monitors")
@pytest.mark.parametrize("words", [(), ("--nonsense", "a"), ("a b",), ("a", "--warn-before", "soon"), ("a=gopher",)])
def test_what_the_command_refuses_is_unknown(words):
    done = start(*words)
    assert (done.returncode, done.stdout[:11]) == (3, "TLS UNKNOWN"), done.stderr


def start(*words):
    (path,) = [place / COMMAND for place in map(pathlib.Path, sys.path) if (place / COMMAND).is_file()][:1] or [None]
    if path is None:
        pytest.skip("the command is not beside these tests")
    return subprocess.run(
        [sys.executable, str(path)] + list(words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        timeout=60,
        check=False,
    )

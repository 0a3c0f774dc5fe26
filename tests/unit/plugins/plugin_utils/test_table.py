# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of results."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.utils import color
from ansible_collections.campus.upki.plugins.plugin_utils import _table


class Screen:
    def __init__(self) -> None:
        self.shown: list[str] = []
        self.logged: list[str] = []

    def display(self, msg: str, *, screen_only: bool = False, log_only: bool = False) -> None:
        assert screen_only is not log_only
        (self.shown if screen_only else self.logged).append(msg)


def result(host: str, *findings: tuple[str, str], **changes: Any) -> dict[str, Any]:
    made = {
        "host": host,
        "port": 443,
        "server_name": "www.example.ac.jp",
        "file": None,
        "days_left": 97,
        "tls_version": "TLSv1.3",
        "chain": [{}] * 3,
        "certificate": {"not_after": "2027-02-27T14:59:59Z"},
        "findings": [{"severity": severity, "code": code} for severity, code in findings],
    }
    return {**made, **changes}


RESULTS = [
    result("192.0.2.7"),
    result("192.0.2.80", ("warning", "expires_soon"), ("error", "chain_order"), days_left=-3),
    result("192.0.2.9", ("error", "timeout"), certificate=None, days_left=None, chain=[], tls_version=None),
]


@pytest.mark.parametrize("coloured", [False, True])
def test_the_table(monkeypatch: pytest.MonkeyPatch, coloured: bool) -> None:
    monkeypatch.setattr(color, "ANSIBLE_COLOR", coloured)
    screen = Screen()
    _table.show(screen, "web1", RESULTS)
    assert screen.logged == [
        "verify, web1:\n"
        "  state  days  until       TLS      chain  endpoint                            findings\n"
        "  well   97    2027-02-27  TLSv1.3  3      www.example.ac.jp (192.0.2.7:443)\n"
        "  error  -3    2027-02-27  TLSv1.3  3      www.example.ac.jp (192.0.2.80:443)  expires_soon, chain_order\n"
        "  error                                    www.example.ac.jp (192.0.2.9:443)   timeout"
    ]
    (shown,) = screen.shown  # one call, so that no other host's lines come between
    assert ("\x1b[" in shown) is coloured
    rows = shown.split("\n")
    if coloured:
        assert rows[2].startswith("\x1b[0;32m") and rows[3].startswith("\x1b[0;31m") and rows[3].endswith("\x1b[0m")
    else:
        assert shown == screen.logged[0]


def test_a_repeated_code_is_said_once() -> None:
    screen = Screen()
    _table.show(screen, "web1", [result("h", ("warning", "root_included"), ("warning", "root_included"))])
    assert screen.logged[0].count("root_included") == 1


def test_what_steers_a_terminal_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(color, "ANSIBLE_COLOR", False)
    screen = Screen()
    _table.show(screen, "we\x1bb", [{**RESULTS[0], "host": None, "file": "/a\x1b[2J\nb.pem", "server_name": None}])
    assert "\x1b" not in screen.shown[0] and "/a?[2J?b.pem" in screen.shown[0] and "we?b" in screen.shown[0]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of verify as a table for a person, in colour where Ansible's own lines are."""

from __future__ import annotations

from typing import Any, Protocol

from ansible import constants
from ansible.utils.color import stringc
from ansible_collections.campus.upki.plugins.module_utils._findings import SEVERITIES
from ansible_collections.campus.upki.plugins.module_utils._where import place

HEADINGS = ("state", "days", "until", "TLS", "chain", "endpoint", "findings")
COLOURS = {"error": "COLOR_ERROR", "warning": "COLOR_WARN", "info": "COLOR_OK", "well": "COLOR_OK"}


class Screen(Protocol):
    """What is needed of Ansible's display."""

    def display(self, msg: str, *, screen_only: bool = False, log_only: bool = False) -> None: ...


def show(screen: Screen, host: str, results: list[dict[str, Any]]) -> None:
    """One call for the whole table, so that those of parallel hosts do not mix. The log file has it without colour."""
    title = f"verify, {_plain(host)}:"
    states = [_state(result) for result in results]
    first, *rows = _aligned([HEADINGS, *map(_cells, results)])
    coloured = [stringc(row, getattr(constants, COLOURS[state])) for row, state in zip(rows, states, strict=True)]
    screen.display("\n".join([title, first, *coloured]), screen_only=True)
    screen.display("\n".join([title, first, *rows]), log_only=True)


def _state(result: dict[str, Any]) -> str:
    severities = [row["severity"] for row in result["findings"]]
    return next((one for one in SEVERITIES if one in severities), "well")


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    leaf = result["certificate"] or {}
    codes = list(dict.fromkeys(row["code"] for row in result["findings"]))
    return (
        _state(result),
        "" if result["days_left"] is None else str(result["days_left"]),
        leaf.get("not_after", "")[:10],
        result["tls_version"] or "",
        str(len(result["chain"]) or ""),
        _plain(place(result)),
        ", ".join(codes),
    )


def _plain(text: str) -> str:
    """Without what could steer a terminal; a file's name may hold anything."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines while a module takes long."""

from __future__ import annotations

import pathlib
import threading

import pytest
from ansible_collections.campus.upki.plugins.plugin_utils import _progress


class Screen:
    """A display that remembers, and says when it was written to."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []
        self.written = threading.Event()

    def __call__(self, line: str, stderr: bool = False) -> None:
        self.lines.append((line, stderr))
        self.written.set()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setattr(_progress, "EVERY", 0.05)
    return Screen()


def test_a_quick_run_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    with _progress.told(screen, "web1", 3, None):
        pass
    assert screen.lines == [] and _progress.EVERY >= 10


def test_a_long_run_says_what_the_file_says(screen: Screen, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "progress"
    path.write_text("400 of 1000 endpoints looked at")
    with _progress.told(screen, "web1", 1000, str(path)):
        assert screen.written.wait(5)
    count = len(screen.lines)
    assert screen.lines[0] == ("verify, web1: 400 of 1000 endpoints looked at (0 s)", True)
    assert not threading.Event().wait(0.2) and len(screen.lines) == count  # the end of the run is the end of the lines


@pytest.mark.parametrize(("count", "words"), [(1, "1 endpoint or files"), (7, "7 endpoints or files")])
def test_where_the_file_cannot_be_seen_the_time_is_said(
    screen: Screen, tmp_path: pathlib.Path, count: int, words: str
) -> None:
    for path in (None, str(tmp_path / "absent")):
        screen.written.clear()
        with _progress.told(screen, "web1", count, path):
            assert screen.written.wait(5)
        assert screen.lines[-1][0].startswith(f"verify, web1: looking at {words} (")


def test_what_steers_a_terminal_is_taken_out(screen: Screen, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "progress"
    path.write_bytes(b"\x1b[31m5 of 6\n\xff" + b"x" * 1000)
    with _progress.told(screen, "web1", 6, str(path)):
        assert screen.written.wait(5)
    line = screen.lines[0][0]
    assert line.isprintable() and "[31m5 of 6" in line and len(line) < 300


def test_a_failure_ends_the_lines_too(screen: Screen) -> None:
    with pytest.raises(KeyError), _progress.told(screen, "web1", 6, None):
        raise KeyError
    count = len(screen.lines)
    assert not threading.Event().wait(0.2) and len(screen.lines) == count

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that says how far a run is."""

from ansible_collections.campus.upki.plugins.module_utils import _progress


class Clock(object):
    now = 100.0

    def __call__(self):
        return self.now


def test_it_is_written_twice_a_second_at_most_and_at_the_end(tmp_path):
    clock, path = Clock(), tmp_path / "p"
    progress, said = _progress.Progress(str(path), 5, clock), []
    for pause in (0, 0.1, 0.1, 0.5, 0):
        clock.now += pause
        progress.step()
        said.append(path.read_text())
    assert [text.split()[0] for text in said] == ["1", "1", "1", "4", "5"]
    assert said[-1] == "5 of 5 endpoints looked at"


def test_nobody_watches():
    progress = _progress.Progress(None, 1)
    progress.step()
    assert progress.count == 1


def test_what_cannot_be_written_ends_nothing(tmp_path):
    progress = _progress.Progress(str(tmp_path / "absent" / "p"), 2)
    progress.step()
    progress.step()
    assert progress.count == 2 and progress.path is None

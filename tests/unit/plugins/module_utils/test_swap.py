# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and the look at the port; the whole swap is shown in test_install.py and with real servers."""

import os
import signal
import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _probe, _swap
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

CA = pki.CA("Swap CA")
PLACE = _swap.Place("127.0.0.1", 443, "")
SIX = _swap.Place("::1", 8443, "")
NAME = "www.example.ac.jp"


class Slot(object):
    path = "/etc/upki/www.example.ac.jp"


ITEM = _swap.Item(NAME, Slot(), None, b"new", [PLACE], [])


def test_a_good_command_says_what_it_said():
    assert _swap.run(["sh", "-c", "echo fine; echo also >&2"], 10) == _swap.Outcome(True, "fine\nalso")


def test_a_failing_command_tells_status_and_output():
    outcome = _swap.run(["sh", "-c", "echo no; exit 7"], 10)
    assert (outcome.ok, outcome.text) == (False, "exit status 7; no")


def test_a_failing_command_that_says_nothing_sends_to_its_log():
    assert _swap.run(["false"], 10).text == "exit status 1; it printed nothing, so look at its log"
    assert _swap.run(["true"], 10).text == ""


def test_a_missing_command_is_no_traceback():
    outcome = _swap.run(["/nowhere/at/all"], 10)
    assert not outcome.ok
    assert "No such file" in outcome.text


def test_a_hanging_command_is_killed():
    outcome = _swap.run(["sleep", "60"], 0.1)
    assert not outcome.ok
    assert "killed" in outcome.text


def test_a_daemon_that_keeps_the_output_open_does_not_keep_us(tmp_path):
    note = tmp_path / "pid"
    outcome = _swap.run(["sh", "-c", "sleep 30 & echo $! > {0}; echo started".format(note)], 10)
    assert outcome == _swap.Outcome(True, "started")
    os.kill(int(note.read_text()), signal.SIGKILL)


def test_no_shell_reads_the_words():
    assert _swap.run(["echo", "$(id)", ";", "*"], 10).text == "$(id) ; *"


def test_a_command_has_no_input_to_ask_on_and_speaks_english():
    assert _swap.run(["sh", "-c", "cat; echo $LC_ALL"], 10).text == "C"


def test_long_output_is_cut_at_its_beginning():
    text = _swap.run(["sh", "-c", "seq 1 5000; exit 1"], 10).text
    assert text.endswith("5000")
    assert len(text) < _swap.OUTPUT + 50


def answers(monkeypatch, *seen):
    rows = list(seen)
    monkeypatch.setattr(_swap, "see", lambda name, place: rows.pop(0) if len(rows) > 1 else rows[0])
    return rows


def leaf(data):
    return _probe.Seen(data, "", "")


def test_an_old_worker_may_answer_for_a_while(monkeypatch):
    answers(monkeypatch, leaf(b"old"), leaf(b"new"), leaf(b"old"), leaf(b"new"), leaf(b"new"), leaf(b"new"))
    assert _swap.await_leaf(NAME, PLACE, b"new", time.monotonic() + 5, 0).leaf == b"new"


def test_the_wait_is_bounded(monkeypatch):
    answers(monkeypatch, leaf(b"old"))
    assert _swap.await_leaf(NAME, PLACE, b"new", time.monotonic(), 0).leaf == b"old"


@pytest.mark.parametrize(
    "seen, words",
    [
        (_probe.Seen(None, "refused", "x"), "nothing listens"),
        (_probe.Seen(None, "timeout", "x"), "no answer in time"),
        (_probe.Seen(None, "tls", "wrong version"), "wrong version"),
        (_probe.Seen(b"junk", "", ""), "cannot be read"),
        (_probe.Seen(pki.der(CA.issue("a.example.ac.jp")), "", ""), "'a.example.ac.jp' with serial"),
    ],
)
def test_what_was_seen_in_words(seen, words):
    assert words in _swap.describe(seen)


@pytest.mark.parametrize("problem, code", [("refused", "port_closed"), ("tls", "no_handshake")])
def test_a_port_without_the_leaf_has_its_own_error(monkeypatch, problem, code):
    answers(monkeypatch, _probe.Seen(None, problem, "alert"))
    with pytest.raises(UpkiError) as caught:
        _swap.look([ITEM], 0)
    assert caught.value.code == code
    assert "127.0.0.1:443" in caught.value.message


def test_every_place_is_looked_at_and_all_that_are_wrong_are_named(monkeypatch):
    looked = []

    def see(name, place):
        looked.append(place.port)
        return leaf(b"new") if place.port == 443 else _probe.Seen(None, {8443: "refused", 993: "tls"}[place.port], "x")

    monkeypatch.setattr(_swap, "see", see)
    item = ITEM._replace(places=[PLACE, SIX, _swap.Place("127.0.0.1", 993, "")])
    with pytest.raises(UpkiError) as caught:
        _swap.look([item], 0)
    assert caught.value.code == "port_closed"
    assert "[::1]:8443" in caught.value.message and "127.0.0.1:993" in caught.value.message
    assert "127.0.0.1:443" not in caught.value.message
    assert looked == [443] * _swap.CONFIRMATIONS + [8443, 993]
    looked[:] = []
    _swap.look([item._replace(places=[PLACE])], 0)


def test_all_places_together_have_the_bound_of_one(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(_swap.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(_swap.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    answers(monkeypatch, leaf(b"old"))
    with pytest.raises(UpkiError):
        _swap.look([ITEM._replace(places=[PLACE, SIX])], 15)
    assert 115 <= clock[0] < 116


@pytest.mark.parametrize(
    "sent, good",
    [
        ([b"new", b"inter"], True),
        ([b"new", b"inter", b"root"], True),
        ([b"new", b"old inter"], False),
        ([b"new"], False),
        (None, True),  # neither this Python nor openssl can tell
    ],
)
def test_a_chain_counts_where_it_can_be_seen(monkeypatch, sent, good):
    answers(monkeypatch, _probe.Seen(b"new", "", "", [b"new", b"inter"]), _probe.Seen(b"new", "", ""))
    monkeypatch.setattr(_swap._probe, "sent_chain", lambda seen, *_where: sent)
    item = ITEM._replace(chain=[b"inter"])
    if good:
        _swap.look([item], 0)
        return
    with pytest.raises(UpkiError) as caught:
        _swap.look([item], 0)
    assert caught.value.code == "served_other_chain"
    assert "upki_mend_chain" in caught.value.fix


def test_a_hang_up_does_not_end_the_swap_and_is_not_inherited():
    before = signal.getsignal(signal.SIGHUP)  # under nohup it is ignored from the start
    with _swap.undisturbed():
        os.kill(os.getpid(), signal.SIGHUP)
        # bit 0 of SigIgn is SIGHUP
        ignored = _swap.run(["sh", "-c", "grep SigIgn /proc/self/status"], 10).text.split()[-1]
    assert int(ignored, 16) & 1 == 0
    assert signal.getsignal(signal.SIGHUP) == before

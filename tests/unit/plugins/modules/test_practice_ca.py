# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible starts it: arguments as JSON on standard input, a result as JSON on standard output."""

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.tests.unit import applications as make

ansible = pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

MODULE = "ansible_collections.campus.upki.plugins.modules.practice_ca"


@pytest.fixture
def play(tmp_path):
    def run(**arguments):
        arguments.setdefault("path", str(tmp_path / "ca"))
        arguments.setdefault("_ansible_remote_tmp", str(tmp_path))
        script = "import sys, json; import {0} as module; module.main()".format(MODULE)
        data = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode("utf-8")
        process = subprocess.Popen(
            [sys.executable, "-c", "{0}{1}".format(PROFILE, script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = process.communicate(data)
        assert output, errors.decode()
        return json.loads(output.decode("utf-8"))

    return run


# ansible-core 2.19 and later want to know how the arguments are serialized.
PROFILE = "import ansible.module_utils.basic as basic; basic._ANSIBLE_PROFILE = 'legacy'; "


@pytest.fixture
def outbox(tmp_path):
    (tmp_path / "outbox").mkdir()

    def put(name, *rows):
        (tmp_path / "outbox" / name).write_bytes(make.tsv(*rows))
        return [str(tmp_path / "outbox")]

    return put


def test_it_issues_once(play, outbox):
    folder = outbox("a.tsv", make.issue())
    first = play(outbox=folder)
    assert first["changed"] is True
    assert os.path.isfile(first["issued"][0]["file"])
    assert "diff" not in first
    second = play(outbox=folder)
    assert (second["changed"], second["issued"]) == (False, [])


def test_check_and_diff_mode(play, outbox, tmp_path):
    result = play(outbox=outbox("a.tsv", make.issue()), _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"] is True
    assert result["diff"]["after"] == "(new serial) www.example.ac.jp server_issue valid\n"
    assert not (tmp_path / "ca").exists()


def test_a_refusal_fails_after_everything_else_was_done(play, outbox):
    outbox("a.tsv", make.issue(c12=""))
    result = play(outbox=outbox("b.tsv", make.issue("b.example.ac.jp")))
    assert result["failed"] is True
    assert "a.tsv: 201:1,Webサーバソフトウェア名等," in result["msg"]
    assert result["reason_code"] == "practice_refused"
    assert [row["name"] for row in result["issued"]] == ["b.example.ac.jp"]


def test_a_refusal_may_be_no_failure(play, outbox):
    result = play(outbox=outbox("a.tsv", make.issue(c12="")), fail_on_refusal=False)
    assert not result.get("failed")
    assert len(result["refused"]) == 1


def test_an_error_is_one_message(play):
    result = play(lifetime=0)
    assert result["failed"] is True
    assert result["reason_code"] == "practice_validity"
    assert "exception" not in result

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a whole, run as Ansible runs it."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

CODE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.campus.upki.plugins.modules import handoff
with patch_module_args(json.load(sys.stdin)):
    handoff.main()
"""


def run(**arguments):
    answer = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps(arguments).encode("utf-8"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in answer.stderr, answer.stderr
    return json.loads(answer.stdout.decode("utf-8"))


def test_an_empty_store_is_refused_with_words_and_a_code(tmp_path):
    result = run(name="club.example.ac.jp", dest=str(tmp_path), store=str(tmp_path / "store"))
    assert result["failed"] is True
    assert result["reason_code"] == "nothing_to_hand_over"
    assert "campus.upki.install" in result["msg"]


@pytest.mark.parametrize("wrong", [{"fetch": True}, {"encrypt_with": "rot13"}])
def test_options_are_checked(tmp_path, wrong):
    result = run(**dict({"name": "club.example.ac.jp", "dest": str(tmp_path)}, **wrong))
    assert result["failed"] is True
    assert "reason_code" not in result

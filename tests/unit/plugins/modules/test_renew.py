# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible starts it: its two options are checked as the modules of these names check theirs."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

CODE = (
    "import ansible.module_utils.basic as basic; basic._ANSIBLE_PROFILE = 'legacy'; "
    "from ansible_collections.campus.upki.plugins.modules import renew; renew.main()"
)
NAME = "www.example.ac.jp"
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
MANAGER = {"name": "電通花子", "affiliation": "情報基盤センター", "email": "hanako@example.ac.jp"}


@pytest.fixture
def run(tmp_path):
    def start(install=None, request=None, **more):
        store = str(tmp_path / "upki")
        arguments = {
            "install": dict({"certificates": [{"name": NAME}], "store": store}, **install or {}),
            "request": dict(
                {
                    "certificates": [{"name": NAME, "software": "nginx", "key_type": "p384"}],
                    "subject": SUBJECT,
                    "manager": MANAGER,
                    "store": store,
                },
                **request or {},
            ),
            "_ansible_remote_tmp": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments, **more)}).encode("utf-8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode("utf-8")
        return json.loads(done.stdout.decode("utf-8"))

    return start


def test_plan_make_and_leave_alone(run, tmp_path):
    planned = run(_ansible_check_mode=True)
    assert planned["changed"] is True and not os.path.exists(str(tmp_path / "upki"))
    made = run()
    again = run()
    assert (made["changed"], again["changed"]) == (True, False)
    assert made["request"]["certificates"][0]["record"]["manager_name"] == "電通花子"
    assert again["install"]["certificates"][0]["reason_code"] == "waiting"


def test_no_key_leaves_the_module(run, tmp_path):
    answer = json.dumps(run(_ansible_diff=True, _ansible_verbosity=4))
    (key,) = [path for path in (tmp_path / "upki").rglob("key.pem") if path.parent.name != "pending"]
    assert key.read_text().splitlines()[1] not in answer and "PRIVATE" not in answer


@pytest.mark.parametrize(
    "installing, requesting, words",
    [
        ({"certificates": [{"name": NAME, "starttls": "telnet"}]}, {}, ["install:", "starttls", "telnet"]),
        ({"wait": "soon"}, {}, ["install:", "wait"]),
        ({"certificates": None}, {}, ["install:", "certificates"]),
        ({"inbocks": []}, {}, ["install:", "inbocks"]),
        ({}, {"key_mode": "0666"}, ["request:", "key_mode", "0666"]),
        ({}, {"certificates": [{"software": "nginx"}]}, ["request:", "name"]),
        ({}, {"store": "/somewhere/else"}, ["/somewhere/else", "give both the same"]),
    ],
)
def test_options_are_checked_before_anything_is_made(run, tmp_path, installing, requesting, words):
    answer = run(installing, requesting)
    assert answer["failed"] is True and answer["reason_code"] == "options_invalid"
    assert [word for word in words if word not in answer["msg"]] == []
    assert not os.path.exists(str(tmp_path / "upki"))


def test_a_fault_of_the_requests_comes_with_what_became_of_the_installation(run):
    answer = run(request={"subject": dict(SUBJECT, organizational_unit="CS")})
    assert answer["failed"] is True and answer["reason_code"] == "invalid_request"
    assert [fault["code"] for fault in answer["faults"]] == [371]
    assert answer["install"]["certificates"][0]["state"] == "absent"

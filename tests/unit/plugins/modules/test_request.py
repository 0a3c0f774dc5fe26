# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible starts it: arguments as JSON on standard input, a result as JSON on standard output."""

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tsv, _tsv_set

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

CODE = (
    "import ansible.module_utils.basic as basic; basic._ANSIBLE_PROFILE = 'legacy'; "
    "from ansible_collections.campus.upki.plugins.modules import request; request.main()"
)
NAME = "www.example.ac.jp"
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
MANAGER = {"name": "電通花子", "affiliation": "情報基盤センター", "email": "hanako@example.ac.jp"}


@pytest.fixture
def run(tmp_path):
    def start(*certificates, **more):
        arguments = {"certificates": list(certificates), "subject": SUBJECT, "manager": MANAGER}
        arguments.update({"store": str(tmp_path / "upki"), "_ansible_remote_tmp": str(tmp_path)}, **more)
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode("utf-8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode("utf-8")
        return json.loads(done.stdout.decode("utf-8"))

    return start


def wanted(name=NAME, **more):
    return dict({"name": name, "software": "nginx", "key_type": "p384"}, **more)


def test_plan_make_and_leave_alone(run, tmp_path):
    planned = run(wanted(), _ansible_check_mode=True, _ansible_diff=True)
    assert planned["changed"] is True and planned["certificates"][0]["csr"] is None
    assert not os.path.exists(str(tmp_path / "upki"))
    made = run(wanted())
    again = run(wanted())
    assert (made["changed"], again["changed"]) == (True, False)
    assert made["certificates"][0]["record"] == again["certificates"][0]["record"]
    assert made["certificates"][0]["record"]["manager_name"] == "電通花子"


def test_no_key_leaves_the_module(run, tmp_path):
    answer = json.dumps(run(wanted(), _ansible_diff=True, _ansible_verbosity=4))
    found = [path for path in (tmp_path / "upki").rglob("key.pem") if path.parent.name != "pending"]
    assert len(found) == 1
    secret = found[0].read_text().splitlines()[1]
    assert secret not in answer and "PRIVATE" not in answer


def test_a_refusal_has_words_a_code_and_all_faults(run, tmp_path):
    answer = run(wanted("WWW.example.ac.jp"), wanted(software=None), subject=dict(SUBJECT, organizational_unit="CS"))
    assert answer["failed"] is True and answer["reason_code"] == "invalid_request"
    assert [fault["code"] for fault in answer["faults"]] == ["name_form", 201, 371]
    assert "OU" in answer["msg"] and "WWW.example.ac.jp" in answer["msg"]
    assert not os.path.exists(str(tmp_path / "upki"))


def test_warnings_name_the_certificate(run):
    run(wanted("b.example.ac.jp"))
    answer = run(wanted("b.example.ac.jp", dns_names=["c.example.ac.jp"]))
    assert any("b.example.ac.jp: " in str(warning) for warning in answer["warnings"])


def test_request_and_tsv_warn_of_a_name_in_the_same_words(run):
    answer = run(wanted("g00gle.example.ac.jp"))
    rows = _tsv.examine_set([row["record"] for row in answer["certificates"]])[0]
    (said,) = _tsv_set.warnings(_tsv_set.notes(rows))
    (warning,) = answer["warnings"]
    # A text with ansible-core up to 2.18, a structure that holds it since then.
    assert said in (warning if isinstance(warning, str) else warning["event"]["msg"])


def test_a_warning_about_the_whole_store_is_given_once(run, tmp_path):
    (tmp_path / "upki").mkdir()
    (tmp_path / "upki").chmod(0o777)
    answer = run(wanted(), wanted("b.example.ac.jp"))
    assert len([warning for warning in answer["warnings"] if "chmod" in str(warning)]) == 1


@pytest.mark.parametrize(
    "more",
    [{"key_mode": "0644"}, {"certificates": [wanted(key_type="rsa4096")]}, {"certificates": [{}]}, {"lead_time": "x"}],
)
def test_what_the_argument_specification_refuses(run, more):
    assert run(wanted(), **more)["failed"] is True

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible starts it: arguments as JSON on standard input, a result as JSON on standard output."""

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.tests.unit import records as make

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

# ansible-core 2.19 and later want to know how the arguments are serialized.
SCRIPT = (
    "import ansible.module_utils.basic as basic; basic._ANSIBLE_PROFILE = 'legacy'; "
    "import ansible_collections.campus.upki.plugins.modules.{0} as module; module.main()"
)


def start(name, folder, **arguments):
    arguments["_ansible_remote_tmp"] = str(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = process.communicate(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode("utf-8"))
    assert output, errors.decode("utf-8")
    return json.loads(output.decode("utf-8"))


@pytest.fixture
def play(tmp_path):
    def run(*records, **arguments):
        return start("tsv", tmp_path, records=list(records), dest=str(tmp_path / "outbox"), **arguments)

    return run


def written(tmp_path):
    return sorted(os.listdir(str(tmp_path / "outbox")))


def test_files_are_written_once(play, tmp_path):
    first = play(make.record(), make.record("server_revoke"))
    assert (first["changed"], [one["kind"] for one in first["files"]]) == (True, ["server_renew", "server_revoke"])
    assert len(written(tmp_path)) == 2
    assert "diff" not in first
    second = play(make.record(), make.record("server_revoke"))
    assert (second["changed"], [one["written"] for one in second["files"]]) == (False, [False, False])


def test_check_mode_predicts_the_real_run(play, tmp_path):
    predicted = play(make.record(), _ansible_check_mode=True, _ansible_diff=True)
    assert not (tmp_path / "outbox").exists()
    done = play(make.record(), _ansible_diff=True)
    assert predicted == done
    assert make.WWW in done["diff"][0]["after"]


def test_check_mode_takes_records_without_a_csr(play):
    found = play(make.record(csr=None), _ansible_check_mode=True)
    assert (found["changed"], found["files"][0]["sha256"]) == (True, None)
    assert play(make.record(csr=None))["failed"] is True


def test_one_fault_keeps_all_from_being_written(play, tmp_path):
    found = play(make.record(), make.record("server_revoke", reason=9, comment="髙"))
    assert found["failed"] is True
    assert [(row["code"], row["record"]) for row in found["faults"]] == [("reason", 2), (205, 2)]
    lines = found["msg"].split("\n")
    assert lines[0] == "2 faults in 1 of 2 records; nothing was written:"
    assert lines[2].startswith("205:2,失効理由コメント (reason comment),") and lines[2].endswith("Write 髙 → 高.")
    assert not (tmp_path / "outbox").exists()


def test_key_compromise_needs_its_option(play):
    assert play(make.record("server_revoke", reason=1))["faults"][0]["code"] == "key_compromise"
    assert play(make.record("server_revoke", reason=1), confirm_key_compromise=True)["changed"] is True


def test_known_keys(play):
    assert play(make.record(), known_keys=["zz"])["reason_code"] == "known_key_form"


def test_an_ou_is_refused_with_the_cas_number(play):
    subject = dict(make.SUBJECT, common_name=make.WWW, organizational_unit="Center")
    assert [row["code"] for row in play(make.record(subject=subject))["faults"]] == [371]


def test_notes_are_warnings(play):
    found = play(make.record(manager_name=None, dns_names=["g00gle.example.ac.jp"]))
    assert [row["code"] for row in found["notes"]] == ["manager_name_empty", "phishing_like"]
    assert len(found["warnings"]) == 2
    assert "g00gle" in str(found["warnings"][1])


def test_no_records_change_nothing(play, tmp_path):
    assert (play()["changed"], (tmp_path / "outbox").exists()) == (False, False)


def test_what_the_reader_returns_can_be_written(play, tmp_path):
    path = play(make.record())["files"][0]["path"]
    records = start("tsv_info", tmp_path, path=path)["records"]
    assert play(*records)["changed"] is False


def test_a_dest_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    found = start("tsv", tmp_path, records=[make.record()], dest=str(tmp_path / "file" / "outbox"))
    assert found["failed"] is True
    assert "file" in found["msg"] and "Traceback" not in found["msg"]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible starts it."""

import pytest
from ansible_collections.campus.upki.tests.unit import records as make
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.test_tsv import ten_faults
from ansible_collections.campus.upki.tests.unit.plugins.modules.test_tsv import start

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")


@pytest.fixture
def look(tmp_path):
    def run(data, name="application.tsv", **arguments):
        path = tmp_path / name
        path.write_bytes(data)
        return start("tsv_info", tmp_path, path=str(path), **arguments)

    return run


def test_a_correct_file(look):
    found = look(make.data(make.texts("server_issue")))
    assert (found["kind"], found["encoding"], found["faults"], found["notes"]) == ("server_issue", "shift_jis", [], [])
    assert (found["changed"], "msg" in found) == (False, False)
    assert found["records"][0]["manager_name"] == "電通太郎"


def test_ten_faults_give_ten_lines(look):
    data, wanted = ten_faults()
    found = look(data, kind="server_renew")
    assert "failed" not in found
    assert len(found["report"]) == len(found["msg"].split("\n")) - 1 == 10
    assert [row["code"] for row in found["faults"]] == [code for code, item, says in wanted]


def test_faults_fail_the_task_where_it_is_wanted(look):
    data = ten_faults()[0]
    found = look(data, fail_on_faults=True)
    assert (found["failed"], len(found["faults"])) == (True, 10)
    assert found["msg"].startswith("10 faults in 10 of 10 records; ")
    assert "failed" not in look(make.data(make.texts("server_issue")), fail_on_faults=True)


def test_the_name_says_the_kind(look):
    data = make.data(make.texts("acme_revoke"))
    assert look(data, "2026-11-22-acme_revoke-1.tsv")["kind"] == "acme_revoke"
    found = look(data)
    assert (found["kind"], [row["code"] for row in found["notes"]]) == ("server_revoke", ["kind_guessed"])
    assert len(found["warnings"]) == 1
    assert look(data, "2026-11-22-acme_revoke-1.tsv", kind="server_revoke")["kind"] == "server_revoke"


def test_another_extension(look):
    found = look(make.data(make.texts("server_issue")), "application.csv")
    assert [row["code"] for row in found["faults"]] == [209]


def test_an_empty_file(look):
    found = look(b"")
    assert ([row["code"] for row in found["faults"]], found["records"]) == ([213], [])


def test_a_missing_file_fails_with_the_cas_number(tmp_path):
    found = start("tsv_info", tmp_path, path=str(tmp_path / "none.tsv"))
    assert (found["failed"], found["reason_code"]) == (True, 208)


def test_a_folder_fails(tmp_path):
    found = start("tsv_info", tmp_path, path=str(tmp_path))
    assert (found["failed"], found["reason_code"]) == (True, "file_unreadable")


def test_what_is_no_tsv_at_all_is_no_tsv_file(look, tmp_path):
    with open(str(tmp_path / "big.tsv"), "wb") as handle:
        handle.truncate(17 * 1024 * 1024)
    found = start("tsv_info", tmp_path, path=str(tmp_path / "big.tsv"))
    assert (found["failed"], found["reason_code"]) == (True, "file_too_large")
    assert [row["code"] for row in look(b"\x89PNG\r\n\x1a\n\x00\x00")["faults"]]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a whole, run as Ansible runs it."""

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root", start=pki.NOW - pki.days(3000))
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME, start=pki.NOW - pki.days(900), end=pki.NOW + pki.days(2900))
KEY = pki.key("leaf " + NAME)


@pytest.fixture
def ca_file(tmp_path):
    path = tmp_path / "roots.pem"
    path.write_text(pki.pem(ROOT.certificate), encoding="ascii")
    return str(path)


def run(check=False, **arguments):
    payload = {"ANSIBLE_MODULE_ARGS": dict(arguments, _ansible_check_mode=check)}
    code = (
        "from ansible.module_utils.testing import patch_module_args\n"
        "import json, sys\n"
        "from ansible_collections.campus.upki.plugins.modules import verify\n"
        "with patch_module_args(json.load(sys.stdin)['ANSIBLE_MODULE_ARGS']):\n"
        "    verify.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(payload).encode("utf-8"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr.decode("utf-8", "replace")
    return json.loads(done.stdout.decode("utf-8"))


@pytest.mark.parametrize("check", [False, True])
def test_findings_fail_the_task_with_all_of_them(ca_file, check):
    with tls_zoo.tls([LEAF], KEY) as port:
        endpoint = {"host": "127.0.0.1", "port": port, "server_name": NAME}
        closed = {"host": "127.0.0.1", "port": tls_zoo.refusing_port()}
        answer = run(check, endpoints=[endpoint, closed], ca_file=ca_file)
    assert answer["failed"] is True and answer["changed"] is False and answer["reason_code"] == "findings"
    assert "chain_incomplete" in answer["msg"] and "connection_refused" in answer["msg"]
    assert [row["ok"] for row in answer["results"]] == [False, False]
    assert answer["counts"]["error"] == 2 and answer["summary"][-1] in answer["msg"]


@pytest.mark.parametrize("fail_on, failed", [("error", False), ("warning", True), ("never", False)])
def test_fail_on(ca_file, fail_on, failed):
    with tls_zoo.tls([LEAF, SUB.certificate, ROOT.certificate], KEY) as port:
        endpoint = {"host": "127.0.0.1:{0}".format(port), "server_name": NAME}
        answer = run(endpoints=[endpoint], ca_file=ca_file, fail_on=fail_on)
    codes = {row["code"] for row in answer["results"][0]["findings"]}
    assert codes == {"root_included", "lifetime_too_long"}
    assert answer.get("failed", False) is failed


@pytest.mark.parametrize(
    "arguments, word",
    [
        ({}, "endpoints"),
        ({"endpoints": [{"host": "a b"}]}, "host 'a b'"),
        ({"endpoints": [{"host": "a"}], "ca_file": "/nonexistent/roots.pem"}, "/nonexistent/roots.pem"),
        ({"endpoints": [{"host": "a"}], "warn_before": "soon"}, "warn_before 'soon'"),
        ({"endpoints": [{"host": "a"}], "timeout": 0}, "timeout"),
        ({"endpoints": [{"host": "a"}], "parallel": 0}, "parallel"),
        ({"endpoints": [{"host": "a"}], "retries": -1}, "retries"),
        ({"endpoints": [{"host": "a"}], "dns": True, "dns_server": "ns"}, "dns"),
    ],
)
def test_wrong_options(arguments, word):
    answer = run(**arguments)
    assert answer["failed"] is True and word in answer["msg"]


@pytest.mark.parametrize("check, written", [(False, ["r.json", "r.prom"]), (True, [])])
def test_reports(tmp_path, ca_file, check, written):
    folder = tmp_path / "reports"
    folder.mkdir()
    reports = [
        {"format": "json", "path": str(folder / "r.json")},
        {"format": "prometheus", "path": str(folder / "r.prom")},
    ]
    answer = run(check, endpoints=[{"host": "127.0.0.1", "port": 1}], ca_file=ca_file, reports=reports, fail_on="never")
    assert answer["changed"] is False and sorted(os.listdir(str(folder))) == written


def test_progress_and_table_are_no_matter_of_the_result(tmp_path, ca_file):
    path = tmp_path / "progress"
    rows = [{"host": "127.0.0.1", "port": tls_zoo.refusing_port()}] * 3
    answer = run(endpoints=rows, ca_file=ca_file, fail_on="never", progress_file=str(path), table=True)
    assert path.read_text() == "3 of 3 endpoints looked at"
    assert not {"table", "progress_file"} & set(answer)


def test_files(tmp_path, ca_file):
    path = tmp_path / "fullchain.pem"
    path.write_text(pki.pem(LEAF, SUB.certificate), encoding="ascii")
    answer = run(files=[{"path": str(path), "server_name": NAME}], ca_file=ca_file)
    assert answer["results"][0]["file"] == str(path)
    assert [row["code"] for row in answer["results"][0]["findings"]] == ["lifetime_too_long"]

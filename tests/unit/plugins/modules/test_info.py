# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible starts it: arguments as JSON on standard input, a result as JSON on standard output."""

import json
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.tests.unit.plugins.module_utils import store_helpers

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

CODE = (
    "import ansible.module_utils.basic as basic; basic._ANSIBLE_PROFILE = 'legacy'; "
    "from ansible_collections.campus.upki.plugins.modules import info; info.main()"
)


@pytest.fixture
def info(tmp_path):
    def start(**arguments):
        arguments.update({"store": str(tmp_path / "upki"), "_ansible_remote_tmp": str(tmp_path)})
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


def test_a_host_without_a_store(info):
    answer = info()
    assert (answer["changed"], answer["certificates"]) == (False, [])


def test_the_store_and_its_names(info, tmp_path):
    store_helpers.live_store(tmp_path / "upki")
    store_helpers.run(tmp_path / "upki", store_helpers.wanted("b.example.ac.jp"))
    assert [row["name"] for row in info()["certificates"]] == ["b.example.ac.jp", store_helpers.NAME]
    answer = info(names=["b.example.ac.jp"], query="ignored on the host", _ansible_check_mode=True)
    assert [row["state"] for row in answer["certificates"]] == ["pending"]
    assert answer["changed"] is False


def test_virtual_hosts_on_request(info, tmp_path, monkeypatch):
    nginx = tmp_path / "nginx"
    nginx.write_text(
        "#!/bin/sh\necho '# configuration file /n:'\necho 'server { listen 443 ssl; server_name a.example; }'\n"
    )
    nginx.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "discovered" not in info()
    found = info(discover=True)["discovered"]["endpoints"]
    assert {"name": "a.example", "endpoint": "127.0.0.1:443", "server": "nginx", "file": "/n"} in found


def test_what_is_wrong_becomes_a_warning_with_its_remedy(info, tmp_path):
    live = store_helpers.live_store(tmp_path / "upki")
    (tmp_path / "upki" / store_helpers.NAME / "generations" / live.id / "key.pem").unlink()
    answer = info()
    assert answer["certificates"][0]["problems"][0]["code"] == "generation_incomplete"
    assert any("key.pem" in str(one) and "backup" in str(one) for one in answer["warnings"])


def test_a_store_that_is_no_folder(info, tmp_path):
    (tmp_path / "upki").write_text("")
    answer = info()
    assert answer["failed"] is True and answer["reason_code"] == "store_io"

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a whole, run as Ansible runs it."""

import json
import subprocess
import sys

import pytest
from ansible_collections.campus.upki.tests.unit import pki

pytest.importorskip("ansible.module_utils.basic", reason="ansible-core is not installed for this Python")

NAME = "www.example.ac.jp"
CODE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.campus.upki.plugins.modules import install
with patch_module_args(json.load(sys.stdin)):
    install.main()
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


def test_an_empty_store_is_a_state_and_no_failure(tmp_path):
    result = run(certificates=[{"name": NAME}], store=str(tmp_path / "store"))
    assert result["changed"] is False
    assert result["certificates"][0]["state"] == "absent"


def test_a_refusal_has_words_and_a_code(tmp_path):
    result = run(certificates=[{"name": NAME, "server": "lighttpd"}], store=str(tmp_path / "store"))
    assert result["failed"] is True
    assert result["reason_code"] == "server_unknown"
    assert "lighttpd" in result["msg"]


def test_check_mode_makes_not_even_the_store(tmp_path):
    result = run(certificates=[{"name": NAME}], store=str(tmp_path / "store"), _ansible_check_mode=True)
    assert result["changed"] is False
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("wrong", [{"starttls": "telnet"}, {"port": 443}])
def test_options_are_checked(tmp_path, wrong):
    result = run(certificates=[dict({"name": NAME}, **wrong)], store=str(tmp_path / "store"))
    assert result["failed"] is True


def test_a_warning_reaches_the_operator(tmp_path):
    ca = pki.CA("Module CA")
    from ansible_collections.campus.upki.plugins.module_utils import _x509
    from ansible_collections.campus.upki.plugins.module_utils._store import Store

    key = pki.new_key()
    meta = {"created": "2026-11-22T00:00:00Z", "spki_sha256": _x509.spki_sha256(key.public_key())}
    slot = Store(str(tmp_path / "store")).certificate(NAME)
    generation = slot.add_generation(pki.key_pem(key), pki.pem(pki.csr(key, NAME)), meta)
    leaf = ca.issue(NAME, key.public_key(), end=pki.NOW + pki.days(3000))
    slot.complete(generation, pki.pem(leaf), "")
    slot.flip(generation)
    slot.clear_pending()
    result = run(
        certificates=[{"name": NAME, "server": "web", "endpoint": "127.0.0.1:1"}],
        servers={"web": {"reload": ["true"]}},
        store=str(tmp_path / "store"),
    )
    assert result["certificates"][0]["state"] == "live"
    assert "127.0.0.1:1" in str(result["warnings"])

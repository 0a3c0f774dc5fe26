# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook campus.upki.verify against a TLS server and a store, before and after a renewal."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import threading
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.integration import playbooks
from ansible_collections.campus.upki.tests.integration.servers import NAME, Issuer, now
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

pytestmark = pytest.mark.skipif(shutil.which("ansible-playbook") is None, reason="ansible-playbook is not installed")


@pytest.fixture
def issuer(tmp_path: pathlib.Path) -> Issuer:
    return Issuer(tmp_path)


def put_live(issuer: Issuer, **dates: Any) -> tuple[list[Any], Any]:
    """A further generation put live, as (chain, key) of a server that loads it."""
    leaf = issuer.issue(issuer.request(), **dates)
    issuer.install({"name": NAME})
    live = issuer.store.certificate(NAME).live
    assert live is not None
    with open(live.key_path, "rb") as stream:
        key = tls_zoo.load_key(stream.read())
    return [leaf, issuer.inter.certificate], key


def inventory_of(issuer: Issuer, port: int, hosts: tuple[str, ...] = ("web1",), **variables: object) -> str:
    inventory = issuer.path / "inventory.json"
    settings = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "upki_certificates": [{"name": NAME, "endpoint": f"127.0.0.1:{port}", "key_type": "p384"}],
        "upki_store": issuer.store.path,
        "upki_intermediates": [str(issuer.path / "intermediates")],
        "upki_roots": [str(issuer.path / "roots")],
        **variables,
    }
    inventory.write_text(json.dumps({"upki": {"hosts": dict.fromkeys(hosts, settings)}}), encoding="utf-8")
    return str(inventory)


def verify(issuer: Issuer, port: int, *options: str, **variables: object) -> tuple[int, str]:
    inventory = inventory_of(issuer, port, ("web1",), **variables)
    words = ["-i", inventory, "campus.upki.verify", *options]
    return playbooks.playbook(issuer.path, *words, ANSIBLE_CALLBACK_RESULT_FORMAT="yaml")


@pytest.mark.parametrize("options", [(), ("--check",)], ids=["run", "check"])
def test_all_is_well(issuer: Issuer, options: tuple[str, ...]) -> None:
    chain, key = put_live(issuer)
    with tls_zoo.tls(chain, key) as port:
        status, output = verify(issuer, port, *options)
    assert status == 0, output
    assert "All is well: 1 endpoint looked at, nothing to do." in output
    assert "changed=0" in output


def test_after_a_renewal_the_manager_is_told_what_remains(issuer: Issuer) -> None:
    old, _key = put_live(issuer)
    chain, key = put_live(issuer)
    with tls_zoo.tls(chain, key) as port:
        status, output = verify(issuer, port)
    assert status == 0, output
    assert f"Tell the IT centre that {NAME} has been replaced" in " ".join(output.split())
    assert str(old[0].serial_number) in output and str(chain[0].serial_number) not in output


def test_a_server_that_was_not_reloaded(issuer: Issuer) -> None:
    old, old_key = put_live(issuer)
    put_live(issuer)
    with tls_zoo.tls(old, old_key) as port:
        status, output = verify(issuer, port)
        lenient, _output = verify(issuer, port, upki_verify_fail_on="never")
    assert status != 0 and "unexpected_certificate" in output and "Reload the server" in output
    assert "Tell the IT centre" not in output
    assert lenient == 0


UNCHECKED = """- hosts: upki
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: campus.upki.verify
        rolespec_validate: false
"""


@pytest.mark.parametrize(
    ("fail_on", "good"), [("error", True), ("never", True), ("warning", False), ("warn", False)], ids=lambda part: part
)
def test_which_severity_fails_also_where_the_role_s_arguments_are_not_checked(
    issuer: Issuer, fail_on: str, good: bool
) -> None:
    chain, key = put_live(issuer, start=now() - pki.days(190), end=now() + pki.days(7.5))  # a warning and no error
    (issuer.path / "unchecked.yml").write_text(UNCHECKED)
    with tls_zoo.tls(chain, key) as port:
        inventory = inventory_of(issuer, port, ("web1",), upki_verify_fail_on=fail_on)
        status, output = playbooks.playbook(issuer.path, "-i", inventory, "unchecked.yml")
    assert (status == 0) is good, output
    assert ("upki_verify_fail_on is 'warn'; it must be" in output) is (fail_on == "warn"), output


def test_a_missing_intermediate_is_named_by_its_file(issuer: Issuer) -> None:
    chain, key = put_live(issuer)
    with tls_zoo.tls(chain[:1], key) as port:
        status, output = verify(issuer, port)
    assert status != 0 and "chain_incomplete" in output
    assert str(issuer.path / "intermediates" / "ca.cer") in output


def test_virtual_hosts_that_the_inventory_does_not_name(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, key = put_live(issuer)
    with tls_zoo.tls(chain, key) as port:
        nginx = issuer.path / "nginx"
        nginx.write_text(
            "#!/bin/sh\necho '# configuration file /n:'\n"
            f"echo 'server {{ listen 127.0.0.1:{port} ssl; server_name {NAME} other.example.ac.jp; }}'\n"
        )
        nginx.chmod(0o755)
        monkeypatch.setenv("PATH", str(issuer.path), prepend=os.pathsep)
        status, output = verify(issuer, port, upki_verify_discover=True)
    assert status != 0 and "2 endpoints looked at" in output, output
    assert "name_mismatch" in output and "other.example.ac.jp" in output


def test_after_adoption_the_manager_is_told_of_the_certificate_from_before(issuer: Issuer) -> None:
    """The first certificate of the store took the place of one that somebody set up by hand."""
    chain, key = put_live(issuer)
    live = issuer.store.certificate(NAME).live
    assert live is not None
    path = pathlib.Path(live.path) / "request.json"
    before = {"serial": "4711", "not_after": "2099-01-01T00:00:00Z", "generation": None, "source": "/etc/ssl/a.pem"}
    path.write_text(json.dumps({**live.meta, "replaces": before}), encoding="utf-8")
    with tls_zoo.tls(chain, key) as port:
        status, output = verify(issuer, port)
    assert status == 0, output
    assert "old certificate with serial 4711 (valid until 2099-01-01)" in " ".join(output.split())


# --- the table and the progress of long runs -----------------------------------------------------------------

COLOUR = "\x1b["


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What a command prints on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    pieces = []
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 65536):
            pieces.append(piece)
    os.close(ours)
    process.wait(120)
    return b"".join(pieces).decode("utf-8", "replace")


def table_of(output: str) -> list[str]:
    """The lines of the table, from its headings on."""
    lines = output.replace("\r", "").split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("  state  days  until"))
    return lines[start : start + 2]


@pytest.mark.parametrize(
    ("terminal", "setting", "coloured"),
    [
        (True, {}, True),
        (True, {"ANSIBLE_NOCOLOR": "1"}, False),
        (True, {"NO_COLOR": "1"}, False),
        (False, {}, False),
        (False, {"ANSIBLE_FORCE_COLOR": "1"}, True),
    ],
    ids=["terminal", "terminal without colour", "NO_COLOR", "file", "file with colour"],
)
def test_colour_is_for_terminals(issuer: Issuer, terminal: bool, setting: dict[str, str], coloured: bool) -> None:
    chain, key = put_live(issuer)
    # Ansible knows NO_COLOR as well, and whoever runs these tests may have set it.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_") and name != "NO_COLOR"
    }
    environment |= {name: value for name, value in os.environ.items() if name == "ANSIBLE_COLLECTIONS_PATH"}
    environment |= {"TERM": "xterm-256color", "ANSIBLE_LOG_PATH": str(issuer.path / "log"), **setting}
    report = issuer.path / "report.csv"
    with tls_zoo.tls(chain, key) as port:
        inventory = inventory_of(issuer, port, upki_verify_reports=[{"format": "csv", "path": str(report)}])
        command = ["ansible-playbook", "-i", inventory, "campus.upki.verify"]
        if terminal:
            output = on_a_terminal(command, environment)
        else:
            output = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
            ).stdout
    headings, row = table_of(output)
    assert "well" in row and f"{NAME} (127.0.0.1:{port})" in row
    assert (COLOUR in row) is coloured and COLOUR not in headings
    assert COLOUR not in report.read_text() and COLOUR not in (issuer.path / "log").read_text()
    assert "verify, web1:" in (issuer.path / "log").read_text()


def test_a_json_callback_s_output_stays_json(issuer: Issuer) -> None:
    chain, key = put_live(issuer)
    callback = issuer.path / "callbacks"
    callback.mkdir()
    (callback / "somejson.py").write_text(
        "DOCUMENTATION = 'name: somejson\\ntype: stdout\\nshort_description: x\\ndescription: x'\n"
        "from ansible.plugins.callback import CallbackBase\n"
        "class CallbackModule(CallbackBase):\n"
        "    CALLBACK_TYPE, CALLBACK_NAME, CALLBACK_VERSION = 'stdout', 'somejson', 2.0\n"
        "    def v2_playbook_on_stats(self, stats):\n"
        "        self._display.display('{}')\n"
    )
    with tls_zoo.tls(chain, key) as port:
        done = subprocess.run(
            ["ansible-playbook", "-i", inventory_of(issuer, port), "campus.upki.verify"],
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "somejson", "ANSIBLE_CALLBACK_PLUGINS": str(callback)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == {}


def test_a_long_run_says_how_far_it_is(issuer: Issuer) -> None:
    """Two hosts at the same time, each with an endpoint that is silent for longer than ten seconds."""
    chain, key = put_live(issuer)
    stop = threading.Event()
    with tls_zoo.tls(chain, key) as port, tls_zoo.silent(stop, 20) as silent:
        inventory = inventory_of(
            issuer,
            port,
            ("web1", "web2"),
            upki_verify_endpoints=[{"host": "127.0.0.1", "port": silent, "server_name": NAME}],
            upki_verify_timeout=12,
            upki_verify_fail_on="never",
        )
        done = subprocess.run(
            ["ansible-playbook", "-i", inventory, "campus.upki.verify"],
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        stop.set()
    lines = [line for line in done.stderr.splitlines() if line.startswith("verify, ")]
    assert sorted(line.rpartition(" (")[0] for line in lines) == [
        f"verify, {host}: 1 of 2 endpoints looked at" for host in ("web1", "web2")
    ], done.stderr
    assert "endpoints looked at (" not in done.stdout and done.stdout.count("  state  days  until") == 2


TWICE = """- hosts: upki
  gather_facts: false
  tasks:
    - campus.upki.verify: &look
        endpoints: [{host: 127.0.0.1, port: '{{ port }}', server_name: "{{ name }}", dns_names: [other.example.ac.jp]}]
        ca_file: "{{ upki_roots[0] }}"
        intermediates: "{{ upki_intermediates }}"
        fail_on: warning
        query: results[].findings[].code
      register: here
      ignore_errors: true
    - campus.upki.verify: *look
      environment:
        PROCESS: its own
      register: module
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ {'here': here, 'module': module} | to_json }}"
        dest: "{{ playbook_dir }}/seen.json"
        mode: "0600"
"""


def test_in_ansibles_worker_the_result_is_that_of_the_module(issuer: Issuer) -> None:
    chain, key = put_live(issuer)
    (issuer.path / "twice.yml").write_text(TWICE)
    with tls_zoo.tls(chain, key) as port:
        status, output = playbooks.playbook(
            issuer.path, "-i", inventory_of(issuer, port), "-e", json.dumps({"port": port, "name": NAME}), "twice.yml"
        )
    assert status == 0, output
    said = json.loads((issuer.path / "seen.json").read_text())
    here, module = said["here"], said["module"]
    for result in (here, module):
        assert result["query_result"] == ["names_missing"] and result["failed"] is True, output
    for word in ("results", "counts", "summary", "next_steps", "msg", "reason_code", "changed"):
        assert here[word] == module[word], word

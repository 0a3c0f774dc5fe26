# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles on plays that are not the ordinary ones; everything happens on this machine, in a temporary folder."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

HOSTS = ("web1", "web2", "web3")
VARIABLES = {
    "upki_subject": {"organization": "Example University", "state": "Tokyo", "locality": "Chiyoda-ku"},
    "upki_manager": {"name": "Hanako", "affiliation": "IT centre", "email": "hanako@example.ac.jp"},
    "upki_certificates": [{"name": "{{ inventory_hostname }}.example.ac.jp", "software": "nginx"}],
}


def play(folder: pathlib.Path, tasks: list[dict[str, Any]], extra: dict[str, Any] | None = None, **more: Any) -> str:
    """The output of a playbook on three hosts that are all this machine."""
    hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable} for name in HOSTS}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks, **more}]))
    extra = {**VARIABLES, **(extra or {})}
    paths = {"upki_store": f"{folder}/store/{{{{ inventory_hostname }}}}", "upki_outbox": f"{folder}/outbox"}
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventory.json", "-e", json.dumps({**extra, **paths}), "play.yml"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    return done.stdout


def lines(folder: pathlib.Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in (folder / "outbox").glob("*.tsv"))


def test_a_condition_that_leaves_out_the_first_host_loses_no_application(tmp_path: pathlib.Path) -> None:
    role = {"import_role": {"name": "campus.upki.request"}, "when": "inventory_hostname != 'web1'"}
    output = play(tmp_path, [role])
    assert "failed=1" not in output, output
    assert lines(tmp_path) == 2, output
    assert "changed=1" not in play(tmp_path, [role])
    assert lines(tmp_path) == 2


def test_nor_in_batches_and_all_hosts_write_one_file(tmp_path: pathlib.Path) -> None:
    role = {"import_role": {"name": "campus.upki.request"}, "when": "inventory_hostname != 'web1'"}
    play(tmp_path, [role], serial=1)
    assert lines(tmp_path) == 2
    output = play(tmp_path, [{"import_role": {"name": "campus.upki.request"}}])
    assert lines(tmp_path) == 3, output


def test_an_apache_whose_modules_cannot_be_switched_on_says_so(tmp_path: pathlib.Path) -> None:
    layout = {"config_dir": str(tmp_path), "test": ["true"], "reload": ["true"], "modules": ["no_such_module"]}
    role = {"include_role": {"name": "campus.upki.apache", "tasks_from": "vhosts.yml"}}
    output = play(tmp_path, [role], {"upki_apache_layout": layout, "upki_apache_live": [{"name": "www.example.ac.jp"}]})
    assert "Switch on Apache's TLS modules: " in output, output
    assert "One or more items failed The former" not in output
    assert "'upki_apache_file' is undefined" not in output
    assert not (tmp_path / "upki.conf").exists()

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


def play(
    folder: pathlib.Path,
    tasks: list[dict[str, Any]],
    extra: dict[str, Any] | None = None,
    hosts: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> str:
    """The output of a playbook on three hosts that are all this machine."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = hosts or dict.fromkeys(HOSTS, local)
    folder.mkdir(exist_ok=True)
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks, **more}]))
    known = {key: value for key, value in VARIABLES.items() if not any(key in row for row in hosts.values())}
    extra = {**known, **(extra or {})}
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


def same_name(folder: pathlib.Path, **more: Any) -> str:
    """The role on three hosts whose inventory names one FQDN twice."""
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "upki_certificates": [{"name": f"{fqdn}.example.ac.jp", "software": "nginx", **extra}],
        }
        for name, fqdn, extra in (("web1", "www", {}), ("web2", "www", more.pop("second", {})), ("web3", "wiki", {}))
    }
    return play(folder, [{"import_role": {"name": "campus.upki.request"}}], more, hosts=hosts)


def test_two_hosts_that_ask_for_one_name_are_refused_before_a_key_is_made(tmp_path: pathlib.Path) -> None:
    output = same_name(tmp_path)
    assert "www.example.ac.jp (web1, web2)" in output, output
    assert "wiki.example.ac.jp (" not in output and "upki_shared_names" in output
    assert not (tmp_path / "store").exists() and not (tmp_path / "outbox").exists()


def test_a_name_given_up_on_one_host_or_shared_on_purpose_is_not_refused(tmp_path: pathlib.Path) -> None:
    output = same_name(tmp_path / "moved", second={"state": "cancelled"})
    assert lines(tmp_path / "moved") == 2, output
    output = same_name(tmp_path / "shared", upki_shared_names=["www.example.ac.jp"])
    assert len(list((tmp_path / "shared" / "store").glob("*/www.example.ac.jp"))) == 2, output


def test_a_daily_run_without_hosts_says_so(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": {"upki": {}}}}))
    done = subprocess.run(
        ["ansible-playbook", "-i", "hosts.json", "campus.upki.renew"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "WARNING: no host of this inventory is in 'upki'" in done.stdout, done.stdout


def test_an_apache_whose_modules_cannot_be_switched_on_says_so(tmp_path: pathlib.Path) -> None:
    layout = {"config_dir": str(tmp_path), "test": ["true"], "reload": ["true"], "modules": ["no_such_module"]}
    role = {"include_role": {"name": "campus.upki.apache", "tasks_from": "vhosts.yml"}}
    output = play(tmp_path, [role], {"upki_apache_layout": layout, "upki_apache_live": [{"name": "www.example.ac.jp"}]})
    assert "Switch on Apache's TLS modules: " in output, output
    assert "One or more items failed The former" not in output
    assert "'upki_apache_file' is undefined" not in output
    assert not (tmp_path / "upki.conf").exists()

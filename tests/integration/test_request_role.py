# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role request and the daily run say before anything is made; the hosts are this machine."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.integration import playbooks

VARIABLES = {
    "upki_subject": {"organization": "Example University", "state": "Tokyo", "locality": "Chiyoda-ku"},
    "upki_manager": {"name": "Hanako", "affiliation": "IT centre", "email": "hanako@example.ac.jp"},
}


def play(folder: pathlib.Path, playbook: str, hosts: dict[str, dict[str, Any]], **extra: Any) -> str:
    folder.mkdir(exist_ok=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    group = {"hosts": {name: {**local, **variables} for name, variables in hosts.items()}}
    (folder / "inventory.json").write_text(json.dumps({"all": {"children": {"upki": group}}}))
    paths = {"upki_store": f"{folder}/store/{{{{ inventory_hostname }}}}", "upki_outbox": f"{folder}/outbox"}
    extra = {**VARIABLES, **paths, **extra}
    return playbooks.playbook(folder, "-i", "inventory.json", "-e", json.dumps(extra), playbook)[1]


def same_name(folder: pathlib.Path, second: dict[str, str] | None = None, **extra: Any) -> str:
    """A request for three hosts whose inventory names one FQDN twice."""
    names = {"web1": ("www", {}), "web2": ("www", second or {}), "web3": ("wiki", {})}
    hosts = {
        host: {"upki_certificates": [{"name": f"{name}.example.ac.jp", "software": "nginx", **more}]}
        for host, (name, more) in names.items()
    }
    return play(folder, "campus.upki.request", hosts, **extra)


def test_two_hosts_that_ask_for_one_name_are_refused_before_a_key_is_made(tmp_path: pathlib.Path) -> None:
    output = same_name(tmp_path)
    assert "www.example.ac.jp (web1, web2)" in output, output
    assert "wiki.example.ac.jp (" not in output and "upki_shared_names" in output
    assert not (tmp_path / "store").exists() and not (tmp_path / "outbox").exists()


def test_a_name_given_up_on_one_host_is_free_for_another(tmp_path: pathlib.Path) -> None:
    output = same_name(tmp_path, second={"state": "cancelled"})
    rows = [row for path in (tmp_path / "outbox").glob("*.tsv") for row in path.read_bytes().splitlines()]
    assert len(rows) == 2, output


def test_a_name_may_be_shared_on_purpose(tmp_path: pathlib.Path) -> None:
    output = same_name(tmp_path, upki_shared_names=["www.example.ac.jp"])
    assert len(list((tmp_path / "store").glob("*/www.example.ac.jp"))) == 2, output


def test_a_daily_run_without_hosts_says_so(tmp_path: pathlib.Path) -> None:
    output = play(tmp_path, "campus.upki.renew", {})
    assert "WARNING: no host of this inventory is in 'upki'" in output, output
    assert "failed=0" in output


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_under_any_strategy_the_fleet_has_one_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", strategy)
    monkeypatch.setenv("ANSIBLE_FORKS", "1")  # one host after the other
    hosts = {
        host: {"upki_certificates": [{"name": f"{host}.example.ac.jp", "software": "nginx"}]}
        for host in ("web1", "web2", "web3")
    }
    output = play(tmp_path, "campus.upki.request", hosts)
    (file,) = (tmp_path / "outbox").glob("*.tsv")
    assert len(file.read_bytes().splitlines()) == 3, output
    assert output.count("New, mail it to the IT centre") == 1, output

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/how-to/awx.md with its own playbook: outbox and inbox on a managed host, a controller that is thrown away."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import sys
from typing import Any

import pytest
import yaml
from ansible_collections.campus.upki.tests.integration import playbooks

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "how-to" / "awx.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)


def blocks(first_line: str) -> list[str]:
    """The page's YAML blocks that begin with this line."""
    return [text for text in BLOCK.findall(PAGE.read_text()) if text.startswith(first_line)]


@pytest.fixture
def renew(tmp_path: pathlib.Path) -> str:
    """renew.yml with the play in front and the play at its end, its folders below tmp_path."""
    _short, whole = blocks("# renew.yml\n")
    (end,) = blocks("# renew.yml, at the end\n")
    return (whole + end).replace("/srv/upki", str(tmp_path / "admin"))


def job(folder: pathlib.Path, renew: str, *options: str, playbook: str = "renew.yml") -> str:
    """One job: a new copy of the project, which is gone afterwards. Its output."""
    place = folder / "container"
    place.mkdir()
    (variables,) = [text for text in blocks("# group_vars/upki.yml\n") if "upki_outbox_host" in text]
    (place / "renew.yml").write_text(f"---\n{renew}")
    (place / "group_vars").mkdir()
    (place / "group_vars" / "upki.yml").write_text(variables.replace("/srv/upki", str(folder / "admin")))
    host: dict[str, Any] = {
        "upki_certificates": [{"name": "www.example.ac.jp", "key_type": "p384", "software": "nginx"}],
        "upki_store": str(folder / "web1"),
        "upki_subject": {"organization": "Example University", "state": "Tokyo", "locality": "Chiyoda-ku"},
        "upki_manager": {"name": "Hanako", "affiliation": "IT centre", "email": "hanako@example.ac.jp"},
        "upki_intermediates": [str(folder / "ca" / "repository")],
        "upki_roots": [str(folder / "ca" / "roots")],
        "upki_verify_fail_on": "never",  # nothing serves here
        "upki_verify_timeout": 1,
    }
    (place / "hosts.json").write_text(json.dumps({"upki": {"hosts": {"web1": host}}}))
    words = ["-i", "hosts.json", "--connection", "local", *options, playbook]
    environment = {"ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_SHOW_CUSTOM_STATS": "1", "PWD": str(place)}
    status, output = playbooks.playbook(place, *words, **environment)
    shutil.rmtree(place)
    assert status == 0, output
    return output


def test_outbox_and_inbox_on_a_managed_host_outlive_the_jobs(tmp_path: pathlib.Path, renew: str) -> None:
    for part in ("inbox", "outbox"):
        (tmp_path / "admin" / part).mkdir(parents=True)
    practice = {"upki_practice_ca_path": str(tmp_path / "ca"), "upki_inbox": [str(tmp_path / "admin" / "inbox")]}
    issue = ["-e", json.dumps({**practice, "upki_outbox": str(tmp_path / "admin" / "outbox")})]
    job(tmp_path, renew, *issue, playbook="campus.upki.practice_ca")

    first = job(tmp_path, renew)
    (file,) = (tmp_path / "admin" / "outbox").glob("*.tsv")
    assert str(file) in first.partition("CUSTOM STATS")[2], first
    again = job(tmp_path, renew)
    assert "changed=1" not in again and len(list(file.parent.glob("*.tsv"))) == 1
    assert str(file) not in again.partition("CUSTOM STATS")[2], again

    job(tmp_path, renew, *issue, playbook="campus.upki.practice_ca")
    assert not (tmp_path / "web1" / "www.example.ac.jp" / "live").exists()
    job(tmp_path, renew, "--check")
    assert not (tmp_path / "web1" / "www.example.ac.jp" / "live").exists()
    job(tmp_path, renew)
    assert (tmp_path / "web1" / "www.example.ac.jp" / "live" / "fullchain.pem").exists()


def test_every_block_of_the_page_is_yaml() -> None:
    found = BLOCK.findall(PAGE.read_text())
    assert len(found) > 6 and all(yaml.safe_load(text) for text in found)


def test_what_the_collection_says_of_its_needs_can_be_read_by_ansible_builder() -> None:
    """Paths relative to the collection, and requirements that are those of the run."""
    facts = yaml.safe_load((CHECKOUT / "meta" / "execution-environment.yml").read_text())["dependencies"]
    lines = {
        kind: [line for line in (CHECKOUT / facts[kind]).read_text().splitlines() if line and not line.startswith("#")]
        for kind in ("python", "system")
    }
    needed = {re.split("[=<>;]", line)[0] for line in lines["python"]}
    run = (CHECKOUT / "requirements" / "run.txt").read_text()
    assert {"cryptography", "jmespath"} <= needed and all(name in run for name in needed - {"dnspython"})
    assert all(re.fullmatch(r"[a-z-]+ \[platform:(rpm|dpkg)\]", line) for line in lines["system"])
    packed = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())["build_ignore"]
    assert not any(facts[kind].startswith(tuple(packed)) for kind in facts)

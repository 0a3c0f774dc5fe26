# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/how-to/awx.md with its own playbook: outbox and inbox on a managed host, a controller that is thrown away."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import shutil
import sys
from typing import Any

import pytest
import yaml
from ansible_collections.campus.upki.tests.integration import awx_page, playbooks
from ansible_collections.campus.upki.tests.integration.awx_page import BLOCK, CHECKOUT, PAGE, blocks
from packaging.requirements import Requirement

builder = pytest.mark.skipif(
    importlib.util.find_spec("ansible_builder") is None, reason="ansible-builder is not installed for this Python"
)


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
    (place / "renew.yml").write_text(f"---\n{renew}")
    awx_page.variables(place, "upki_outbox_host", {"/srv/upki": str(folder / "admin")})
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
    (place / "inventory" / "hosts.json").write_text(json.dumps({"upki": {"hosts": {"web1": host}}}))
    words = ["-i", "inventory", "--connection", "local", *options, playbook]
    environment = {"ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_SHOW_CUSTOM_STATS": "1", "PWD": str(place)}
    status, output = playbooks.playbook(place, *words, **environment)
    shutil.rmtree(place)
    assert status == 0, output
    return output


def changed(output: str) -> int:
    """How many changes the recap counts, over all hosts; there is a recap."""
    counts = re.findall(r"\bchanged=(\d+)", output.partition("PLAY RECAP")[2])
    assert counts, output
    return sum(map(int, counts))


def test_outbox_and_inbox_on_a_managed_host_outlive_the_jobs(tmp_path: pathlib.Path, renew: str) -> None:
    for part in ("inbox", "outbox"):
        (tmp_path / "admin" / part).mkdir(parents=True)
    practice = {"upki_practice_ca_path": str(tmp_path / "ca"), "upki_inbox": [str(tmp_path / "admin" / "inbox")]}
    issue = ["-e", json.dumps({**practice, "upki_outbox": str(tmp_path / "admin" / "outbox")})]
    job(tmp_path, renew, *issue, playbook="campus.upki.practice_ca")

    first = job(tmp_path, renew)
    assert changed(first), first
    (file,) = (tmp_path / "admin" / "outbox").glob("*.tsv")
    assert str(file) in first.partition("CUSTOM STATS")[2], first
    again = job(tmp_path, renew)
    assert not changed(again) and list(file.parent.glob("*.tsv")) == [file], again
    assert str(file) not in again.partition("CUSTOM STATS")[2], again

    job(tmp_path, renew, *issue, playbook="campus.upki.practice_ca")
    assert not (tmp_path / "web1" / "www.example.ac.jp" / "live").exists()
    job(tmp_path, renew, "--check")
    assert not (tmp_path / "web1" / "www.example.ac.jp" / "live").exists()
    assert changed(job(tmp_path, renew))
    assert (tmp_path / "web1" / "www.example.ac.jp" / "live" / "fullchain.pem").exists()


def test_every_block_of_the_page_is_yaml() -> None:
    found = BLOCK.findall(PAGE.read_text())
    assert len(found) > 6 and all(yaml.safe_load(text) for text in found)


@builder
@pytest.mark.parametrize("which", awx_page.definitions())
def test_ansible_builder_makes_a_build_context_of_what_the_page_shows(tmp_path: pathlib.Path, which: str) -> None:
    definition = awx_page.definitions()[which]
    context = awx_page.create(tmp_path / "ee", definition)
    recipe = (context / "Containerfile").read_text()
    needed = definition["dependencies"]
    assert yaml.safe_load((context / "_build" / "requirements.yml").read_text()) == needed["galaxy"]
    assert f'ARG EE_BASE_IMAGE="{definition["images"]["base_image"]["name"]}"\n' in recipe
    assert "collection install $ANSIBLE_GALAXY_CLI_COLLECTION_OPTS -r requirements.yml" in recipe

    own = ['ARG PYCMD="/usr/bin/python3.12"\n', 'ARG ANSIBLE_INSTALL_REFS="ansible-core>=2.16 ansible-runner"\n']
    assert [line in recipe for line in own] == [which.startswith("stream9")] * 2

    (source,) = [entry["name"] for entry in needed["galaxy"]["collections"]]
    if "tarball" in which:
        packed = context / "_build" / pathlib.Path(source).relative_to("/build")
        assert packed.read_bytes() == awx_page.tarball().read_bytes()
        assert "COPY _build/tarballs/ /build/tarballs/\n" in recipe
    else:
        assert source == "campus.upki"


@builder
def test_ansible_builder_finds_what_the_installed_collection_needs(tmp_path: pathlib.Path) -> None:
    """Read from the collection as its tarball brings it; what is listed is what the run is pinned to."""
    from bindep.depends import Depends  # comes with ansible-builder

    words = ["introspect", os.environ["ANSIBLE_COLLECTIONS_PATH"], "--write-pip=pip.txt", "--write-bindep=bindep.txt"]
    status, output = playbooks.command(tmp_path, "ansible-builder", *words)
    assert status == 0, output
    python = [Requirement(line.partition("#")[0]).name for line in (tmp_path / "pip.txt").read_text().splitlines()]
    assert sorted(python) == ["cryptography", "dnspython", "jmespath"]
    # dnspython is for those who want it, so the run is not pinned to it.
    pinned = (CHECKOUT / "requirements" / "run.txt").read_text()
    assert all(f"\n{name}==" in pinned for name in python if name != "dnspython")
    system = Depends((tmp_path / "bindep.txt").read_text())
    assert {kind: [row[0] for row in system.active_rules([f"platform:{kind}"])] for kind in ("rpm", "dpkg")} == {
        "rpm": ["openssh-clients"],
        "dpkg": ["openssh-client"],
    }

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""install and handoff through Ansible itself: one exchange with the host, and no trace of a key anywhere."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils._store import Generation
from ansible_collections.campus.upki.tests.integration import playbooks, servers
from ansible_collections.campus.upki.tests.unit import pki

ANSIBLE = shutil.which("ansible", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
NAME = servers.NAME
COLLECTION = "ansible_collections/campus/upki"

pytestmark = pytest.mark.skipif(ANSIBLE is None, reason="no ansible command here")


class Controller:
    """Ad hoc runs against this machine, with every word that Ansible can say."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, self.said, self.last = path, "", ""
        self.log = path / "ansible.log"
        self.collections = next(folder for folder in sys.path if pathlib.Path(folder, COLLECTION).is_dir())

    def run(self, module: str, *options: str, **arguments: Any) -> dict[str, Any]:
        words = ["localhost", "-i", "localhost,", "-c", "local", "-m", f"campus.upki.{module}"]
        words += ["-a", json.dumps(arguments), "-vvvv", "--diff", "-e", f"ansible_python_interpreter={sys.executable}"]
        environment = {
            "ANSIBLE_COLLECTIONS_PATH": self.collections,
            "ANSIBLE_LOG_PATH": str(self.log),
            "ANSIBLE_LOCAL_TEMP": str(self.path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self.path / "remote"),
            "XDG_CACHE_HOME": str(self.path / "cache"),
        }
        _status, self.last = playbooks.command(self.path, str(ANSIBLE), *words, *options, **environment)
        self.said += self.last
        start = self.last.index("localhost | ")
        text = self.last[self.last.index("=> {", start) + 3 :]
        result: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        return result


@pytest.fixture
def controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path)


@pytest.fixture
def issuer(tmp_path: pathlib.Path) -> servers.Issuer:
    (tmp_path / "lab").mkdir()
    return servers.Issuer(tmp_path / "lab")


def arguments(issuer: servers.Issuer) -> dict[str, Any]:
    folders = {folder: [str(issuer.path / folder)] for folder in ("inbox", "intermediates", "roots")}
    return {"certificates": [{"name": NAME}], "store": issuer.store.path, **folders}


def key_lines(generation: Generation) -> list[str]:
    lines = pathlib.Path(generation.key_path).read_text().splitlines()
    return [line for line in lines if "-----" not in line]


def test_one_exchange_each_and_no_trace_of_a_key(controller: Controller, issuer: servers.Issuer) -> None:
    pending = issuer.request()
    secrets = key_lines(pending)
    leaf = issuer.issue(pending)
    rehearsed = controller.run("install", "--check", **arguments(issuer))
    assert rehearsed["changed"] is True
    assert issuer.store.certificate(NAME).live is None
    installed = controller.run("install", **arguments(issuer))
    assert installed["changed"] is True
    assert controller.last.count("Using module file") == 1
    assert f"+serial: {leaf.serial_number}" in controller.last
    again = controller.run("install", **arguments(issuer))
    assert again["changed"] is False
    assert controller.last.count("Using module file") == 1

    destination = issuer.path / "parcel"
    destination.mkdir(mode=0o700)
    controller.run("handoff", name=NAME, dest=str(destination), store=issuer.store.path)
    fetched = controller.run(
        "handoff",
        name=NAME,
        dest=str(destination),
        store=issuer.store.path,
        fetch=True,
        fetch_dest=str(controller.path),
    )
    assert pathlib.Path(fetched["fetched"]).stat().st_mode & 0o777 == 0o600

    for secret in secrets:
        assert secret not in controller.said
        assert secret not in controller.log.read_text()
    for folder in ("local", "remote", "cache"):
        for path in (controller.path / folder).rglob("*"):
            assert not path.is_file() or secrets[0] not in path.read_text(errors="replace"), path


def test_an_old_chain_is_mended_in_one_exchange_without_its_certificate_in_the_inbox(
    controller: Controller, issuer: servers.Issuer
) -> None:
    leaf = issuer.issue(issuer.request())
    controller.run("install", **arguments(issuer))
    for path in (issuer.path / "inbox").iterdir():
        path.unlink()
    inter, cross = issuer.with_cross()
    rehearsed = controller.run("install", "--check", **arguments(issuer))
    assert rehearsed["certificates"][0]["reason_code"] == "chain_mended"
    off = controller.run("install", mend_chain=False, **arguments(issuer))
    assert off["changed"] is False and "upki_mend_chain" in controller.last
    mended = controller.run("install", **arguments(issuer))
    assert mended["changed"] is True
    assert controller.last.count("Using module file") == 1
    assert "+  - C=JP, O=Example CA, Ltd., CN=Lab Root" in controller.last
    live = pathlib.Path(issuer.store.path, NAME, "live", "fullchain.pem")
    assert live.read_text() == pki.pem(leaf, inter, cross)
    assert controller.run("install", **arguments(issuer))["changed"] is False


def test_places_may_be_a_text_or_a_list(controller: Controller, issuer: servers.Issuer) -> None:
    issuer.issue(issuer.request())
    controller.run("install", **arguments(issuer))
    closed = [f"127.0.0.1:{servers.free_port()}", f"[::1]:{servers.free_port()}"]
    row = {"web": {"test": [], "reload": ["true"]}}
    for endpoint in (closed[0], closed):
        item = {"name": NAME, "server": "web", "endpoint": endpoint}
        result = controller.run("install", **{**arguments(issuer), "certificates": [item]}, servers=row)
        assert result["changed"] is False
        assert [place in controller.last for place in closed] == [True, endpoint is closed]


def test_a_failure_has_words_a_code_and_no_trace_of_a_key(controller: Controller, issuer: servers.Issuer) -> None:
    pending = issuer.request()
    (issuer.path / "inbox" / "page.cer").write_text("<html>please log in</html>")
    result = controller.run("install", **arguments(issuer))
    assert result["reason_code"] == "unusable_file"
    assert "HTML page" in result["msg"]
    (issuer.path / "inbox" / "mine.pem").write_bytes(pathlib.Path(pending.key_path).read_bytes())
    result = controller.run("install", **arguments(issuer))
    assert "PRIVATE KEY" in result["msg"]
    assert all(secret not in controller.said for secret in key_lines(pending))

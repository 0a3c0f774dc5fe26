# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/how-to/virtual-domain.md: its playbook, run as it stands but for the folders."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import stat
import zipfile

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.integration import playbooks
from ansible_collections.campus.upki.tests.integration.servers import Issuer

pytestmark = pytest.mark.skipif(shutil.which("ansible-playbook") is None, reason="ansible-playbook is not installed")

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "how-to" / "virtual-domain.md").read_text(encoding="utf-8")
CLUB = "club.example.ac.jp"


@pytest.fixture
def issuer(tmp_path: pathlib.Path) -> Issuer:
    return Issuer(tmp_path)


def block(first_line: str) -> str:
    """The page's YAML block that begins with this comment."""
    (text,) = re.findall(rf"^```yaml\n({re.escape(first_line)}\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def hand_over(issuer: Issuer) -> str:
    """Run the page's playbook with the page's inventory."""
    for name in ("hosts.yml", "host_vars/keeper.yml"):
        path = issuer.path / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block(f"# inventory/{name}").replace("/srv/upki", issuer.store.path))
    playbook = issuer.path / "handover.yml"
    playbook.write_text(block("# handover.yml").replace("/srv/handoff", str(issuer.path / "handoff")))
    folders = {f"upki_{name}": [str(issuer.path / name)] for name in ("inbox", "intermediates", "roots")}
    words = ["-i", str(issuer.path / "inventory"), str(playbook), "-e", json.dumps(folders)]
    status, output = playbooks.playbook(issuer.path, *words)
    assert status == 0, output
    return output


def test_the_archive_is_made_when_the_certificate_has_come_and_once(issuer: Issuer) -> None:
    request = issuer.request(CLUB)
    hand_over(issuer)
    assert list((issuer.path / "handoff").iterdir()) == []
    leaf = issuer.issue(request, CLUB)
    output = hand_over(issuer)
    assert f"(serial, decimal): {leaf.serial_number}" in output
    (archive,) = (issuer.path / "handoff").glob(f"{CLUB}-*.zip")
    assert {stat.S_IMODE(path.stat().st_mode) for path in archive.parent.iterdir()} == {0o600}
    with zipfile.ZipFile(archive) as opened:
        names = {name.split("/")[-1] for name in opened.namelist()}
        found = opened.read(f"{CLUB}/{CLUB}.cer").decode()
        key = opened.read(f"{CLUB}/{CLUB}.key").decode()
    assert names == {f"{CLUB}.cer", f"{CLUB}.key", f"{CLUB}.chain.cer", "SHA256SUMS", "README.txt"}
    assert all(f"`{name.replace(CLUB, '<name>')}`" in PAGE for name in names)
    assert _x509.certificates_from_pem(found) == [leaf]
    assert key.splitlines()[1] not in output
    assert "changed=0" in hand_over(issuer)

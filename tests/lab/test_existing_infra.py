# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An infrastructure repository of some years takes the collection in by the words of docs/how-to/existing-infra.md.

The code blocks are read from the page, so that a block which does not work fails here.
"""

from __future__ import annotations

import json
import pathlib
import re
import shutil

import pytest
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import MANAGER, SUBJECT, Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import WORK, Host
from ansible_collections.campus.upki.tests.unit import pki

HERE = pathlib.Path(__file__).resolve().parent
PAGE = (HERE.parents[1] / "docs" / "how-to" / "existing-infra.md").read_text(encoding="utf-8")
WWW = Host("www", "bookworm", ("nginx",))
WIKI = Host("wiki", "trixie", ("apache2",))
VAULT = "a word that only the repository's owner knows"


def block(beginning: str) -> str:
    """The page's code block that has this text in it, without a first line that only names a file."""
    blocks = [text for text in re.findall(r"```\w+\n(.*?)```", PAGE, re.S) if beginning in text]
    assert len(blocks) == 1, f"{len(blocks)} code blocks of the page have '{beginning}'"
    return re.sub(r"\A# \S+\n", "", blocks[0])


GALAXY = block("ansible-galaxy collection install")


class Repository(Controller):
    """The repository as its owner keeps it; only addresses, the vault and the practice CA come from the lab."""

    def __init__(self, start: Start, path: pathlib.Path) -> None:
        made = start(WWW, WIKI, folder=path / "scratch")
        super().__init__(made.lab, path / "lab", made.hosts)
        self.repository = path / "infra"
        shutil.copytree(HERE / "existing-infra", self.repository)
        known = made.lab.inventory()["all"]["children"]["lab"]
        for host in self.hosts:
            variables = {**known["hosts"][host.name], **known["vars"]}
            folder = self.repository / "inventory" / "host_vars" / host.name
            folder.mkdir(parents=True)
            (folder / "lab.json").write_text(json.dumps(variables))
        self.path = self.repository
        self.inventory = self.repository / "inventory"
        (self.path / ".vault-password").write_text(VAULT)
        secret = self.inventory / "group_vars" / "all" / "vault.yml"
        secret.write_text("vault_admin_mail: admin@example.ac.jp\n")
        done = self.start(["ansible-vault", "encrypt", str(secret)], environment=self.vault())
        output, _errors = done.communicate(timeout=60)
        assert done.returncode == 0, output

    def vault(self) -> dict[str, str]:
        return {
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.path / ".vault-password"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.path / "collections"),
        }

    def install(self, requirements: str) -> None:
        """As the page says, as long as no release is on Galaxy: from the tarball that `make install` has built."""
        (tarball,) = (WORK / "dist").glob("campus-upki-*.tar.gz")
        text = re.sub(r"(- name:) campus.upki\n", rf"\1 {tarball}\n    type: file\n", requirements)
        (self.path / "requirements.yml").write_text(text)
        (line,) = [line for line in GALAXY.splitlines() if line.startswith("$ ")]
        command = [*line.removeprefix("$ ").split(), "-p", str(self.path / "collections")]
        process = self.start(command, environment=self.vault())
        output, _errors = process.communicate(timeout=120)
        assert process.returncode == 0, output

    def set(self, **variables: object) -> None:
        """What the lab's CA needs; an owner with the real CA needs none of it."""
        if hasattr(self, "repository"):
            (self.inventory / "group_vars" / "all" / "lab.json").write_text(json.dumps(variables))
        else:
            super().set(**variables)


def by_hand(repository: Repository, issuer: Issuer, host: Host, name: str, short: str) -> int:
    """Key, certificate and chain as somebody put them there 190 days ago."""
    key = pki.new_key("rsa2048")
    fields = {"C": "JP", "ST": SUBJECT["state"], "L": SUBJECT["locality"], "O": SUBJECT["organization"], "CN": name}
    leaf = issuer.by_hand(key, **fields)
    root = repository.lab.root(host.name)
    (root / f"etc/ssl/certs/{short}.pem").write_text(pki.pem(leaf, issuer.inter.certificate))
    (root / f"etc/ssl/private/{short}.key").write_text(pki.traditional_pem(key).decode())
    (root / f"etc/ssl/private/{short}.key").chmod(0o600)
    return int(leaf.serial_number)


def test_the_page_leads_to_a_renewal(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    repository = Repository(start, tmp_path_factory.mktemp("existing"))
    issuer = Issuer(repository)
    names = {WWW: "www.lab.example.ac.jp", WIKI: "wiki.lab.example.ac.jp"}
    old = {host: by_hand(repository, issuer, host, names[host], host.name) for host in names}

    def served() -> dict[Host, int]:
        return {host: repository.served(host, name=name) for host, name in names.items()}

    repository.play("site.yml", env=repository.vault()).good()
    repository.play("site.yml", env=repository.vault()).quiet()
    assert served() == old

    # 1. The collection
    repository.install(block("- name: campus.upki\n"))
    # 2. The variables, and 4. a server that already serves a certificate
    with open(repository.inventory / "hosts.yml", "a", encoding="utf-8") as hosts:
        hosts.write(block("children:\n    webservers:"))
    common = json.dumps({"upki_subject": SUBJECT, "upki_manager": MANAGER}, ensure_ascii=False)
    (repository.inventory / "group_vars" / "webservers.yml").write_text(common)
    mine = block("adopt:")
    for host in names:
        text = mine if host is WWW else mine.replace("www", "wiki").replace("nginx", "apache")
        (repository.inventory / "host_vars" / host.name / "upki.yml").write_text(text)
    repository.play("campus.upki.deploy", env=repository.vault()).good()
    assert served() == old

    # 5. The paths in the virtual hosts
    nginx = dict(re.findall(r"^(ssl_\w+)\s+(\S+);", block("ssl_certificate "), re.M))
    apache = dict(re.findall(r"^(SSL\w+)\s+(\S+)", block("SSLCertificateFile "), re.M))
    assert list(nginx.values()) == list(apache.values())
    for kind, host in (("nginx", WWW), ("apache", WIKI)):
        file = repository.inventory / "group_vars" / f"{kind}_servers.yml"
        certificate, key = (value.replace("www", host.name) for value in nginx.values())
        text = re.sub(r"certificate_file: .*", f"certificate_file: {certificate}", file.read_text())
        file.write_text(re.sub(r"key_file: .*", f"key_file: {key}", text))
    repository.play("site.yml", env=repository.vault()).good()
    assert served() == old

    # 6. In your playbooks
    playbook = "---\n" + (repository.path / "site.yml").read_text().removeprefix("---\n") + block("campus.upki.renew")
    (repository.path / "site.yml").write_text(playbook)
    repository.play("site.yml", env=repository.vault()).good()
    (file,) = (repository.path / "upki" / "outbox").glob("*server_renew*.tsv")
    assert all(f"\t{serial}\t" in file.read_bytes().decode("shift_jis") for serial in old.values())
    new = {host: issuer.issue(host, name=name, names=[name])[0] for host, name in names.items()}
    repository.play("site.yml", env=repository.vault()).good()
    assert served() == new
    repository.play("site.yml", env=repository.vault()).quiet()

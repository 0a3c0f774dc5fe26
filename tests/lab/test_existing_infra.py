# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An infrastructure repository of some years takes the collection in by the words of docs/how-to/existing-infra.md.

The code blocks and the commands are read from the page, so that one which does not work fails here. The tests of this
file are one story and run in the order of the page.
"""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import shutil

import pytest
from ansible_collections.campus.upki.tests.lab import wire
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import MANAGER, SUBJECT, Controller, Run, differences
from ansible_collections.campus.upki.tests.lab.issuer import Issuer, applications
from ansible_collections.campus.upki.tests.lab.lab import WORK, Host
from ansible_collections.campus.upki.tests.unit import pki

HERE = pathlib.Path(__file__).resolve().parent
PAGE = (HERE.parents[1] / "docs" / "how-to" / "existing-infra.md").read_text(encoding="utf-8")
WWW = Host("www", "bookworm", ("nginx",))
WIKI = Host("wiki", "trixie", ("apache2",))  # where nobody logs in as root
DESK = Host("desk", "bullseye", ("nginx",))  # whose virtual host may not be touched
HOSTS = (WWW, WIKI, DESK)
NAMES = {host: f"{host.name}.lab.example.ac.jp" for host in HOSTS}
USER = "admin1"
DESK_VHOST = f"""server {{
    listen 443 ssl;
    server_name {NAMES[DESK]};
    ssl_certificate     /etc/ssl/certs/desk.pem;
    ssl_certificate_key /etc/ssl/private/desk.key;
}}
"""
NGINX, CALLS = "/opt/nginx/sbin/nginx", "/var/log/nginx-calls"
VAULT = "a word that only the repository's owner knows"


def block(beginning: str) -> str:
    """The page's code block that has this text in it, without a first line that only names a file."""
    blocks = [text for text in re.findall(r"```\w+\n(.*?)```", PAGE, re.S) if beginning in text]
    assert len(blocks) == 1, f"{len(blocks)} code blocks of the page have '{beginning}'"
    return re.sub(r"\A# \S+\n", "", blocks[0])


def command(beginning: str) -> list[str]:
    """The words of the one command in that console block."""
    (line,) = [line for line in block(beginning).splitlines() if line.startswith("$ ")]
    return shlex.split(line.removeprefix("$ "))


GALAXY = command("ansible-galaxy collection install")
ROLLBACK = command("upki_rollback")
DEPLOY = command("$ ansible-playbook -i inventory campus.upki.deploy\n")


class Repository(Controller):
    """The repository as its owner keeps it; only addresses, the vault and the practice CA come from the lab."""

    def __init__(self, start: Start, path: pathlib.Path) -> None:
        made = start(*HOSTS, folder=path / "scratch")
        super().__init__(made.lab, path / "lab", made.hosts)
        self.repository = path / "infra"
        shutil.copytree(HERE / "existing-infra", self.repository)
        known = made.lab.inventory()["all"]["children"]["lab"]
        for host in self.hosts:
            variables = {**known["hosts"][host.name], **known["vars"], "ansible_user": USER if host is WIKI else "root"}
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
        process = self.start([*GALAXY, "-p", str(self.path / "collections")], environment=self.vault())
        output, _errors = process.communicate(timeout=120)
        assert process.returncode == 0, output

    def run(self, playbook: str, *options: str, again: bool = True) -> Run:
        return self.play(playbook, *options, env=self.vault(), again=again)

    def typed(self, words: list[str], *more: str, again: bool = True) -> Run:
        """A command of the page; its inventory is the one that play() names too."""
        assert words[:3] == ["ansible-playbook", "-i", "inventory"], words
        return self.run(words[3], *words[4:], *more, again=again)

    def variables(self, host: Host) -> pathlib.Path:
        return self.inventory / "host_vars" / host.name / "upki.yml"

    def chains(self) -> dict[str, list[int]]:
        """Serials of all that each host sends, whether or not it verifies."""
        return {
            host.name: [one.serial_number for one in wire.chain(self, host, name, verify=False)]
            for host, name in NAMES.items()
        }

    def serials(self) -> dict[str, int]:
        """What a verifying client gets."""
        return {host.name: self.served(host, name=name) for host, name in NAMES.items()}

    def reloads(self) -> list[int]:
        """How often each server has been reloaded since its host was booted, by whatever."""
        counts = []
        for host in HOSTS:
            unit = host.services[0]
            lines = self.on(host, f"journalctl --quiet --boot --unit {unit} --output cat").splitlines()
            assert any(line.startswith("Started ") for line in lines), lines  # the journal is whole
            counts.append(sum(line.startswith("Reloaded ") for line in lines))
        counts.append(self.on(WWW, f"cat {CALLS}").splitlines().count("-s reload"))
        return counts

    def set(self, **variables: object) -> None:
        """What the lab's CA needs; an owner with the real CA needs none of it."""
        if hasattr(self, "repository"):
            (self.inventory / "group_vars" / "all" / "lab.json").write_text(json.dumps(variables))
        else:
            super().set(**variables)


def by_hand(repository: Repository, issuer: Issuer, host: Host) -> int:
    """Key, certificate and chain as somebody put them there 190 days ago: behind it, nowhere, in a file of its own."""
    key, name, short = pki.new_key("rsa2048"), NAMES[host], host.name
    fields = {"C": "JP", "ST": SUBJECT["state"], "L": SUBJECT["locality"], "O": SUBJECT["organization"], "CN": name}
    leaf = issuer.by_hand(key, **fields)
    chain = [issuer.inter.certificate]
    root = repository.lab.root(host.name)
    (root / f"etc/ssl/certs/{short}.pem").write_text(pki.pem(leaf, *(chain if host is DESK else [])))
    if host is WIKI:
        (root / f"etc/ssl/certs/{short}-chain.pem").write_text(pki.pem(*chain))
    (root / f"etc/ssl/private/{short}.key").write_text(pki.traditional_pem(key).decode())
    (root / f"etc/ssl/private/{short}.key").chmod(0o600)
    return int(leaf.serial_number)


def furnish(repository: Repository) -> None:
    """What differs from a server as Debian delivers it."""
    nginx = repository.lab.root(WWW.name) / NGINX.lstrip("/")
    nginx.parent.mkdir(parents=True)
    nginx.write_text(f'#!/bin/sh\necho "$*" >>{CALLS}\nexec /usr/sbin/nginx "$@"\n')
    nginx.chmod(0o755)
    repository.on(WWW, f": >{CALLS}")
    (repository.lab.root(DESK.name) / "etc/nginx/conf.d/site.conf").write_text(DESK_VHOST)
    repository.on(DESK, "systemctl reload nginx")
    sudo = [
        f"useradd --create-home --shell /bin/sh {USER}",
        f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/own",
    ]
    login = [f"cp -r /root/.ssh /home/{USER}/.ssh", f"chown -R {USER}: /home/{USER}/.ssh"]
    repository.on(WIKI, " && ".join([*sudo, *login]))


@pytest.fixture(scope="module")
def story(start: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Issuer, dict[str, int]]:
    """The repository, the CA, and the serials of what the hosts serve before the collection comes."""
    repository = Repository(start, tmp_path_factory.mktemp("existing"))
    issuer = Issuer(repository)
    old = {host.name: by_hand(repository, issuer, host) for host in HOSTS}
    furnish(repository)
    repository.run("site.yml").good()
    repository.run("site.yml").quiet()
    return repository, issuer, old


Story = tuple[Repository, Issuer, dict[str, int]]


def test_adopting_changes_neither_what_is_served_nor_reloads_anything(story: Story) -> None:
    repository, _issuer, old = story
    before, reloads = repository.chains(), repository.reloads()
    assert {name: sent[0] for name, sent in before.items()} == old
    assert [len(before[host.name]) for host in HOSTS] == [1, 2, 2]

    # 1. The collection
    repository.install(block("- name: campus.upki\n"))
    # 2. The variables
    with open(repository.inventory / "hosts.yml", "a", encoding="utf-8") as hosts:
        hosts.write(block("children:\n    webservers:"))
    common = json.dumps({"upki_subject": SUBJECT, "upki_manager": MANAGER}, ensure_ascii=False)
    (repository.inventory / "group_vars" / "webservers.yml").write_text(common)
    (become,) = re.findall(r"as\nroot set `(ansible_become: true)` for these servers", PAGE)
    # 3. The server's own commands, and 4. a server that already serves a certificate
    adopted = block("adopt:")
    repository.variables(WWW).write_text(adopted + block("upki_servers:"))
    (option,) = re.findall(r"with or without its intermediates behind it; (chain:) names a separate file", PAGE)
    chain = f"      {option} /etc/ssl/certs/wiki-chain.pem\n"
    repository.variables(WIKI).write_text(adopted.replace("www", "wiki").replace("nginx", "apache") + chain + become)
    repository.variables(DESK).write_text(adopted.replace("www", "desk"))

    trees = repository.trees()
    assert repository.typed(DEPLOY, "--check").good().changed == len(HOSTS)
    assert not differences(trees, repository.trees())
    repository.typed(DEPLOY).good()
    touched = [row for row in differences(trees, repository.trees()) if ": etc/upki" not in row]
    assert not touched
    assert repository.chains() == before
    assert repository.reloads() == reloads
    repository.typed(DEPLOY).quiet()


def test_the_virtual_hosts_move_to_the_store_and_serve_the_same(story: Story) -> None:
    """5. The paths in your virtual hosts."""
    repository, _issuer, old = story
    before = repository.chains()
    nginx = dict(re.findall(r"^(ssl_\w+)\s+(\S+);", block("ssl_certificate "), re.M))
    apache = dict(re.findall(r"^(SSL\w+)\s+(\S+)", block("SSLCertificateFile "), re.M))
    assert list(nginx.values()) == list(apache.values())
    for kind, host in (("nginx", WWW), ("apache", WIKI)):
        file = repository.inventory / "group_vars" / f"{kind}_servers.yml"
        certificate, key = (value.replace("www", host.name) for value in nginx.values())
        text = re.sub(r"certificate_file: .*", f"certificate_file: {certificate}", file.read_text())
        text = re.sub(r"key_file: .*", f"key_file: {key}", text)
        file.write_text(re.sub(r"chain_file: .*\n", "", text))
    assert "Remove `SSLCertificateChainFile`" in PAGE
    repository.run("site.yml").good()
    assert "ChainFile" not in repository.on(WIKI, "cat /etc/apache2/sites-enabled/site.conf")
    # Where the virtual hosts cannot be touched
    with open(repository.variables(DESK), "a", encoding="utf-8") as variables:
        variables.write(block("    links:").replace("www", "desk"))
    repository.typed(DEPLOY).good()
    assert (
        repository.on(DESK, "readlink /etc/ssl/certs/desk.pem").strip() == f"/etc/upki/{NAMES[DESK]}/live/fullchain.pem"
    )
    assert repository.chains() == before

    assert "Then take `adopt` away" in PAGE
    for host in HOSTS:
        file = repository.variables(host)
        file.write_text(re.sub(r"    adopt:\n(      .*\n)+", "", file.read_text()))
        assert "adopt" not in file.read_text()
    # "from now on a chain that lacks something … is mended by deploy": that of www was never there
    repository.typed(DEPLOY).good()
    assert {name: len(sent) for name, sent in repository.chains().items()} == {host.name: 2 for host in HOSTS}
    assert repository.serials() == old
    repository.typed(DEPLOY).quiet()
    repository.run("site.yml").quiet()


def test_the_playbook_and_the_role_renew(story: Story) -> None:
    """6. In your playbooks."""
    repository, issuer, old = story
    site = repository.path / "site.yml"
    site.write_text("---\n" + site.read_text().removeprefix("---\n") + block("campus.upki.renew"))
    (role,) = re.findall(r"or, as roles among your own: `([a-z.]+)`", PAGE)
    play = [{"name": "Appliances", "hosts": "appliances", "gather_facts": False, "roles": [role]}]
    (repository.path / "appliances.yml").write_text(json.dumps(play))

    repository.run("appliances.yml").good()
    outbox = repository.path / "upki" / "outbox"
    assert applications(outbox.glob("*.tsv")) == {"server_renew": [NAMES[DESK]]}
    first = set(outbox.glob("*.tsv"))
    repository.run("site.yml").good()
    others = set(outbox.glob("*.tsv")) - first
    assert applications(others) == {"server_renew": sorted([NAMES[WIKI], NAMES[WWW]])}
    text = "".join(file.read_bytes().decode("shift_jis") for file in outbox.glob("*.tsv"))
    assert all(f"\t{serial}\t" in text for serial in old.values())

    new = {host.name: issuer.issue(host, name=name, names=[name])[0] for host, name in NAMES.items()}
    reloads = repository.reloads()
    repository.run("appliances.yml").good()
    assert repository.serials() == {**old, DESK.name: new[DESK.name]}
    repository.run("site.yml").good()
    assert repository.serials() == new
    # Once each: www by its own command, the others by the built-in table.
    assert [after - before for before, after in zip(reloads, repository.reloads(), strict=True)] == [0, 1, 1, 1]
    repository.run("appliances.yml").quiet()
    repository.run("site.yml").quiet()


def test_the_command_for_the_way_back_leads_to_the_generation_before(story: Story) -> None:
    repository, _issuer, old = story
    new = repository.serials()
    repository.typed(ROLLBACK, again=False).good()
    back = {**new, WWW.name: old[WWW.name]}
    assert repository.serials() == back
    repository.typed(DEPLOY).quiet()  # "Later runs leave it so": the new one still lies in the inbox
    assert repository.serials() == back

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/how-to/servers.md: what it tells people to write is what the other tests run."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.campus.upki.plugins.module_utils import _install_options, _servers
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.integration import daemons, servers
from ansible_collections.campus.upki.tests.integration.servers import NAME

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "how-to" / "servers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SETTINGS = [yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml"]
ROWS = [row for block in SETTINGS for row in block.get("upki_certificates", [])]
FOLDERS = {"haproxy": "/etc/haproxy/certs", "slapd": "/etc/ldap/tls"}


@pytest.fixture
def issuer() -> Iterator[servers.Issuer]:
    path = tempfile.mkdtemp(prefix="upki-swap-")
    os.chmod(path, 0o755)
    yield servers.Issuer(pathlib.Path(path))
    shutil.rmtree(path)


def written() -> set[str]:
    """The lines of the page's blocks, with one name for all certificates."""
    lines = {line.strip() for _kind, text in BLOCKS for line in text.splitlines()}
    return {re.sub(r"\b(www|smtp|imap|ldap)\.example\.ac\.jp", NAME, line) for line in lines}


def told(text: str, server: servers.Server) -> list[str]:
    """The lines of a test's configuration that name the certificate, with the page's paths."""
    text = text.replace(f"{server.issuer.store.path}/", "/etc/upki/").replace(f"127.0.0.1:{server.port} ", ":443 ")
    for folder in ("certs", "tls"):
        text = text.replace(f"{server.path}/{folder}", FOLDERS.get(server.kind, ""))
    return [line.strip() for line in text.splitlines() if "/etc/" in line]


@pytest.mark.parametrize("kind", sorted(daemons.KINDS))
def test_the_daemons_are_configured_as_the_page_says(issuer: servers.Issuer, kind: str) -> None:
    if daemons.missing(kind):
        pytest.skip(daemons.missing(kind))
    daemon = daemons.KINDS[kind](issuer.path / kind, issuer)
    daemon.secure()
    lines = told(daemon.config.read_text(), daemon)
    assert len(lines) == (1 if kind == "haproxy" else 2)
    assert set(lines) <= written()


def test_slapds_reload_is_the_pages(issuer: servers.Issuer) -> None:
    daemon = daemons.OnlineSlapd(issuer.path / "slapd", issuer)
    text = (daemon.path / "reload.ldif").read_text()
    assert "".join(f"{line}\n" for line in text.splitlines()) in {
        block.replace("ldap.example.ac.jp", NAME).replace("/etc/upki", issuer.store.path)
        for kind, block in BLOCKS
        if kind == "ldif"
    }
    (row,) = [block["upki_servers"]["slapd"] for block in SETTINGS if "slapd" in block.get("upki_servers", {})]
    options = [word for word in daemon.reload()[1:] if not word.startswith(("ldapi:", "/"))]
    assert [word for word in row["reload"][1:] if not word.startswith(("ldapi:", "/"))] == options


@pytest.mark.parametrize("kind", ["nginx", "apache"])
def test_the_web_servers_are_configured_as_the_page_says(issuer: servers.Issuer, kind: str) -> None:
    if servers.missing(kind):
        pytest.skip(servers.missing(kind))
    with servers.running(kind, issuer.path / kind, issuer) as server:
        lines = told(server.vhost(NAME).replace("; ", ";\n"), server)
    assert len(lines) == 2
    assert set(lines) <= written()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["server"])
def test_the_rows_are_what_the_module_takes(row: dict[str, Any]) -> None:
    options: dict[str, Any] = _install_options.LINK
    assert set(row) <= set(_install_options.CERTIFICATE) | {"software"}
    for link in row.get("links", []):
        assert set(link) <= set(options)
        assert link["what"] in options["what"]["choices"]


@pytest.mark.parametrize("kind", ["slapd", "haproxy"])
def test_the_links_are_those_of_the_tests(issuer: servers.Issuer, kind: str) -> None:
    (row,) = [row for row in ROWS if row["server"] == kind]
    daemon = daemons.KINDS[kind](issuer.path / kind, issuer)
    (link,) = daemon.links()
    (page,) = row["links"]
    assert os.path.dirname(page["path"]) == FOLDERS[kind]
    if kind == "haproxy" or daemons.Slapd.gives_up_root():
        assert {**page, "path": ""} == {**link, "path": ""}


@pytest.mark.parametrize("row", [block["upki_servers"] for block in SETTINGS if "upki_servers" in block], ids=list)
def test_rows_of_ones_own_are_taken(row: dict[str, Any]) -> None:
    table = _servers.merged(row)
    (name,) = row
    assert table[name][0]["reload"] == row[name]["reload"]


def test_one_certificate_for_postfix_and_dovecot(issuer: servers.Issuer) -> None:
    reason = daemons.missing("postfix") or daemons.missing("dovecot")
    if reason:
        pytest.skip(reason)
    pair = [daemons.Postfix(issuer.path / "postfix", issuer), daemons.Dovecot(issuer.path / "dovecot", issuer)]
    try:
        for daemon in pair:
            daemon.start()
            daemon.secure()
        test, reload = (" && ".join(" ".join(one) for one in words) for words in zip(*map(commands, pair), strict=True))
        mail = {"test": ["sh", "-c", test], "reload": ["sh", "-c", reload]}
        places = [f"127.0.0.1:{daemon.port}={daemon.starttls}" for daemon in pair]
        item = {"name": NAME, "server": "mail", "endpoint": places}
        for _turn in range(2):
            leaf = issuer.issue(issuer.request())
            issuer.install(item, servers={"mail": mail})
            assert [daemon.served() for daemon in pair] == [leaf.serial_number] * 2
        issuer.issue(issuer.request())
        with pytest.raises(UpkiError) as caught:
            issuer.install(item, servers={"mail": {**mail, "reload": ["sh", "-c", f"{reload} && false"]}})
        assert caught.value.code == "reload_failed"
        assert pair[1].served() == leaf.serial_number
        with pytest.raises(UpkiError) as caught:
            issuer.install(item, servers={"mail": {**mail, "reload": ["true"]}})
        assert caught.value.code == "served_other" and f"127.0.0.1:{pair[1].port} " in caught.value.message
    finally:
        for daemon in pair:
            daemon.stop()


def commands(daemon: daemons.Daemon) -> tuple[list[str], list[str]]:
    return daemon.test(), daemon.reload()


def test_apache_with_its_intermediates_in_a_file_of_their_own(issuer: servers.Issuer) -> None:
    if servers.missing("apache"):
        pytest.skip(servers.missing("apache"))
    with servers.running("apache", issuer.path / "apache", issuer) as server:
        leaf = issuer.issue(issuer.request())
        issuer.install({"name": NAME})
        live = f"{issuer.store.path}/{NAME}/live"
        chain = f"SSLCertificateFile {live}/certificate.pem\nSSLCertificateChainFile {live}/chain.pem"
        text = server.vhost(NAME).replace(f"SSLCertificateFile {live}/fullchain.pem", chain)
        assert len(set(told(text, server)) & written()) == 3
        (server.path / "conf.d" / "www.conf").write_text(text)
        server.start()
        assert server.served() == leaf.serial_number
        leaf = issuer.issue(issuer.request())
        issuer.install(server.item(), servers=server.row())
        assert server.served() == leaf.serial_number

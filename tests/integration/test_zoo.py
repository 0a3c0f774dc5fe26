# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The animals of tests/unit/test_zoo.py served by nginx, Apache, OpenSSL, GnuTLS, postfix, dovecot, slapd and haproxy.

Each endpoint has one fault and must give its finding, and no other; the clean ones must give none.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tls, _verify
from ansible_collections.campus.upki.tests.integration import daemons, servers
from ansible_collections.campus.upki.tests.unit import pki
from ansible_collections.campus.upki.tests.unit.test_zoo import CROSS, G7, G8, NAME, NOW, OLD, ZOO

ALL_LEVELS = "ALL:@SECLEVEL=0"
# What is no matter of files: versions of TLS, and what a server does without or with a server name.
VERSIONS = {"clean TLS 1.2": "1.2", "TLS 1.1": "1.1", "TLS 1.0": "1"}
NAMING = {"refuses the name", "answers without a name only", "demands a name", "has a name"}
BY_FILES = sorted(name for name, (server, _expected, _changes) in ZOO.items() if server[2] is None)
# The faults of a deployment, for servers that take a process for each.
DEPLOYED = ["clean G8 with cross", "clean G7", "another name", "cross missing", "expired yesterday", "G7 leaf alone"]
DEPLOYED += ["G7 under a G8 leaf"]

Visit = Callable[..., list[str]]


@pytest.fixture(scope="module")
def folder() -> Iterator[pathlib.Path]:
    """One that servers of other users reach, which pytest's own is not."""
    path = tempfile.mkdtemp(prefix="upki-zoo-")
    os.chmod(path, 0o755)
    yield pathlib.Path(path)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def visit(folder: pathlib.Path) -> Visit:
    """A function that looks at one animal behind a port, as the module does, and gives the codes."""
    (folder / "root.pem").write_text(pki.pem(OLD.certificate))
    (folder / "known.pem").write_text(pki.pem(G8.certificate, G7.certificate, CROSS.certificate))
    trust = _tls.Trust(str(folder / "root.pem"))
    around = _verify.surroundings(trust, [str(folder / "known.pem")], NOW, _verify.parse_warn_before("1/3"))

    def look(animal: str, port: int, starttls: str = "") -> list[str]:
        changes: Any = ZOO[animal][2]
        row = {"host": "127.0.0.1", "port": port, "server_name": NAME, "starttls": starttls, **changes}
        (result,) = _verify.run(_verify.endpoints_of([row]), trust, around, 10, 1)
        assert result["ok"] is not any(one["severity"] == "error" for one in result["findings"])
        return sorted(one["code"] for one in result["findings"])

    return look


def files(folder: pathlib.Path, animal: str) -> tuple[str, str]:
    """The paths of an animal's chain and key."""
    (chain, key, _configure), _expected, _changes = ZOO[animal]
    place = folder / "animals" / animal.replace(" ", "-").replace(",", "")
    if not place.is_dir():
        place.mkdir(parents=True)
        (place / "chain.pem").write_text(pki.pem(*chain))
        (place / "tail.pem").write_text(pki.pem(*chain[1:]))
        (place / "key.pem").write_bytes(pki.key_pem(key))
    return str(place / "chain.pem"), str(place / "key.pem")


def expected(animal: str) -> list[str]:
    codes: list[str] = sorted(ZOO[animal][1])
    return codes


@contextlib.contextmanager
def running(arguments: list[str], port: int, console: pathlib.Path) -> Iterator[None]:
    """A server in the foreground that answers on a port."""
    with open(console, "ab") as log:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while not _is_open(port):
            assert process.poll() is None and time.monotonic() < end, console.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdin is not None
        process.stdin.close()


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError):
        servers.socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def program(name: str) -> str:
    return shutil.which(name, path=servers.SBIN) or pytest.skip(f"{name} is not installed")


def ports_for(animals: list[str]) -> dict[str, int]:
    """Different free ports."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(servers.socket.socket()) for _animal in animals]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return {animal: one.getsockname()[1] for animal, one in zip(animals, taken, strict=True)}


# --- nginx ---------------------------------------------------------------------------------------------------


NGINX = sorted(set(ZOO) - {"answers without a name only"})


@pytest.fixture(scope="module")
def nginx(folder: pathlib.Path) -> Iterator[dict[str, int]]:
    """One nginx with a virtual server for each animal."""
    path = folder / "nginx"
    path.mkdir()
    ports = ports_for(NGINX)
    blocks = "".join(_nginx_block(folder, animal, port) for animal, port in ports.items())
    temporary = "".join(f"{kind}_temp_path {path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi"))
    user = "user root;\n" if os.geteuid() == 0 else ""
    (path / "nginx.conf").write_text(
        f"{user}daemon off; pid {path}/pid; error_log stderr;\nevents {{ worker_connections 512; }}\n"
        f"http {{ access_log off;\n{temporary}scgi_temp_path {path}/s;\nssl_ciphers {ALL_LEVELS};\n{blocks}}}\n"
    )
    command = [program("nginx"), "-e", "stderr", "-p", str(path), "-c", str(path / "nginx.conf")]
    with running(command, ports["clean G7"], path / "console"):
        yield ports


def _nginx_block(folder: pathlib.Path, animal: str, port: int) -> str:
    chain, key = files(folder, animal)
    listen = f"server {{ listen 127.0.0.1:{port} ssl"
    refusing = f"{listen} default_server; ssl_reject_handshake on; }}\n" if animal in NAMING - {"has a name"} else ""
    if animal == "refuses the name":
        return refusing
    version = VERSIONS.get(animal)
    only = f" ssl_protocols TLSv{version};" if version else ""
    return f"{refusing}{listen}; server_name {NAME};{only} ssl_certificate {chain}; ssl_certificate_key {key}; }}\n"


@pytest.mark.parametrize("animal", NGINX)
def test_nginx(visit: Visit, nginx: dict[str, int], animal: str) -> None:
    assert visit(animal, nginx[animal]) == expected(animal)


# --- Apache --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apache(folder: pathlib.Path) -> Iterator[dict[str, int]]:
    """One Apache with a virtual host for each animal."""
    modules = servers.modules()
    if modules is None:
        pytest.skip("Apache's modules are not installed")
    path = folder / "apache"
    path.mkdir()
    ports = ports_for(sorted(set(ZOO) - NAMING))
    user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 and pathlib.Path("/etc/debian_version").exists() else ""
    (path / "httpd.conf").write_text(
        "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in servers.MODULES)
        + f"ServerName {NAME}\nPidFile {path}/pid\nErrorLog {path}/log\nDefaultRuntimeDir {path}\n{user}"
        + f"DocumentRoot {path}\nStartServers 1\nSSLCipherSuite {ALL_LEVELS}\n"
        + "".join(_apache_block(folder, animal, port) for animal, port in ports.items())
    )
    name = "apache2" if shutil.which("apache2", path=servers.SBIN) else "httpd"
    with running([program(name), "-f", str(path / "httpd.conf"), "-DFOREGROUND"], ports["clean G7"], path / "console"):
        yield ports


def _apache_block(folder: pathlib.Path, animal: str, port: int) -> str:
    chain, key = files(folder, animal)
    version = VERSIONS.get(animal)
    only = f"SSLProtocol TLSv{version}\n" if version else ""
    return (
        f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nServerName {NAME}\nSSLEngine on\n{only}"
        f"SSLCertificateFile {chain}\nSSLCertificateKeyFile {key}\n</VirtualHost>\n"
    )


@pytest.mark.parametrize("animal", sorted(set(ZOO) - NAMING))
def test_apache(visit: Visit, apache: dict[str, int], animal: str) -> None:
    assert visit(animal, apache[animal]) == expected(animal)


# --- OpenSSL and GnuTLS, a process for each ------------------------------------------------------------------


@pytest.mark.parametrize("animal", sorted(set(ZOO) - NAMING))
def test_openssl(visit: Visit, folder: pathlib.Path, tmp_path: pathlib.Path, animal: str) -> None:
    chain, key = files(folder, animal)
    port = servers.free_port()
    command = [program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", "-key", key, "-cert", chain]
    tail = pathlib.Path(chain).with_name("tail.pem")
    command += ["-cert_chain", str(tail)] if tail.read_text() else []
    command += ["-cipher", ALL_LEVELS, "-no-CAfile", "-no-CApath", "-no-CAstore"]
    command += ["-tls" + VERSIONS[animal].replace(".", "_")] if animal in VERSIONS else []
    with running(command, port, tmp_path / "console"):
        assert visit(animal, port) == expected(animal)


# GnuTLS puts a chain into its order and leaves out what does not belong to it, so such faults cannot be had of it.
SHAPES = {"chain_order", "chain_duplicate", "extra_certificates"}
LEFT_OUT = {"G7 under a G8 leaf", "G7 and cross under a G8 leaf", "G8 under a G7 leaf", "same name, another key"}
LEFT_OUT |= {"both roots included"}
GNUTLS = [name for name in BY_FILES if not SHAPES & set(ZOO[name][1]) and name not in LEFT_OUT]


@pytest.mark.parametrize("animal", GNUTLS)
def test_gnutls(visit: Visit, folder: pathlib.Path, tmp_path: pathlib.Path, animal: str) -> None:
    chain, key = files(folder, animal)
    port = servers.free_port()
    command = [program("gnutls-serv"), "-p", str(port), "--x509certfile", chain, "--x509keyfile", key, "--quiet"]
    with running([*command, "--priority", "NORMAL:%VERIFY_ALLOW_BROKEN"], port, tmp_path / "console"):
        assert visit(animal, port) == expected(animal)


# --- mail, directory, proxy: what stands before TLS is part of it --------------------------------------------


def shelf(folder: pathlib.Path, kind: str, animal: str) -> Any:
    """What a daemon asks of an issuer: a store, whose live generation is the animal."""
    path = folder / kind / animal.replace(" ", "-")
    live = path / "store" / NAME / "live"
    live.mkdir(parents=True)
    chain, key = files(folder, animal)
    shutil.copy(chain, live / "fullchain.pem")
    shutil.copy(key, live / "key.pem")
    return types.SimpleNamespace(path=path, store=types.SimpleNamespace(path=str(path / "store")))


def furnish(daemon: daemons.Daemon) -> None:
    """The copies that install would have made."""
    if isinstance(daemon, daemons.Slapd):
        key = daemon.path / "tls" / f"{NAME}.key"
        shutil.copy(daemon.live / "key.pem", key)
        if daemon.gives_up_root():
            shutil.chown(key, group=daemons.USER)
            key.chmod(0o640)
    if isinstance(daemon, daemons.Haproxy):
        daemon.combined.write_text((daemon.live / "key.pem").read_text() + (daemon.live / "fullchain.pem").read_text())


# Debian's slapd is built with GnuTLS.
OTHERS = [
    (kind, name) for kind in sorted(daemons.KINDS) for name in DEPLOYED if kind != "slapd" or name not in LEFT_OUT
]


@pytest.mark.parametrize(("kind", "animal"), OTHERS)
def test_other_servers(visit: Visit, folder: pathlib.Path, kind: str, animal: str) -> None:
    reason = daemons.missing(kind)
    if reason:
        pytest.skip(reason)
    issuer = shelf(folder, kind, animal)
    daemon = daemons.KINDS[kind](issuer.path / "server", issuer)
    try:
        furnish(daemon)
        daemon.secure()
        daemon.start()
        assert visit(animal, daemon.port, daemon.starttls) == expected(animal)
    finally:
        daemon.stop()


def test_the_zoo_is_large() -> None:
    """Endpoints by other servers than Python's own, and the clean ones among them."""
    served = NGINX + 2 * sorted(set(ZOO) - NAMING) + GNUTLS + [animal for _kind, animal in OTHERS]
    assert len(served) >= 250
    assert sum(1 for animal in served if not expected(animal)) >= 60

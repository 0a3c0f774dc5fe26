# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nginx and Apache on loopback with a configuration of their own, and a store with a small PKI beside them."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _foreign, _install, _probe, _x509
from ansible_collections.campus.upki.plugins.module_utils._store import Generation, Store
from ansible_collections.campus.upki.plugins.plugin_utils import _inbox
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
MODULES = ("mpm_event", "authz_core", "ssl", "socache_shmcb")
MODULE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2")
SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Issuer:
    """A store on 'the host' and the controller's folders, with a CA that issues for its requests."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.store = Store(str(path / "store"))
        self.root = pki.CA("Lab Root", start=now() - pki.days(10), end=now() + pki.days(300))
        self.inter = pki.CA("Lab Inter", self.root, start=now() - pki.days(9), end=now() + pki.days(290))
        for folder, certificate in (("roots", self.root.certificate), ("intermediates", self.inter.certificate)):
            (path / folder).mkdir()
            (path / folder / "ca.cer").write_text(pki.pem(certificate))
        (path / "inbox").mkdir()

    def with_cross(self) -> tuple[Any, Any]:
        """From now on only an older root is trusted, and a cross certificate leads to it: (intermediate, cross)."""
        older = pki.CA("Older Root", start=now() - pki.days(400), end=now() + pki.days(300))
        dates = {"start": now() - pki.days(9), "end": now() + pki.days(200)}
        cross = pki.CA("Lab Root", older, label="Lab Root", **dates).certificate
        (self.path / "roots" / "ca.cer").write_text(pki.pem(older.certificate))
        (self.path / "intermediates" / "cross.cer").write_text(pki.pem(cross))
        return self.inter.certificate, cross

    def request(self, name: str = NAME, dns_names: tuple[str, ...] = ()) -> Generation:
        """A pending generation, as campus.upki.request makes it."""
        key = pki.new_key()
        meta = {
            "name": name,
            "created": now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "dns_names": list(dns_names),
            "spki_sha256": _x509.spki_sha256(key.public_key()),
            "record": {"kind": "issue", "common_name": name},
        }
        with self.store.lock():
            slot = self.store.certificate(name)
            generation: Generation = slot.add_generation(pki.key_pem(key), pki.pem(pki.csr(key, name)), meta)
        return generation

    def issue(self, generation: Generation, name: str = NAME, **shape: Any) -> Any:
        """The CA's answer to a request, put into the inbox."""
        request = _x509.request_from_pem(generation.request())
        dates = {"start": now() - pki.days(0.5), "end": now() + pki.days(197.5)}  # no count of days ends in mid-test
        leaf = self.inter.issue(name, request.public_key(), **{**dates, **shape})
        (self.path / "inbox" / f"{leaf.serial_number:x}.cer").write_text(pki.pem(leaf))
        return leaf

    def install(self, *items: dict[str, Any], check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """What the action plugin and the module do together."""
        result: dict[str, Any] = _install.run(self.params(*items, **options), check_mode)
        return result

    def params(self, *items: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The module's options, with what the action plugin adds."""
        inbox, intermediates, roots = ([str(self.path / folder)] for folder in ("inbox", "intermediates", "roots"))
        found = _inbox.look([item["name"] for item in items], inbox, intermediates, roots, now())
        params = {"certificates": list(items), "store": self.store.path, "wait": 3, **options}
        others = _foreign.pack(row.spki_sha256 for row in found.others)
        params.update(candidates=found.candidates, unusable=found.unusable, others=others)
        params.update(authorities=found.authorities, anchors=found.anchors)
        return params

    def live(self, name: str = NAME) -> str:
        link = self.store.certificate(name).link("live")
        return str(link)


class Server:
    """One real server; `row` is what the option `servers` takes for it."""

    kind = ""

    def __init__(self, path: pathlib.Path, issuer: Issuer) -> None:
        self.path, self.issuer = path, issuer
        self.path.mkdir()
        (self.path / "conf.d").mkdir()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.config = self.path / "server.conf"
        self.config.write_text(self.main())
        self.prefix: list[str] = []

    def main(self) -> str:
        raise NotImplementedError

    def vhost(self, name: str) -> str:
        raise NotImplementedError

    def command(self, *words: str) -> list[str]:
        raise NotImplementedError

    def test(self) -> list[str]:
        raise NotImplementedError

    def reload(self) -> list[str]:
        raise NotImplementedError

    def foreground(self) -> list[str]:
        raise NotImplementedError

    def row(self, **changes: Any) -> dict[str, Any]:
        return {self.kind: {"test": self.test(), "reload": self.reload(), "timeout": 10, **changes}}

    def item(self, name: str = NAME, **changes: Any) -> dict[str, Any]:
        return {"name": name, "server": self.kind, "endpoint": f"127.0.0.1:{self.port}", **changes}

    def serve(self, *names: str) -> None:
        """Virtual hosts for these names, and a running server."""
        for name in names:
            (self.path / "conf.d" / f"{name}.conf").write_text(self.vhost(name))
        self.start()

    def start(self) -> None:
        log = open(self.path / "console.log", "ab")  # noqa: SIM115 (the process keeps it)
        self.process = subprocess.Popen(
            [*self.prefix, *self.foreground()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        end = time.monotonic() + 10
        while self.served() is None:
            assert self.process.poll() is None, (self.path / "console.log").read_text()
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)

    def elsewhere(self, port: int) -> None:
        """The name on one more port."""
        listen = f"Listen 127.0.0.1:{port}\n" if self.kind == "apache" else ""
        text = self.vhost(NAME).replace(f"127.0.0.1:{self.port}", f"127.0.0.1:{port}")
        (self.path / "conf.d" / f"port-{port}.conf").write_text(listen + text)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        self.process = None

    def served(self, name: str = NAME, port: int = 0) -> int | None:
        """Serial of the certificate that the port serves for this name."""
        seen = _probe.look("127.0.0.1", port or self.port, name)
        return None if seen.leaf is None else int(_x509.certificate_from_der(seen.leaf).serial_number)


class Nginx(Server):
    kind = "nginx"

    def main(self) -> str:
        user = "user root;\n" if os.geteuid() == 0 else ""
        return (
            f"{user}pid {self.path}/pid;\nerror_log {self.path}/error.log;\nworker_processes 2;\n"
            "events { worker_connections 256; }\nhttp {\naccess_log off;\n"
            + "".join(
                f"{kind}_temp_path {self.path}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"include {self.path}/conf.d/*.conf;\n}}\n"
        )

    def vhost(self, name: str) -> str:
        live = f"{self.issuer.store.path}/{name}/live"
        return (
            f"server {{ listen 127.0.0.1:{self.port} ssl; server_name {name};\n"
            f"ssl_certificate {live}/fullchain.pem; ssl_certificate_key {live}/key.pem; return 204; }}\n"
        )

    def command(self, *words: str) -> list[str]:
        program = shutil.which("nginx", path=SBIN)
        return [str(program), "-p", str(self.path), "-c", str(self.config), "-e", f"{self.path}/error.log", *words]

    def test(self) -> list[str]:
        return self.command("-t")

    def reload(self) -> list[str]:
        return self.command("-s", "reload")

    def foreground(self) -> list[str]:
        return self.command("-g", "daemon off;")


class Apache(Server):
    kind = "apache"

    def main(self) -> str:
        folder = modules()
        user = ""
        if os.geteuid() == 0:
            group = "nogroup" if pathlib.Path("/etc/debian_version").exists() else "nobody"
            user = f"User nobody\nGroup {group}\n"
        return (
            f"ServerRoot {self.path}\nServerName localhost\nPidFile {self.path}/pid\nErrorLog {self.path}/error.log\n"
            f"DefaultRuntimeDir {self.path}\nStartServers 1\n"
            + "".join(f"LoadModule {name}_module {folder}/mod_{name}.so\n" for name in MODULES)
            + f"{user}Listen 127.0.0.1:{self.port}\nIncludeOptional {self.path}/conf.d/*.conf\n"
        )

    def vhost(self, name: str) -> str:
        live = f"{self.issuer.store.path}/{name}/live"
        return (
            f"<VirtualHost 127.0.0.1:{self.port}>\nServerName {name}\nSSLEngine on\n"
            f"SSLCertificateFile {live}/fullchain.pem\nSSLCertificateKeyFile {live}/key.pem\n</VirtualHost>\n"
        )

    def command(self, *words: str) -> list[str]:
        program = shutil.which("apache2", path=SBIN) or shutil.which("httpd", path=SBIN)
        return [str(program), "-f", str(self.config), *words]

    def test(self) -> list[str]:
        return self.command("-t")

    def reload(self) -> list[str]:
        return self.command("-k", "graceful")

    def foreground(self) -> list[str]:
        return self.command("-DFOREGROUND")


def modules() -> str | None:
    """Apache's module folder, or None."""
    for folder in MODULE_FOLDERS:
        if all(pathlib.Path(folder, f"mod_{name}.so").exists() for name in MODULES):
            return folder
    return None


def missing(kind: str) -> str:
    """Why a kind of server cannot be started here, or ''."""
    programs = {"nginx": ("nginx",), "apache": ("apache2", "httpd")}[kind]
    if not any(shutil.which(program, path=SBIN) for program in programs):
        return f"{kind} is not installed here"
    if kind == "apache" and modules() is None:
        return "Apache's modules were not found"
    return ""


@contextlib.contextmanager
def running(kind: str, path: pathlib.Path, issuer: Issuer) -> Iterator[Server]:
    """A server that is stopped at the end; its configuration has no virtual host yet."""
    server = {"nginx": Nginx, "apache": Apache}[kind](path, issuer)
    try:
        yield server
    finally:
        server.stop()

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real postfix, dovecot, slapd and haproxy on loopback, each with a configuration directory of its own."""

from __future__ import annotations

import getpass
import grp
import os
import pathlib
import shutil
import socket
import subprocess
import time
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _probe, _x509
from ansible_collections.campus.upki.tests.integration import servers
from ansible_collections.campus.upki.tests.integration.servers import NAME, SBIN, Issuer


def program(name: str) -> str:
    return str(shutil.which(name, path=SBIN))


class Daemon(servers.Server):
    """A server that begins without TLS; `secure` writes the configuration that names the certificate."""

    programs: tuple[str, ...] = ()
    starttls = ""
    broken = "this line means nothing\n"  # what its own configuration test refuses

    def __init__(self, path: pathlib.Path, issuer: Issuer) -> None:
        self.live = pathlib.Path(issuer.store.path, NAME, "live")
        self.tls = False
        self.plain_port = servers.free_port()
        super().__init__(path, issuer)
        self.prepare()

    def prepare(self) -> None:
        """What else must lie in the directory."""

    def vhost(self, name: str) -> str:
        raise AssertionError("it has no virtual hosts")

    def secure(self, extra: str = "") -> None:
        """The configuration with TLS; the server does not read it by itself."""
        self.tls = True
        self.config.write_text(self.main() + extra)

    def row(self, **changes: Any) -> dict[str, Any]:
        return {self.kind: {"test": self.test(), "reload": self.reload(), "timeout": 20, **changes}}

    def item(self, name: str = NAME, **changes: Any) -> dict[str, Any]:
        more = {"starttls": self.starttls} if self.starttls else {}
        return super().item(name, **{**more, "links": self.links(), **changes})

    def links(self) -> list[dict[str, Any]]:
        return []

    def start(self) -> None:
        with open(self.path / "console.log", "ab") as log:
            self.process = subprocess.Popen(
                self.foreground(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.await_open()

    def await_open(self) -> None:
        end = time.monotonic() + 20
        while not self.is_open():
            assert self.process is None or self.process.poll() is None, (self.path / "console.log").read_text()
            assert time.monotonic() < end, (self.path / "console.log").read_text()
            time.sleep(0.05)

    def is_open(self) -> bool:
        """Whether it accepts connections on the port that it has with and without TLS."""
        try:
            socket.create_connection(("127.0.0.1", self.plain_port if self.kind == "haproxy" else self.port), 1).close()
        except OSError:
            return False
        return True

    def served(self, name: str = NAME, port: int = 0) -> int | None:
        seen = _probe.look("127.0.0.1", port or self.port, name, self.starttls)
        return None if seen.leaf is None else int(_x509.certificate_from_der(seen.leaf).serial_number)


class Postfix(Daemon):
    """smtpd alone, with STARTTLS. Its master process refuses to run for anybody but root."""

    kind, programs, starttls = "postfix", ("postfix", "postconf"), "smtp"
    folders = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved")

    def prepare(self) -> None:
        self.config = self.path / "main.cf"
        self.config.write_text(self.main())
        (self.path / "dynamicmaps.cf").write_text("")
        (self.path / "queue").mkdir()
        (self.path / "data").mkdir()
        shutil.chown(self.path / "data", "postfix")
        services = [
            f"127.0.0.1:{self.port} inet n - n - - smtpd",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "cleanup unix n - n - 0 cleanup",
            "rewrite unix - - n - - trivial-rewrite",
            "anvil unix - - n - 1 anvil",
            "postlog unix-dgram n - n - 1 postlogd",
        ]
        (self.path / "master.cf").write_text("\n".join(services) + "\n")
        rows = ["$data_directory:d:$mail_owner:-:700:uc", "$queue_directory:d:root:-:755:uc"]
        rows += [f"$queue_directory/{name}:d:$mail_owner:-:700:uc" for name in self.folders]
        rows += [
            "$queue_directory/pid:d:root:-:755:uc",
            "$queue_directory/public:d:$mail_owner:$setgid_group:710:uc",
            "$queue_directory/maildrop:d:$mail_owner:$setgid_group:730:uc",
        ]
        (self.path / "postfix-files").write_text("\n".join(rows) + "\n")

    def main(self) -> str:
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.path / "queue",
            "data_directory": self.path / "data",
            "meta_directory": self.path,
            "maillog_file": self.path / "mail.log",
            "maillog_file_prefixes": self.path,
            "inet_protocols": "ipv4",
            "service_throttle_time": "1s",
            "myhostname": NAME,
            "mydestination": "",
            "local_recipient_maps": "",
            "alias_maps": "",
            "alias_database": "",
        }
        if self.tls:
            settings["smtpd_tls_security_level"] = "may"
            settings["smtpd_tls_cert_file"] = self.live / "fullchain.pem"
            settings["smtpd_tls_key_file"] = self.live / "key.pem"
        return "".join(f"{key} = {value}\n" for key, value in settings.items())

    def command(self, *words: str) -> list[str]:
        return [program("postfix"), "-c", str(self.path), *words]

    def test(self) -> list[str]:
        return self.command("check")

    def reload(self) -> list[str]:
        return self.command("reload")

    def foreground(self) -> list[str]:
        return self.command("start-fg")

    def stop(self) -> None:
        if self.process is not None:
            subprocess.run(self.command("stop"), capture_output=True, timeout=30, check=False)
        super().stop()


class Dovecot(Daemon):
    """imap and pop3, both with STARTTLS."""

    kind, programs, starttls = "dovecot", ("dovecot", "doveconf", "doveadm"), "imap"
    broken = "this_setting_does_not_exist = yes\n"

    def main(self) -> str:
        user = ""
        if os.geteuid() != 0:
            me, group = getpass.getuser(), grp.getgrgid(os.getegid()).gr_name
            user = f"default_login_user = {me}\ndefault_internal_user = {me}\ndefault_internal_group = {group}\n"
        ports = f"service imap-login {{\n{user and 'chroot =' + chr(10)}inet_listener imap {{\nport = {self.port}\n}}\n"
        ports += "inet_listener imaps {\nport = 0\n}\n}\n"
        ports += f"service pop3-login {{\n{user and 'chroot =' + chr(10)}"
        ports += f"inet_listener pop3 {{\nport = {self.plain_port}\n}}\ninet_listener pop3s {{\nport = 0\n}}\n}}\n"
        ports += "service anvil {\nchroot =\n}\n" if user else ""
        tls = "ssl = no\n"
        if self.tls:
            tls = f"ssl = required\nssl_cert = <{self.live}/fullchain.pem\nssl_key = <{self.live}/key.pem\n"
        return (
            f"base_dir = {self.path}/run\nstate_dir = {self.path}/state\nlog_path = {self.path}/dovecot.log\n"
            f"protocols = imap pop3\nlisten = 127.0.0.1\n{user}{ports}{tls}"
            f"passdb {{\ndriver = passwd-file\nargs = {self.path}/users\n}}\n"
            f"userdb {{\ndriver = passwd-file\nargs = {self.path}/users\n}}\n"
        )

    def command(self, *words: str) -> list[str]:
        return [program(words[0]), "-c", str(self.config), *words[1:]]

    def test(self) -> list[str]:
        return self.command("doveconf", "-n")

    def reload(self) -> list[str]:
        return self.command("doveadm", "reload")

    def foreground(self) -> list[str]:
        return self.command("dovecot", "-F")


class Haproxy(Daemon):
    """A master process with workers, as Debian's unit starts it; key and chain are one file, a copy."""

    kind, programs = "haproxy", ("haproxy",)

    def prepare(self) -> None:
        (self.path / "certs").mkdir(mode=0o700)

    @property
    def combined(self) -> pathlib.Path:
        return self.path / "certs" / f"{NAME}.pem"

    def links(self) -> list[dict[str, Any]]:
        return [{"path": str(self.combined), "what": "combined"}]

    def main(self) -> str:
        text = (
            f"global\n  stats socket {self.path}/socket\n{'  user nobody' if os.geteuid() == 0 else ''}\n"
            "defaults\n  mode http\n  timeout connect 5s\n"
            f"  timeout client 5s\n  timeout server 5s\n"
            f"frontend plain\n  bind 127.0.0.1:{self.plain_port}\n  http-request return status 204\n"
        )
        if self.tls:
            text += f"frontend tls\n  bind 127.0.0.1:{self.port} ssl crt {self.combined}\n"
            text += "  http-request return status 204\n"
        return text

    def test(self) -> list[str]:
        return [program("haproxy"), "-c", "-f", str(self.config)]

    def reload(self) -> list[str]:
        """What the unit's ExecReload does."""
        assert self.process is not None
        return ["/bin/kill", "-USR2", str(self.process.pid)]

    def foreground(self) -> list[str]:
        return [program("haproxy"), "-W", "-f", str(self.config)]


USER = "openldap"  # Debian's, and the name of its group


class Slapd(Daemon):
    """A directory without a database: it answers STARTTLS. Started anew where others reload.

    As Debian's it gives up root before it reads its key, of which it therefore has a copy.
    """

    kind, starttls = "slapd", "ldap"
    programs: tuple[str, ...] = ("slapd", "slaptest")

    def links(self) -> list[dict[str, Any]]:
        rights = {"group": USER, "mode": "0640"} if self.gives_up_root() else {}
        return [{"path": str(self.path / "tls" / f"{NAME}.key"), "what": "key", "copy": True, **rights}]

    @staticmethod
    def gives_up_root() -> bool:
        return os.geteuid() == 0 and USER in {one.gr_name for one in grp.getgrall()}

    def main(self) -> str:
        text = f"pidfile {self.path}/pid\nargsfile {self.path}/args\n"
        if self.tls:
            text += f"TLSCertificateFile {self.live}/fullchain.pem\n"
            text += f"TLSCertificateKeyFile {self.path}/tls/{NAME}.key\n"
        return text

    def prepare(self) -> None:
        """The script stands for `systemctl restart slapd`: stop it, start it, fail when it does not come up."""
        (self.path / "tls").mkdir()
        words = [program("slapd"), "-f", str(self.config), "-h", f"ldap://127.0.0.1:{self.port}"]
        if self.gives_up_root():
            shutil.chown(self.path, USER)
            words += ["-u", USER, "-g", USER]
        start = " ".join(words)
        (self.path / "restart").write_text(
            "#!/bin/sh\n"
            f"read -r old < {self.path}/pid && kill $old\n"
            f'while [ -n "$old" ] && kill -0 $old 2>/dev/null; do sleep 0.1; done\nexec {start}\n'
        )

    def test(self) -> list[str]:
        return [program("slaptest"), "-u", "-f", str(self.config)]

    def reload(self) -> list[str]:
        return ["/bin/sh", str(self.path / "restart")]

    def start(self) -> None:
        subprocess.run(self.reload(), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
        self.await_open()

    def stop(self) -> None:
        process = int((self.path / "pid").read_text())
        os.kill(process, 15)
        end = time.monotonic() + 20
        while pathlib.Path(f"/proc/{process}").exists():  # at its end it removes files
            assert time.monotonic() < end, "slapd does not end"
            time.sleep(0.05)


class OnlineSlapd(Slapd):
    """slapd with its configuration in cn=config: setting the same paths again makes it read the files."""

    programs = ("slapd", "slaptest", "slapadd", "ldapmodify")

    def links(self) -> list[dict[str, Any]]:
        return []

    def prepare(self) -> None:
        files = {"olcTLSCertificateFile": "fullchain.pem", "olcTLSCertificateKeyFile": "key.pem"}
        settings = {name: f"{name}: {self.live}/{file}\n" for name, file in files.items()}
        user = f"gidNumber={os.getegid()}+uidNumber={os.geteuid()},cn=peercred,cn=external,cn=auth"
        (self.path / "start.ldif").write_text(
            f"dn: cn=config\nobjectClass: olcGlobal\ncn: config\nolcPidFile: {self.path}/pid\n"
            + "".join(settings.values())
            + "\ndn: olcDatabase={0}config,cn=config\nobjectClass: olcDatabaseConfig\nolcDatabase: {0}config\n"
            f"olcAccess: {{0}}to * by dn.exact={user} manage by * none\n"
        )
        (self.path / "reload.ldif").write_text(
            "dn: cn=config\nchangetype: modify\n"
            + "-\n".join(f"replace: {name}\n{setting}" for name, setting in settings.items())
        )
        (self.path / "slapd.d").mkdir()

    @property
    def socket(self) -> str:
        return "ldapi://" + f"{self.path}/ldapi".replace("/", "%2F")

    def test(self) -> list[str]:
        return [program("slaptest"), "-u", "-F", str(self.path / "slapd.d")]

    def reload(self) -> list[str]:
        return [program("ldapmodify"), "-Q", "-Y", "EXTERNAL", "-H", self.socket, "-f", str(self.path / "reload.ldif")]

    def start(self) -> None:
        folder = str(self.path / "slapd.d")
        for command in (
            [program("slapadd"), "-n", "0", "-F", folder, "-l", str(self.path / "start.ldif")],
            [program("slapd"), "-F", folder, "-h", f"ldap://127.0.0.1:{self.port} {self.socket}"],
        ):
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
        self.await_open()


KINDS: dict[str, type[Daemon]] = {one.kind: one for one in (Postfix, Dovecot, Slapd, Haproxy)}
ALL: dict[str, type[Daemon]] = {**KINDS, "online slapd": OnlineSlapd}


def missing(kind: str) -> str:
    """Why a kind of server cannot be started here, or ''."""
    for name in ALL[kind].programs:
        if shutil.which(name, path=SBIN) is None:
            return f"{kind} is not installed here (no {name})"
    if kind == "postfix" and os.geteuid() != 0:
        return "postfix starts as root only"
    if kind == "dovecot" and not version_of_dovecot().startswith("2.3"):
        return f"dovecot {version_of_dovecot()} is configured otherwise; tests/lab has it"
    return ""


def version_of_dovecot() -> str:
    command = [program("dovecot"), "--version"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()

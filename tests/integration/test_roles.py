# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles on plays that are not the ordinary ones; everything happens on this machine, in a temporary folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.campus.upki.plugins.module_utils import _probe
from ansible_collections.campus.upki.tests.integration import playbooks, servers
from ansible_collections.campus.upki.tests.integration.servers import NAME

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
HOSTS = ("web1", "web2", "web3")
VARIABLES = {
    "upki_subject": {"organization": "Example University", "state": "Tokyo", "locality": "Chiyoda-ku"},
    "upki_manager": {"name": "Hanako", "affiliation": "IT centre", "email": "hanako@example.ac.jp"},
    "upki_certificates": [{"name": "{{ inventory_hostname }}.example.ac.jp", "software": "nginx"}],
}


def play(folder: pathlib.Path, tasks: list[dict[str, Any]], extra: dict[str, Any] | None = None, **more: Any) -> str:
    """The output of a playbook on three hosts that are all this machine."""
    hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable} for name in HOSTS}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks, **more}]))
    extra = {**VARIABLES, **(extra or {})}
    paths = {"upki_store": f"{folder}/store/{{{{ inventory_hostname }}}}", "upki_outbox": f"{folder}/outbox"}
    return playbook(folder, "-i", "inventory.json", "-e", json.dumps({**extra, **paths}), "play.yml")


def playbook(folder: pathlib.Path, *words: str, **environment: str) -> str:
    """The output of ansible-playbook in a folder."""
    return playbooks.playbook(folder, *words, **environment)[1]


def lines(folder: pathlib.Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in (folder / "outbox").glob("*.tsv"))


@pytest.mark.parametrize("name", ["request", "renew"])
def test_a_condition_that_leaves_out_the_first_host_loses_no_application(tmp_path: pathlib.Path, name: str) -> None:
    role = {"import_role": {"name": f"campus.upki.{name}"}, "when": "inventory_hostname != 'web1'"}
    output = play(tmp_path, [role])
    assert "failed=1" not in output, output
    assert lines(tmp_path) == 2, output
    assert "changed=1" not in play(tmp_path, [role])
    assert lines(tmp_path) == 2


def test_nor_in_batches_and_all_hosts_write_one_file(tmp_path: pathlib.Path) -> None:
    role = {"import_role": {"name": "campus.upki.request"}, "when": "inventory_hostname != 'web1'"}
    play(tmp_path, [role], serial=1)
    assert lines(tmp_path) == 2
    output = play(tmp_path, [{"import_role": {"name": "campus.upki.request"}}])
    assert lines(tmp_path) == 3, output


def test_the_role_renew_included_at_run_time_and_after_the_role_request_writes_each_application_once(
    tmp_path: pathlib.Path,
) -> None:
    tasks: list[dict[str, Any]] = [
        {"include_role": {"name": "campus.upki.request"}, "when": "inventory_hostname == 'web2'"},
        {"include_role": {"name": "campus.upki.renew"}},
    ]
    output = play(tmp_path, tasks)
    assert "failed=1" not in output, output
    assert lines(tmp_path) == 3, output
    assert "changed=1" not in play(tmp_path, tasks)


def test_the_role_renew_tells_of_itself_also_where_the_two_ran_before(tmp_path: pathlib.Path) -> None:
    name = "{{ label | default('new') }}-{{ inventory_hostname }}.example.ac.jp"
    before: list[dict[str, Any]] = [
        {"import_role": {"name": f"campus.upki.{role}"}, "vars": {"label": "old"}} for role in ("deploy", "request")
    ]
    tasks = [*before, {"import_role": {"name": "campus.upki.renew"}}]
    output = play(tmp_path, tasks, {"upki_certificates": [{"name": name, "software": "nginx"}]})
    assert "new-web2.example.ac.jp: absent: There is neither" in output, output
    assert "new-web2.example.ac.jp: pending: There is no certificate" in output, output


@pytest.mark.parametrize("entry", ["main", "hosts"])
@pytest.mark.parametrize("name", ["request", "renew"])
def test_what_a_role_cannot_do_without_is_asked_for_at_both_entries(
    tmp_path: pathlib.Path, name: str, entry: str
) -> None:
    role = {"import_role": {"name": f"campus.upki.{name}", "tasks_from": entry}}
    output = play(tmp_path, [role], {"upki_subject": {"organization": "Example University"}})
    assert "missing required arguments: locality, state found in upki_subject" in output, output
    assert not (tmp_path / "store").exists()


# --- the virtual hosts of nginx and Apache -----------------------------------------------------------------------

PAGE = "the main server's page\n"
BOTH = ("127.0.0.1", "::1")


class Host:
    """A real server that speaks plain HTTP, a store with a live certificate, and the role that joins them."""

    def __init__(self, server: servers.Server) -> None:
        self.server, self.issuer, self.kind = server, server.issuer, server.kind
        self.folder = server.path / "conf.d"
        self.file = self.folder / "upki.conf"
        self.plain = servers.free_port()
        self.text = ""
        self.names = [NAME, f"docs.{NAME}"]
        self.temporary, self.journal = server.path / "temporary files", server.path / "journal"
        self.temporary.mkdir()
        (server.path / "html").mkdir()
        (server.path / "html" / "index.html").write_text(PAGE)
        server.config.write_text({"nginx": self.nginx, "apache": self.apache}[self.kind](server.config.read_text()))
        self.serial = self.issuer.issue(
            self.issuer.request(dns_names=tuple(self.names)), names=self.names
        ).serial_number
        self.issuer.install({"name": NAME})

    def nginx(self, text: str) -> str:
        """With a server behind the others and not marked as the default, as Red Hat has it."""
        page = f"server {{ listen 127.0.0.1:{self.plain}; listen [::1]:{self.plain}; server_name _;\n"
        assert text.endswith("}\n")
        return f"{text[:-2]}{page}root {self.server.path}/html; }}\n}}\n"

    def apache(self, text: str) -> str:
        """With the modules in a file of their own, as distributions have them."""
        modules = [
            f"LoadModule {name}_module {servers.modules()}/mod_{name}.so" for name in ("alias", "dir", "headers")
        ]
        modules += [line for line in text.splitlines() if line.startswith("LoadModule")]
        (self.server.path / "modules").mkdir()
        (self.server.path / "modules" / "all.load").write_text("\n".join(modules) + "\n")
        lines = [line for line in text.splitlines() if not line.startswith(("LoadModule", "Listen"))]
        lines.insert(1, "Include modules/*.load")
        lines += [
            f"Listen 127.0.0.1:{self.plain}",
            f"Listen [::1]:{self.plain}",
            f"DocumentRoot {self.server.path}/html",
        ]
        return "\n".join(lines) + "\n"

    def variables(self) -> dict[str, Any]:
        test, reload = self.noted("test", self.server.test()), self.noted("reload", self.server.reload())
        variables: dict[str, Any] = {
            "upki_certificates": [{"name": NAME, "dns_names": self.names, "server": self.kind}],
            "upki_store": self.issuer.store.path,
            f"upki_{self.kind}_listen": [f"127.0.0.1:{self.server.port}", f"[::1]:{self.server.port}"],
            f"upki_{self.kind}_root": str(self.server.path / "html"),
        }
        if self.kind == "nginx":
            own = {"config_dir": str(self.folder), "test": test, "reload": reload, "validate": self.server.test()}
            return variables | {f"upki_nginx_{key}": value for key, value in own.items()}
        layout = {"config_dir": str(self.folder), "test": test, "reload": reload, "validate": self.server.test()}
        layout |= {"server_root": str(self.server.path), "load": ["modules/*.load"]}
        return variables | {"upki_apache_layout": layout, "upki_apache_addresses": [f"*:{self.server.port}"]}

    def without_trial(self) -> dict[str, Any]:
        """What leaves out the test of the new file alone."""
        if self.kind == "nginx":
            return {"upki_nginx_validate": []}
        return {"upki_apache_layout": {**self.variables()["upki_apache_layout"], "validate": []}}

    def redirect(self) -> dict[str, Any]:
        if self.kind == "nginx":
            return {"upki_nginx_redirect_listen": [f"127.0.0.1:{self.plain}", f"[::1]:{self.plain}"]}
        return {"upki_apache_redirect_listen": [str(self.plain)]}

    def wrong(self) -> dict[str, Any]:
        """A setting that the server's parser refuses."""
        if self.kind == "nginx":
            return {"upki_nginx_listen": [f"127.0.0.1:{self.server.port} nonsense"]}
        return {"upki_apache_addresses": [f"*:{self.server.port}>\n<nonsense"]}

    def noted(self, word: str, command: list[str]) -> list[str]:
        """A command that leaves a word in the journal when it is called."""
        return ["sh", "-c", f'echo {word} >>"{self.journal}"; exec "$@"', "sh", *command]

    def run(self, *options: str, family: str = "", **changes: Any) -> str:
        """The role, with what it printed; on a family of systems without the folder of pages that the tests have."""
        self.journal.write_text("")
        variables = self.variables()
        tasks: list[dict[str, Any]] = [{"include_role": {"name": f"campus.upki.{self.kind}"}}]
        if family:
            tasks.insert(0, {"set_fact": {"os_family": family, "cacheable": True}})
            del variables[f"upki_{self.kind}_root"]
        (self.server.path / "play.yml").write_text(
            json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
        )
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        extra = json.dumps({**local, **variables, **changes})
        environment = {"TMPDIR": str(self.temporary)}
        output = playbook(self.server.path, "-i", "web,", "-e", extra, "play.yml", *options, **environment)
        return output.replace("\\n", " ")

    @property
    def called(self) -> list[str]:
        return self.journal.read_text().splitlines()

    def state(self) -> dict[str, tuple[int, int, bytes]]:
        """Each file that the role may touch: inode, time of its last change, content."""
        paths = [*self.folder.iterdir(), *self.temporary.iterdir()]
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    def get(self, path: str, name: str = NAME, address: str = "127.0.0.1") -> tuple[int, str, str]:
        """(status, Location, page) of a request in plain HTTP."""
        connection = http.client.HTTPConnection(address, self.plain, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": name})
            response = connection.getresponse()
            return response.status, response.getheader("Location", ""), response.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/")[0] in (200, 301)
        return False


def until(truth: Callable[[], object]) -> None:
    """Wait for what a server does after its reload."""
    end = time.monotonic() + 10
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["nginx", "apache"])
def started(request: pytest.FixtureRequest) -> Iterator[Host]:
    """One of each kind, whose server runs and has its virtual host, in a folder that the server's own user reaches."""
    if servers.missing(request.param):
        pytest.skip(servers.missing(request.param))
    path = pathlib.Path(tempfile.mkdtemp(prefix="upki-roles-"))
    path.chmod(0o755)
    try:
        with servers.running(request.param, path / "server", servers.Issuer(path)) as server:
            made = Host(server)
            with open(server.path / "console.log", "ab") as log:
                server.process = subprocess.Popen(
                    server.foreground(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            until(made.answers)
            output = made.run()
            assert recap(output)["failed"] == 0, output
            assert made.called == ["test", "reload"]
            made.text = made.file.read_text()
            yield made
    finally:
        shutil.rmtree(path)


@pytest.fixture
def bare(started: Host) -> Host:
    """A host before the role has ever run."""
    shutil.rmtree(started.folder)
    started.folder.mkdir()
    started.journal.write_text("")
    return started


@pytest.fixture
def host(bare: Host) -> Host:
    """A host on which the role has run, as it left it."""
    bare.file.write_text(bare.text)
    bare.file.chmod(0o644)
    subprocess.run(bare.server.reload(), capture_output=True, timeout=20, check=True)
    until(lambda: bare.get("/")[0] == 200 and bare.server.served() == bare.serial)
    return bare


def recap(output: str) -> dict[str, int]:
    """What the last line of a play counts."""
    return {key: int(value) for key, value in re.findall(r"(ok|changed|failed|rescued)=(\d+)", output)}


def test_virtual_hosts_serve_on_ipv4_and_ipv6(host: Host) -> None:
    assert _probe.look("127.0.0.1", host.server.port, NAME).leaf is not None
    assert _probe.look("::1", host.server.port, NAME).leaf is not None


def test_with_nothing_due_one_module_looks_and_that_is_all(host: Host) -> None:
    before = host.state()
    output = host.run("-vvvv")
    assert recap(output)["changed"] == recap(output)["failed"] == 0, output
    assert re.findall(r"Using module file .*/(\w+)\.py", output) == ["find"], output
    assert "WARNING" not in output, output
    assert host.called == []
    assert host.state() == before


def test_the_settings_are_mozillas_and_no_more_than_asked_for(host: Host) -> None:
    assert "6.0 intermediate" in host.text
    assert len(re.findall(r"listen|<VirtualHost", host.text)) == {"nginx": 2, "apache": 1}[host.kind]
    assert negotiated(host, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert negotiated(host, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert negotiated(host, ssl.TLSVersion.TLSv1_2, "AES128-SHA256") == ""
    assert negotiated(host, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA256") == ""
    assert header(host) == ""
    hsts: dict[str, Any] = {f"upki_{host.kind}_hsts": 300}
    host.run(**hsts)
    until(lambda: header(host) == "max-age=300")


def connected(host: Host, version: ssl.TLSVersion, ciphers: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(host.issuer.path / "roots" / "ca.cer"))
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    plain = socket.create_connection(("127.0.0.1", host.server.port), timeout=10)
    return context.wrap_socket(plain, server_hostname=NAME)


def negotiated(host: Host, version: ssl.TLSVersion, ciphers: str = "DEFAULT") -> str:
    """The version of a handshake, '' when the server refuses it."""
    try:
        with connected(host, version, ciphers) as connection:
            return str(connection.version())
    except ssl.SSLError:
        return ""


def header(host: Host) -> str:
    """Strict-Transport-Security of a page."""
    with connected(host, ssl.TLSVersion.TLSv1_3, "DEFAULT") as connection:
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert PAGE in answer, answer
    return (re.findall(r"^Strict-Transport-Security: (.*)\r$", answer, re.MULTILINE) or [""])[0]


def test_plain_http_is_redirected_when_asked_for_and_only_for_the_certificates_names(host: Host) -> None:
    output = host.run(**host.redirect())
    assert recap(output)["failed"] == 0, output
    until(lambda: host.get("/")[0] == 301)
    for address in BOTH:
        for name in host.names:
            place = host.get("/a%20b/c?d=e&f=g", name, address)[:2]
            assert place == (301, f"https://{name}/a%20b/c?d=e&f=g"), (address, place)
            assert host.get("/", name.upper(), address)[1] == f"https://{name}/"
        for stranger in ("other.example.ac.jp", f"not{NAME}", f"{NAME}.example.com"):
            assert host.get("/", stranger, address) == (200, "", PAGE), stranger


def test_a_file_that_the_parser_refuses_never_takes_the_place_of_the_former_one(host: Host) -> None:
    before = host.state()
    output = host.run(**host.wrong())
    assert recap(output)["rescued"] == 1 and recap(output)["failed"] == 1, output
    assert host.state() == before
    assert host.called == []
    (message,) = re.findall(r'"msg": "(Write the virtual hosts: .*)"', output)
    assert "nonsense" in message and " upki.conf" in message, message
    assert f"{host.folder}/upki.conf was not touched, and the server was not reloaded." in message
    assert str(host.temporary) not in message
    assert host.server.served() == host.serial


def test_nor_is_a_first_one_placed(bare: Host) -> None:
    output = bare.run(**bare.wrong())
    assert "was not touched" in output, output
    assert bare.state() == {}
    assert bare.called == []


def test_what_is_wrong_only_as_a_whole_is_taken_back(host: Host) -> None:
    (host.folder / "zz.conf").write_text("nonsense;\n")
    output = host.run(**host.redirect())
    assert "Test the configuration: " in output and "nonsense" in output, output
    assert f"The former configuration is back in {host.folder}." in output
    assert host.called == ["test"]
    assert set(host.state()) == {"upki.conf", "zz.conf"}
    assert host.file.read_text() == host.text


def test_and_a_first_one_removed(bare: Host) -> None:
    (bare.folder / "zz.conf").write_text("nonsense;\n")
    output = bare.run()
    assert "The former configuration is back" in output, output
    assert set(bare.state()) == {"zz.conf"}


def test_without_the_test_of_the_file_alone_it_is_taken_back_all_the_same(host: Host) -> None:
    output = host.run(**{**host.without_trial(), **host.wrong()})
    assert "Test the configuration: " in output and "nonsense" in output, output
    assert host.called == ["test"]
    assert list(host.state()) == ["upki.conf"]
    assert host.file.read_text() == host.text


@pytest.mark.parametrize(
    "command, answer",
    [("echo too busy >&2; exit 1", "too busy"), ("sleep 100", "It had not ended after 1 seconds: ")],
    ids=["fails", "hangs"],
)
def test_a_reload_that_fails_brings_the_former_file_back_and_reloads_again(
    host: Host, command: str, answer: str
) -> None:
    reload = host.noted("reload", ["sh", "-c", command])
    changes: dict[str, Any] = {"upki_nginx_reload": reload}
    if host.kind == "apache":
        changes = {"upki_apache_layout": {**host.variables()["upki_apache_layout"], "reload": reload}}
    output = host.run(**{**host.redirect(), **changes}, upki_vhosts_timeout=1)
    assert f"Reload the server: {answer}" in output and "The former configuration is back" in output, output
    assert host.called == ["test", "reload", "reload"]
    assert list(host.state()) == ["upki.conf"]
    assert host.file.read_text() == host.text


def test_a_run_that_was_killed_before_its_test_is_finished_by_the_next(host: Host) -> None:
    (host.folder / "upki.conf.former").write_text("# what was there before\n")
    output = host.run()
    assert recap(output)["failed"] == 0, output
    assert host.called == ["test", "reload"]
    assert list(host.state()) == ["upki.conf"]
    assert host.file.read_text() == host.text


def test_or_taken_back_where_it_is_wrong(host: Host) -> None:
    (host.folder / "upki.conf.former").write_text("# what was there before\n")
    (host.folder / "zz.conf").write_text("nonsense;\n")
    output = host.run()
    assert "The former configuration is back" in output, output
    assert host.file.read_text() == "# what was there before\n"
    assert set(host.state()) == {"upki.conf", "zz.conf"}


def test_check_mode_announces_and_writes_nothing(bare: Host) -> None:
    output = bare.run("--check", "--diff", family="RedHat")
    assert recap(output)["changed"] >= 1 and recap(output)["failed"] == 0, output
    assert {"nginx": "root /usr/share/nginx/html;", "apache": "DocumentRoot /var/www/html"}[bare.kind] in output
    assert bare.state() == {} and bare.called == []


# --- the layouts of distributions --------------------------------------------------------------------------------


class Layout:
    """Apache's folders as a family of distributions has them, with the family's own commands, below another root."""

    def __init__(self, path: pathlib.Path, family: str) -> None:
        self.path, self.root = path, path / {"Debian": "etc/apache2", "RedHat": "etc/httpd"}[family]
        vars_file = CHECKOUT / "roles" / "apache" / "vars" / f"{family}.yml"
        text = vars_file.read_text().replace(f"/{self.root.relative_to(path)}", str(self.root))
        self.layout = yaml.safe_load(text)["upki_apache_layout"]
        self.issuer = servers.Issuer(path)
        self.issuer.issue(self.issuer.request())
        self.issuer.install({"name": NAME})
        {"Debian": self.debian, "RedHat": self.red_hat}[family]()
        self.folder = pathlib.Path(self.layout["config_dir"])

    def debian(self) -> None:
        """A copy of this machine's own, in the state of a new installation."""
        shutil.copytree("/etc/apache2", self.root, symlinks=True)
        for name in ("ssl", "headers", "socache_shmcb"):
            (self.root / "mods-enabled" / f"{name}.load").unlink(missing_ok=True)
            (self.root / "mods-enabled" / f"{name}.conf").unlink(missing_ok=True)
        with open(self.root / "envvars", "a", encoding="ascii") as stream:
            for name in ("RUN", "LOCK", "LOG"):
                (self.path / name.lower()).mkdir()
                stream.write(f"export APACHE_{name}_DIR={self.path}/{name.lower()}\n")
            stream.write(f"export APACHE_PID_FILE={self.path}/run/apache2.pid\n")

    def red_hat(self) -> None:
        """Red Hat's commands are this machine's Apache, with its main configuration in another place."""
        for folder in ("conf", "conf.d", "conf.modules.d", "bin"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "modules").symlink_to(str(servers.modules()))
        modules = [*servers.MODULES, "alias", "dir", "headers"]
        lines = [f"LoadModule {name}_module modules/mod_{name}.so\n" for name in modules]
        (self.root / "conf.modules.d" / "00-all.conf").write_text("".join(lines))
        (self.root / "conf" / "httpd.conf").write_text(
            f"ServerRoot {self.root}\nServerName localhost\nInclude conf.modules.d/*.conf\nErrorLog {self.path}/log\n"
            "IncludeOptional conf.d/*.conf\n"
        )
        program = shutil.which("apache2", path=servers.SBIN) or shutil.which("httpd", path=servers.SBIN)
        httpd = f'#!/bin/sh\nexec {program} -d {self.root} -f {self.root}/conf/httpd.conf "$@"\n'
        apachectl = f'#!/bin/sh\ntest "$#$1" = 1configtest && exec {self.root}/bin/httpd -t\nexit 2\n'
        for name, text in (("httpd", httpd), ("apachectl", apachectl)):
            (self.root / "bin" / name).write_text(text)
            (self.root / "bin" / name).chmod(0o755)

    def run(self, **changes: Any) -> str:
        """The role, with a PATH in which administrators' programs are missing."""
        role = {"include_role": {"name": "campus.upki.apache"}}
        (self.path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [role]}]))
        extra = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "upki_certificates": [{"name": NAME, "server": "apache"}],
            "upki_store": self.issuer.store.path,
            "upki_apache_root": str(self.path),
            "upki_apache_layout": {**self.layout, "reload": ["true"]},
        }
        paths = [str(self.root / "bin"), str(pathlib.Path(sys.executable).parent), "/usr/bin", "/bin"]
        output = playbook(
            self.path, "-i", "web,", "-e", json.dumps({**extra, **changes}), "play.yml",
            APACHE_CONFDIR=str(self.root), PATH=os.pathsep.join(paths),
        )  # fmt: skip
        return output.replace("\\n", " ")

    @property
    def modules(self) -> set[str]:
        """Which of the modules are on that a new installation does not have on."""
        on = {path.stem for path in (self.root / "mods-enabled").glob("*.load")}
        return on & {"ssl", "headers"}


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    if servers.missing("apache"):
        pytest.skip(servers.missing("apache"))
    path = pathlib.Path(tempfile.mkdtemp(prefix="upki-roles-"))
    yield path
    shutil.rmtree(path)


def test_debians_layout_has_its_modules_switched_on_for_a_file_that_is_right(place: pathlib.Path) -> None:
    if shutil.which("a2enmod", path=servers.SBIN) is None or not pathlib.Path("/etc/apache2/mods-available").is_dir():
        pytest.skip("no Apache of Debian's here")
    layout = Layout(place, "Debian")
    before = sorted(path.name for path in layout.folder.iterdir())
    output = layout.run(upki_apache_addresses=["*:443>\n<nonsense"])
    assert "upki.conf was not touched" in output and "nonsense" in output, output
    assert layout.modules == set()
    (layout.folder / "zz.conf").write_text("nonsense\n")
    output = layout.run()
    assert "Test the configuration: " in output and "The former configuration is back" in output, output
    assert layout.modules == set()
    (layout.folder / "zz.conf").unlink()
    assert sorted(path.name for path in layout.folder.iterdir()) == before
    output = layout.run(upki_apache_hsts=300)
    assert recap(output)["failed"] == 0, output
    assert layout.modules == {"ssl", "headers"}
    assert "SSLEngine on" in (layout.folder / "upki.conf").read_text()
    assert recap(layout.run(upki_apache_hsts=300))["changed"] == 0


def test_red_hats_layout_is_tested_by_httpd(place: pathlib.Path) -> None:
    layout = Layout(place, "RedHat")
    output = layout.run(upki_apache_addresses=["*:443>\n<nonsense"])
    assert "upki.conf was not touched" in output and "nonsense" in output, output
    assert list(layout.folder.iterdir()) == []
    output = layout.run(upki_apache_chain_file=True, upki_apache_redirect_listen=["80"])
    assert recap(output)["failed"] == 0, output
    text = (layout.folder / "upki.conf").read_text()
    assert f"SSLCertificateFile {layout.issuer.store.path}/{NAME}/live/certificate.pem\n" in text
    assert f"SSLCertificateChainFile {layout.issuer.store.path}/{NAME}/live/chain.pem\n" in text
    assert "TLSv1.3" not in text and "SSLSessionTickets" not in text and "<VirtualHost *:80>" in text


def test_an_apache_whose_modules_cannot_be_switched_on_says_so(place: pathlib.Path) -> None:
    layout = Layout(place, "RedHat")
    layout.layout = {**layout.layout, "modules": ["no_such_module"], "validate": []}
    (layout.root / "mods-enabled").mkdir()
    output = layout.run()
    assert "Switch on the modules that are needed: " in output, output
    assert "One or more items failed The former" not in output
    assert list(layout.folder.iterdir()) == []

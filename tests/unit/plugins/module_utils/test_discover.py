# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual hosts found in the dumps of nginx and Apache, of the real programs too where they are installed."""

import os
import pathlib
import shutil
import subprocess

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _discover
from ansible_collections.campus.upki.tests.unit import pki

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

NGINX = """\
# configuration file /etc/nginx/nginx.conf:
events { }
http {
    log_format main '$remote_addr { "quoted"; }'; # a comment with server { listen 1 ssl; }
    map $a $b { default "x;y"; }
    include sites/*.conf;
    server { listen 80 default_server; server_name plain.example; }
    upstream pool { server 192.0.2.1:443; }
}

# configuration file /etc/nginx/sites/a.conf:
server {
    listen 443 ssl http2;
    listen [::]:443 ssl;
    listen 192.0.2.7:8443 ssl;
    listen unix:/run/a.sock ssl;
    server_name a.example "www.a.example" A.EXAMPLE;
    location / { return 301 https://${host}/; }
}
server { listen 443 ssl; server_name _; }
server { include snippets/tls.conf; server_name b.example *.b.example ~^c\\d+$; }
server { listen 9443; ssl on; server_name old.example; }
server { listen 7443 ssl; }

# configuration file /etc/nginx/snippets/tls.conf:
listen [2001:db8::1]:443 ssl;
ssl_protocols TLSv1.2 TLSv1.3;
"""


def nginx(text=NGINX):
    return [(name, address, port) for name, address, port, _file in _discover.nginx_hosts(text)]


def test_nginx():
    assert nginx() == [
        (name, address, port)
        for address, port in (("", 443), ("[::]", 443), ("192.0.2.7", 8443))
        for name in ("a.example", "www.a.example", "A.EXAMPLE")
    ] + [("_", "", 443)] + [(name, "[2001:db8::1]", 443) for name in ("b.example", "*.b.example", "~^c\\d+$")] + [
        ("old.example", "", 9443),
        ("_", "", 7443),
    ]


@pytest.mark.parametrize(
    "text", ["", "junk", "# configuration file /x:\nserver {", "# configuration file /x:\n}};{\"'"]
)
def test_dumps_that_are_none(text):
    assert nginx(text) == []
    assert list(_discover.apache_hosts(text)) == []


APACHE = """\
VirtualHost configuration:
*:443                  is a NameVirtualHost
         default server a.example ({0}:1)
         port 443 namevhost a.example ({0}:1)
                 alias www.a.example
         port 443 namevhost b.example ({0}:5)
192.0.2.7:8443         c.example ({0}:1)
*:80                   plain.example ({0}:5)
[2001:db8::1]:443      d.example ({0}:1)
*:*                    any.example ({0}:1)
ServerRoot: "/etc/apache2"
"""


def test_apache(tmp_path):
    (tmp_path / "v.conf").write_text(
        "<VirtualHost *>\n  SSLEngine On\n</VirtualHost>\n\n"
        '<VirtualHost *>\n  # SSLEngine on\n  ServerAlias "www.b.example" x.b.example\n</VirtualHost>\n'
    )
    found = _discover.apache_hosts(APACHE.format(tmp_path / "v.conf"))
    assert [row[:3] for row in found] == [
        ("a.example", "*", 443),
        ("b.example", "*", 443),
        ("www.b.example", "*", 443),
        ("x.b.example", "*", 443),
        ("c.example", "192.0.2.7", 8443),
        ("d.example", "[2001:db8::1]", 443),
    ]


def test_a_virtual_host_whose_file_cannot_be_read():
    assert [row[0] for row in _discover.apache_hosts(APACHE.format("/nonexistent"))] == [
        "a.example",
        "b.example",
        "d.example",
    ]


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """A function that puts programs which print a text in the place of nginx and Apache."""

    def put(**texts):
        rows = []
        for (server, _programs, _arguments, read), text in zip(
            _discover.COMMANDS, (texts.get("nginx"), texts.get("apache"))
        ):
            path = tmp_path / server
            if text is not None:
                path.write_text("#!/bin/sh\ncat <<'END'\n{0}\nEND\nexit {1}\n".format(text, texts.get("status", 0)))
                path.chmod(0o755)
            rows.append((server, (str(path),), [], read))
        monkeypatch.setattr(_discover, "COMMANDS", tuple(rows))

    return put


def test_rows_as_the_roles_know_them(programs):
    programs(nginx=NGINX)
    found = _discover.discover()
    assert [(row["name"], row["endpoint"], row["server"]) for row in found["endpoints"]] == [
        ("a.example", "127.0.0.1:443", "nginx"),
        ("www.a.example", "127.0.0.1:443", "nginx"),
        ("a.example", "192.0.2.7:8443", "nginx"),
        ("www.a.example", "192.0.2.7:8443", "nginx"),
        ("b.example", "[2001:db8::1]:443", "nginx"),
        ("old.example", "127.0.0.1:9443", "nginx"),
    ]
    assert found["endpoints"][0]["file"] == "/etc/nginx/sites/a.conf"
    assert len(found["problems"]) == 4 and all("no name to connect to" in text for text in found["problems"])


def test_a_program_that_fails_is_told(programs):
    programs(nginx="", status=1)
    assert _discover.discover()["endpoints"] == []
    assert "says: nothing" in _discover.discover()["problems"][0]


def test_no_program_at_all(programs):
    programs()
    assert _discover.discover() == {
        "endpoints": [],
        "problems": ["neither nginx nor Apache is installed on this host"],
    }


# --- the real programs ---------------------------------------------------------------------------------------


def output(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8")


@pytest.fixture
def files(tmp_path):
    key = pki.key("leaf a.example")
    (tmp_path / "chain.pem").write_text(pki.pem(pki.CA("Root").issue("a.example")), encoding="ascii")
    (tmp_path / "key.pem").write_bytes(pki.key_pem(key))
    return tmp_path


def test_the_real_nginx(files):
    program = shutil.which("nginx", path=PATH) or pytest.skip("nginx is not installed")
    (files / "tls.conf").write_text("listen 127.0.0.1:45443 ssl;\n")
    (files / "nginx.conf").write_text(
        "pid {0}/pid; error_log stderr; events {{}} http {{ access_log off;\n"
        "client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;\n"
        "scgi_temp_path {0}/s; ssl_certificate {0}/chain.pem; ssl_certificate_key {0}/key.pem;\n"
        "server {{ include tls.conf; server_name a.example; }} server {{ listen 127.0.0.1:45080; }} }}\n".format(files)
    )
    text = output(program, "-T", "-e", "stderr", "-p", str(files), "-c", str(files / "nginx.conf"))
    assert [row[:3] for row in _discover.nginx_hosts(text)] == [("a.example", "127.0.0.1", 45443)]


def test_the_real_apache(files):
    program = shutil.which("apache2", path=PATH) or pytest.skip("Apache is not installed")
    modules = pathlib.Path("/usr/lib/apache2/modules")
    if not (modules / "mod_ssl.so").is_file():
        pytest.skip("Apache's mod_ssl is not at {0}".format(modules))
    load = "".join(
        "LoadModule {0}_module {1}/mod_{0}.so\n".format(name, modules)
        for name in ("mpm_event", "authz_core", "socache_shmcb", "ssl")
    )
    host = "<VirtualHost 127.0.0.1:{1}>\nServerName {2}\nServerAlias www.{2}\n{3}</VirtualHost>\n"
    tls = "SSLEngine on\nSSLCertificateFile {0}/chain.pem\nSSLCertificateKeyFile {0}/key.pem\n".format(files)
    hosts = [(45443, "a.example", tls), (45443, "b.example", tls), (45444, "c.example", tls), (45080, "d.example", "")]
    (files / "httpd.conf").write_text(
        load
        + "ServerName x\nPidFile {0}/pid\nErrorLog {0}/log\nDefaultRuntimeDir {0}\nDocumentRoot {0}\n".format(files)
        + "".join("Listen 127.0.0.1:{0}\n".format(port) for port in (45443, 45444, 45080))
        + "".join(host.format(files, *row) for row in hosts)
    )
    text = output(program, "-f", str(files / "httpd.conf"), "-t", "-D", "DUMP_VHOSTS")
    assert sorted(row[:3] for row in _discover.apache_hosts(text)) == sorted(
        (prefix + name, "127.0.0.1", port) for port, name, block in hosts if block for prefix in ("", "www.")
    )

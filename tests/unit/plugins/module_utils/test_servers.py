# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands a host's server takes."""

import os

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _servers
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with exactly the programs that the test names."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(_servers, "SBIN", ())

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)

    return make


def choose(name, systemd, overrides=None):
    return _servers.choose(name, _servers.merged(overrides), systemd)


@pytest.mark.parametrize(
    "name, there, systemd, reload_command",
    [
        ("nginx", ["nginx", "systemctl"], True, ["systemctl", "reload", "nginx"]),
        ("nginx", ["nginx", "systemctl"], False, ["nginx", "-s", "reload"]),
        ("nginx", ["nginx"], True, ["nginx", "-s", "reload"]),
        ("apache", ["apache2ctl", "apachectl", "systemctl"], True, ["systemctl", "reload", "apache2"]),
        ("apache", ["apache2ctl"], False, ["apache2ctl", "graceful"]),
        ("apache", ["httpd", "apachectl", "systemctl"], True, ["systemctl", "reload", "httpd"]),
        ("apache", ["httpd"], False, ["httpd", "-k", "graceful"]),
        ("postfix", ["postfix"], False, ["postfix", "reload"]),
        ("dovecot", ["doveconf", "doveadm"], False, ["doveadm", "reload"]),
        ("slapd", ["slaptest", "systemctl", "service"], True, ["systemctl", "restart", "slapd"]),
        ("slapd", ["slaptest", "service"], False, ["service", "slapd", "restart"]),
        ("haproxy", ["haproxy", "systemctl", "service"], True, ["systemctl", "reload", "haproxy"]),
        ("haproxy", ["haproxy", "service"], False, ["service", "haproxy", "reload"]),
    ],
)
def test_the_variant_follows_what_the_host_has(programs, name, there, systemd, reload_command):
    programs(*there)
    assert choose(name, systemd)["reload"] == reload_command


def test_no_row_restarts_but_the_one_that_cannot_reload():
    restarting = {
        name for name, variants in _servers.ROWS.items() for variant in variants if "restart" in variant["reload"]
    }
    assert restarting == {"slapd"}


def test_commands_of_administrators_are_found_without_them_in_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setattr(_servers, "SBIN", (str(tmp_path),))
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert choose("nginx", False)["test"] == ["nginx", "-t"]
    assert _servers.search_path() == os.pathsep.join(["/bin", str(tmp_path)])


def test_an_override_replaces_what_it_names_and_keeps_the_rest(programs):
    programs("nginx")
    row = choose("nginx", False, {"nginx": {"timeout": 5}})
    assert row == {"name": "nginx", "test": ["nginx", "-t"], "reload": ["nginx", "-s", "reload"], "timeout": 5}


def test_a_new_row_needs_no_test(programs):
    programs("kick")
    row = choose("gateway", True, {"gateway": {"reload": ["kick"]}})
    assert row == {"name": "gateway", "test": [], "reload": ["kick"], "timeout": _servers.TIMEOUT}


def test_a_missing_program_is_named(programs):
    with pytest.raises(UpkiError) as caught:
        choose("nginx", False)
    assert caught.value.code == "command_missing"
    assert "nginx" in caught.value.message


def test_an_unknown_server_lists_the_known_ones():
    with pytest.raises(UpkiError) as caught:
        choose("lighttpd", False)
    assert caught.value.code == "server_unknown"
    assert "apache, custom" in caught.value.message


@pytest.mark.parametrize("overrides", [None, {"custom": {"test": ["true"]}}])
def test_a_row_without_reload_is_refused(overrides):
    with pytest.raises(UpkiError) as caught:
        choose("custom", False, overrides)
    assert caught.value.code == "server_incomplete"


@pytest.mark.parametrize(
    "row, words",
    [
        ("nginx -t", "dictionary"),
        ({"reload": "nginx -s reload"}, "list of words"),
        ({"reload": []}, "list of words"),
        ({"test": [1]}, "list of words"),
        ({"reload": ["x"], "restart": ["x"]}, "unknown item 'restart'"),
        ({"reload": ["x"], "timeout": 0}, "above 0"),
        ({"reload": ["x"], "timeout": "soon"}, "above 0"),
        ({"reload": ["x"], "timeout": True}, "above 0"),
        ({"reload": ["x"], "timeout": -1}, "above 0"),
        ({"reload": ["x"], "timeout": float("nan")}, "above 0"),
        ({"reload": ["x"], "timeout": float("inf")}, "above 0"),
    ],
)
def test_a_row_of_the_wrong_shape_is_refused(row, words):
    with pytest.raises(UpkiError) as caught:
        _servers.merged({"mine": row})
    assert caught.value.code == "server_row_invalid"
    assert words in caught.value.message

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each server tests its configuration and takes a new certificate, as rows of data.

Each row has variants; the first one whose executables exist on the host serves. `systemd` variants count only where
systemd runs. Commands are argv lists; no shell reads them. Reload, never restart: a restart that fails is an outage.
"""

import os
import shutil

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # often missing from PATH where Ansible runs
SYSTEMD = "/run/systemd/system"
TIMEOUT = 60

ROWS = {
    "nginx": [
        {"systemd": True, "test": ["nginx", "-t"], "reload": ["systemctl", "reload", "nginx"]},
        {"test": ["nginx", "-t"], "reload": ["nginx", "-s", "reload"]},
    ],
    # Debian: apache2ctl and the unit apache2; Red Hat: apachectl or httpd and the unit httpd.
    "apache": [
        {"systemd": True, "test": ["apache2ctl", "configtest"], "reload": ["systemctl", "reload", "apache2"]},
        {"test": ["apache2ctl", "configtest"], "reload": ["apache2ctl", "graceful"]},
        {"systemd": True, "test": ["httpd", "-t"], "reload": ["systemctl", "reload", "httpd"]},
        {"test": ["apachectl", "configtest"], "reload": ["apachectl", "graceful"]},
        {"test": ["httpd", "-t"], "reload": ["httpd", "-k", "graceful"]},
    ],
    "postfix": [
        {"systemd": True, "test": ["postfix", "check"], "reload": ["systemctl", "reload", "postfix"]},
        {"test": ["postfix", "check"], "reload": ["postfix", "reload"]},
    ],
    "dovecot": [
        {"systemd": True, "test": ["doveconf", "-n"], "reload": ["systemctl", "reload", "dovecot"]},
        {"test": ["doveconf", "-n"], "reload": ["doveadm", "reload"]},
    ],
    # The one exception: slapd knows no reload and reads its files when it starts. (One that keeps its configuration in
    # cn=config takes them up when the same paths are set again by ldapmodify: see the documentation.)
    "slapd": [
        {"systemd": True, "test": ["slaptest", "-u"], "reload": ["systemctl", "restart", "slapd"]},
        {"test": ["slaptest", "-u"], "reload": ["service", "slapd", "restart"]},
    ],
    "haproxy": [
        {
            "systemd": True,
            "test": ["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"],
            "reload": ["systemctl", "reload", "haproxy"],
        },
        {"test": ["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"], "reload": ["service", "haproxy", "reload"]},
    ],
    "custom": [],
}


def merged(overrides):
    """The table with the option `servers` over it: {name: [variant]}. An override replaces what it names."""
    table = dict(ROWS)
    for name, row in (overrides or {}).items():
        _check_row(name, row)
        given = {key: value for key, value in row.items() if value is not None}
        complete = "reload" in given
        variants = [{}] if complete else table.get(name) or [{}]
        table[name] = [dict(variant, **given) for variant in variants]
        for variant in table[name]:
            if complete:
                variant.pop("systemd", None)
    return table


def _check_row(name, row):
    if not isinstance(row, dict):
        raise _bad_row(name, "it must be a dictionary with test, reload and timeout")
    unknown = sorted(set(row) - {"test", "reload", "timeout"})
    if unknown:
        raise _bad_row(name, "it has the unknown item '{0}'".format(unknown[0]))
    for key in ("test", "reload"):
        if row.get(key) is not None and not _is_argv(row[key], empty=key == "test"):
            raise _bad_row(name, "'{0}' must be a list of words, such as [nginx, -t]".format(key))
    timeout = row.get("timeout")
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 < timeout < float("inf")):
        raise _bad_row(name, "'timeout' must be a number of seconds above 0")


def _is_argv(value, empty):
    return isinstance(value, list) and (empty or bool(value)) and all(isinstance(word, str) for word in value)


def _bad_row(name, why):
    return UpkiError(
        "server_row_invalid",
        "The server '{0}' in 'servers' cannot be used: {1}.".format(name, why),
        "Correct it there (upki_servers); each row has test, reload and timeout.",
    )


def search_path():
    """PATH with the folders of administration programs behind it."""
    given = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(given + [folder for folder in SBIN if folder not in given])


def choose(name, table, systemd=None):
    """{name, test, reload, timeout} of the variant that fits this host; UpkiError when none does."""
    if name not in table:
        raise UpkiError(
            "server_unknown",
            "There is no server '{0}'; known are {1}.".format(name, ", ".join(sorted(table))),
            "Correct 'server' (upki_certificates), or describe it in 'servers' (upki_servers) with its test and reload "
            "commands.",
        )
    systemd = os.path.isdir(SYSTEMD) if systemd is None else systemd
    missing = []
    for variant in table[name]:
        if variant.get("systemd") and not systemd:
            continue
        lacking = [argv[0] for argv in (variant.get("test"), variant.get("reload")) if argv and not _found(argv[0])]
        if not lacking and variant.get("reload"):
            return {
                "name": name,
                "test": variant.get("test") or [],
                "reload": variant["reload"],
                "timeout": variant.get("timeout") or TIMEOUT,
            }
        missing.extend(lacking)
    if not missing:
        raise UpkiError(
            "server_incomplete",
            "The server '{0}' has no reload command that could run on this host.".format(name),
            "Give it in 'servers' (upki_servers), such as {0}: {{reload: [systemctl, reload, {0}]}}.".format(name),
        )
    raise UpkiError(
        "command_missing",
        "The commands of the server '{0}' are not on this host: {1}.".format(name, ", ".join(sorted(set(missing)))),
        "Install the server, or give its commands with full paths in 'servers' (upki_servers).",
    )


def _found(program):
    return shutil.which(program, path=search_path()) is not None

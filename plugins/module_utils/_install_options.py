# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of campus.upki.install, as Ansible checks them; also a part of those of campus.upki.renew."""

STARTTLS = ["none", "smtp", "imap", "pop3", "ldap", "ftp", "nntp", "sieve", "postgres", "mysql", "xmpp"]
LINK = {
    "path": {"type": "path", "required": True},
    "what": {"type": "str", "required": True, "choices": ["fullchain", "certificate", "chain", "key", "combined"]},
    "copy": {"type": "bool", "default": False},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "choices": ["0600", "0640", "0644", "0400", "0440", "0444"]},
}
ADOPT = {
    "key": {"type": "path", "required": True, "no_log": False},
    "certificate": {"type": "path", "required": True},
    "chain": {"type": "path"},
}
CERTIFICATE = {
    "name": {"type": "str", "required": True},
    "dns_names": {"type": "list", "elements": "str", "default": []},
    "server": {"type": "str"},
    "endpoint": {"type": "list", "elements": "str"},
    "starttls": {"type": "str", "choices": STARTTLS},
    "links": {"type": "list", "elements": "dict", "default": [], "options": LINK},
    "adopt": {"type": "dict", "options": ADOPT},
    "state": {"type": "str", "choices": ["latest", "previous"], "default": "latest"},
}
ARGUMENTS = {
    "certificates": {"type": "list", "elements": "dict", "required": True, "options": CERTIFICATE},
    "inbox": {"type": "list", "elements": "path", "default": []},
    "intermediates": {"type": "list", "elements": "path", "default": []},
    "roots": {"type": "list", "elements": "path", "default": []},
    "download": {"type": "bool", "default": True},
    "servers": {"type": "dict", "default": {}},
    "store": {"type": "path", "default": "/etc/upki"},
    "keep": {"type": "int", "default": 3},
    "wait": {"type": "int", "default": 15},
    "lock_timeout": {"type": "int", "default": 60},
    "mend_chain": {"type": "bool", "default": True},
    "candidates": {"type": "list", "elements": "dict", "default": []},
    "unusable": {"type": "list", "elements": "dict", "default": []},
    "others": {"type": "str", "default": ""},
    "authorities": {"type": "list", "elements": "str", "default": []},
    "anchors": {"type": "list", "elements": "str", "default": []},
}

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of campus.upki.request, as Ansible checks them; also a part of those of campus.upki.renew."""

MANAGER = {"name": {"type": "str"}, "affiliation": {"type": "str"}, "email": {"type": "str"}}
CERTIFICATE = {
    "name": {"type": "str", "required": True},
    "dns_names": {"type": "list", "elements": "str", "default": []},
    "key_type": {"type": "str", "choices": ["rsa2048", "p384"], "default": "rsa2048", "no_log": False},
    "software": {"type": "str"},
    "current_certificate": {"type": "path"},
    "current_endpoint": {"type": "str"},
    "manager": {"type": "dict", "options": MANAGER},
    "state": {"type": "str", "choices": ["present", "cancelled"], "default": "present"},
    "kind": {"type": "str", "choices": ["server_issue", "server_renew"]},
    "serial": {"type": "str"},
}
SUBJECT = {
    "organization": {"type": "str"},
    "state": {"type": "str"},
    "locality": {"type": "str"},
    "organizational_unit": {"type": "str"},
}
ARGUMENTS = {
    "certificates": {"type": "list", "elements": "dict", "required": True, "options": CERTIFICATE},
    "subject": {"type": "dict", "options": SUBJECT},
    "manager": {"type": "dict", "options": MANAGER},
    "renew_before": {"type": "str", "default": "1/3"},
    "lead_time": {"type": "int", "default": 14},
    "store": {"type": "path", "default": "/etc/upki"},
    "lock_timeout": {"type": "int", "default": 60},
    "key_owner": {"type": "str", "no_log": False},
    "key_group": {"type": "str", "no_log": False},
    "key_mode": {"type": "str", "choices": ["0600", "0640"], "default": "0600", "no_log": False},
    "issuers": {"type": "list", "elements": "str", "default": ["NII Open Domain CA"]},
    "controller_time": {"type": "str"},
}

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an endpoint is called."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _where


@pytest.mark.parametrize(
    "host, name, file, where, place",
    [
        ("192.0.2.7", "a.example", None, "192.0.2.7:443", "a.example (192.0.2.7:443)"),
        ("a.example", "a.example", None, "a.example:443", "a.example:443"),
        ("2001:db8::1", "a.example", None, "[2001:db8::1]:443", "a.example ([2001:db8::1]:443)"),
        (None, None, "/etc/a.pem", "/etc/a.pem", "/etc/a.pem"),
        (None, "a.example", "/etc/a.pem", "/etc/a.pem", "a.example (/etc/a.pem)"),
    ],
)
def test_names(host, name, file, where, place):
    row = {"host": host, "port": 443, "server_name": name, "file": file}
    assert (_where.where(row), _where.place(row)) == (where, place)

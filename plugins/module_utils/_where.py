# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How messages, tables and reports call an endpoint or a file."""


def address(host, port):
    """host:port; an IPv6 address in brackets."""
    return "{0}:{1}".format("[{0}]".format(host) if ":" in host else host, port)


def where(seen):
    """The address and port, or the file, of an observation or a result."""
    if seen.get("file"):
        return seen["file"]
    return address(seen["host"], seen["port"])


def place(result):
    """As where(), with the name that was asked for where that differs from the host."""
    text = where(result)
    return text if result["server_name"] in (None, result["host"]) else "{0} ({1})".format(result["server_name"], text)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate's name covers a wanted one, as browsers see it. Source: RFC 9525."""

import ipaddress


def address(text):
    """The canonical text of an IP address, or ''."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def covers(have, want):
    """A dNSName of a certificate and a host name; the only wildcard is a whole leftmost label."""
    have, want = have.lower(), want.lower()
    if want.endswith("."):
        want = want[:-1]
    if have == want:
        return bool(want)
    if not have.startswith("*."):
        return False
    _label, _dot, parent = want.partition(".")
    return "." in parent and have[2:] == parent


def covers_any(names, addresses, want):
    """Names and addresses of a certificate against one host name or address; the CN does not count."""
    as_address = address(want)
    if as_address:
        return as_address in addresses
    return any(covers(have, want) for have in names)

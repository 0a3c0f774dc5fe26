# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at TLS endpoints by the rules of campus.upki.verify, as a check for Nagios, Icinga and their kin.

    python3 …/ansible_collections/campus/upki/bin/check_upki.py www.example.ac.jp mail.example.ac.jp:25=smtp

Exit code 0 (all well), 1 (a warning), 2 (an error), 3 (the check could not be made). Needs the library cryptography,
and ansible-core only with --revocation.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from typing import Any, NoReturn

# …/ansible_collections/campus/upki/bin/check_upki.py
sys.path.insert(0, str(pathlib.Path(__file__).absolute().parents[4]))

from ansible_collections.campus.upki.plugins.module_utils import _nagios, _tls, _validity, _verify  # noqa: E402
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError  # noqa: E402


class Parser(argparse.ArgumentParser):
    """Wrong options end in 3 (unknown): argparse's 2 would mean critical."""

    def error(self, message: str) -> NoReturn:
        sys.stdout.write(f"TLS UNKNOWN - {message}\n")
        sys.exit(_nagios.UNKNOWN)


def options(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(description="Look at TLS endpoints and say what is wrong, in the manner of a Nagios plugin.")
    parser.add_argument("endpoints", nargs="+", metavar="HOST[:PORT][=STARTTLS]")
    parser.add_argument("--server-name", help="the name that the certificates must cover; default: HOST")
    parser.add_argument("--ca-file", help="trust store as a PEM file or a folder; default: the system's")
    parser.add_argument("--intermediates", action="append", default=[], help="file or folder, to name what is missing")
    parser.add_argument("--warn-before", default="1/3", help="a part of the lifetime, or days such as 30d")
    parser.add_argument("--revocation", choices=("none", "crl", "ocsp", "both"), default="none")
    parser.add_argument("--retries", type=int, default=0, help="how often to try again")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one endpoint")
    return parser.parse_args(words)


def endpoint(text: str, server_name: str | None) -> dict[str, Any]:
    host, _equals, starttls = text.partition("=")
    return {"host": host, "starttls": starttls or None, "server_name": server_name}


def opener(mode: str) -> Any:
    """Ansible's HTTP client, imported only when it is needed."""
    if mode == "none":
        return None
    try:
        from ansible.module_utils.urls import open_url
    except ImportError as error:
        text = f"--revocation needs ansible-core ({error})."
        raise UpkiError("ansible_missing", text, "Run it with Ansible's Python.") from error
    return open_url


def results(given: argparse.Namespace) -> list[dict[str, Any]]:
    """As the module looks at them."""
    _verify.check_bounds(given.timeout, 32, given.retries)
    rows = _verify.endpoints_of([endpoint(text, given.server_name) for text in given.endpoints])
    trust = _tls.Trust(given.ca_file)
    now = _validity.moment(time.time())
    around = _verify.surroundings(trust, given.intermediates, now, _verify.parse_warn_before(given.warn_before))
    extras = _verify.Extras(given.revocation, opener(given.revocation), retries=given.retries)
    found: list[dict[str, Any]] = _verify.run(rows, trust, around, given.timeout, 32, extras)
    return found


def main(words: list[str] | None = None) -> int:
    given = options(words)
    try:
        found = results(given)
    except UpkiError as error:
        sys.stdout.write(f"TLS UNKNOWN - {error}\n".replace("|", "/"))
        return _nagios.UNKNOWN
    sys.stdout.write(_nagios.text(found))
    return int(_nagios.status(found))


if __name__ == "__main__":
    sys.exit(main())

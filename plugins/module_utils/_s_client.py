# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The served chain by the program `openssl s_client`, for Pythons before 3.10, which show one certificate alone."""

import subprocess

from ansible_collections.campus.upki.plugins.module_utils import _match, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

PROGRAM = "openssl"
LARGEST = 4 * 1024 * 1024  # bytes of output that are looked at


def command(seen):
    """The command for an observation whose address is known."""
    host = "[{0}]".format(seen["address"]) if ":" in seen["address"] else seen["address"]
    words = [PROGRAM, "s_client", "-connect", "{0}:{1}".format(host, seen["port"]), "-showcerts"]
    if not _match.address(seen["server_name"]):
        words += ["-servername", seen["server_name"]]
    if seen.get("starttls"):
        words += ["-starttls", seen["starttls"]]
    return words


def chain(seen, leaf, timeout):
    """[DER, …] as sent, or None where the program is missing, fails, or was shown another server certificate."""
    try:
        done = subprocess.run(
            command(seen),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        blocks = _x509.pem_blocks(done.stdout[:LARGEST].decode("ascii", "replace"))
    except (OSError, subprocess.SubprocessError, UpkiError):
        return None
    found = [der for label, der in blocks if label == "CERTIFICATE"]
    if found[:1] != [leaf]:
        return None
    # The first certificate stands once more at the end of the output, under "Server certificate", in older releases.
    return found[:-1] if len(found) > 1 and found[-1] == leaf and _repeats_leaf(done.stdout) else found


def _repeats_leaf(output):
    """True when a PEM block follows the words 'Server certificate'."""
    return b"BEGIN CERTIFICATE" in output.partition(b"\nServer certificate\n")[2]

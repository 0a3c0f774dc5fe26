# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate files and stores, judged as if a server had sent them."""

import os
import re

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _judge, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import finding

LARGEST = 4 * 1024 * 1024  # bytes; a chain has a few thousand
LIVE = os.path.join("live", "fullchain.pem")


def run(rows, around):
    """The results of the option `files`, in its order."""
    results = []
    for row in rows:
        for wanted in _expand(row):
            results.append(_result(wanted, around))
    return results


def _expand(row):
    """A folder is a store: one row for each certificate in it that is live."""
    wanted = {
        "file": row["path"],
        "server_name": row.get("server_name") or None,
        "dns_names": row.get("dns_names") or [],
        "certificate_sha256": re.sub(r"[^0-9A-Za-z]", "", row.get("certificate_sha256") or "").lower() or None,
    }
    if not os.path.isdir(row["path"]):
        return [wanted]
    found = [
        dict(wanted, file=os.path.join(row["path"], name, LIVE), server_name=wanted["server_name"] or name)
        for name in sorted(os.listdir(row["path"]))
        if os.path.isfile(os.path.join(row["path"], name, LIVE))
    ]
    return found or [wanted]


def _result(wanted, around):
    chain, reason = _read(wanted["file"])
    seen = dict(wanted, chain=chain, error=None, trusted=None, verify_text="", version=None, cipher=None)
    result = dict(_judge.judge(dict(seen, whole_chain=True), wanted, around), protocols={})
    if reason:
        result["findings"].insert(0, finding("file_unreadable", where=wanted["file"], text=reason))
        result["ok"] = False
    return result


def _read(path):
    """([DER, …] in the file's order, '') or ([], why not). Keys and other blocks of a PEM file are passed over."""
    if _atomic.is_special(path):
        return [], "it is a pipe, a socket or a device"
    try:
        with open(path, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        if os.path.isdir(path):
            return [], "it is a folder without <name>/{0}".format(LIVE)
        return [], getattr(error, "strerror", None) or str(error)
    if len(data) > LARGEST:
        return [], "it is larger than {0} MB".format(LARGEST // 1024 // 1024)
    if b"-----BEGIN" not in data:
        return ([data], "") if data[:1] == b"\x30" else ([], "it holds no certificate, neither in PEM nor in DER")
    try:
        blocks = _x509.pem_blocks(data.decode("ascii", "replace"))
    except UpkiError as error:
        return [], error.message.rstrip(".")
    chain = [der for label, der in blocks if label in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")]
    return chain, "" if chain else "its PEM blocks hold no certificate"

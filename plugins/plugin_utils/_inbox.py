# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the folders on the controller hold for one host: its leaves, each with its chain or the reason for none."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _chain, _containers, _preflight, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _fetch, _leaves


@dataclasses.dataclass
class Found:
    """What goes to the host, and what only the result tells (damaged: files of the folders beside the inbox).

    others: certificates for other names: those of other hosts, or a mistake that only the public key can tell.
    """

    candidates: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    unusable: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    others: list[_leaves.Row] = dataclasses.field(default_factory=list)
    authorities: list[str] = dataclasses.field(default_factory=list)
    anchors: list[str] = dataclasses.field(default_factory=list)
    damaged: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def look(
    names: list[str],
    inbox: list[str],
    intermediates: list[str],
    roots: list[str],
    now: datetime.datetime,
    source: _fetch.Source | None = None,
    shared: str | None = None,
) -> Found:
    """Read the folders and prepare what concerns the host of these names. source: None to download nothing.

    shared: a folder of this run, where a large inbox is kept for the processes of the other hosts.
    """
    with _naming("inbox"):
        arrived = _leaves.read(inbox, shared)
    with _naming("intermediates"):
        given = _containers.collect(intermediates)
    with _naming("roots"):
        trusted = _containers.collect(roots)
    found = Found(unusable=arrived.notes)
    found.damaged = [row for row in map(_containers.describe, given.notes + trusted.notes) if row["fault"]]
    pool = [one.certificate for one in given.certificates]
    pool += [row.certificate for row in arrived.rows if row.is_ca]
    anchors = [one.certificate for one in trusted.certificates]
    wanted = {_preflight.plain(name) for name in names}
    seen: set[str] = set()
    for row in arrived.rows:
        if row.sha256 in seen or row.is_ca:
            continue
        seen.add(row.sha256)
        if wanted & set(row.names):
            found.candidates.append(_candidate(row, pool, anchors, now, source, found.damaged))
        else:
            found.others.append(row)
    chosen = [_x509.certificates_from_pem(text)[0] for row in found.candidates for text in row["chain"]]
    authorities = _authorities(pool + chosen + (source.known() if source is not None else []))
    found.authorities = [_x509.pem(one) for one in authorities]
    issuers = {_x509.name_text(one.issuer) for one in authorities}
    found.anchors = [_x509.pem(one) for one in anchors if _x509.name_text(one.subject) in issuers]
    return found


@contextlib.contextmanager
def _naming(option: str) -> Iterator[None]:
    """An error in one of the folders says which option named it."""
    try:
        yield
    except UpkiError as error:
        error.fix = f"{error.fix or 'Mend that.'} It stands in '{option}' (upki_{option})."
        raise


def _authorities(certificates: list[Any]) -> list[Any]:
    """The CA certificates that may stand in a chain, each once: for certificates that only the host has."""
    found = {_x509.sha256(one): one for one in certificates if _x509.is_ca(one) and not _x509.is_self_signed(one)}
    return list(found.values())


def _candidate(
    leaf: _leaves.Row,
    pool: list[Any],
    anchors: list[Any],
    now: datetime.datetime,
    source: _fetch.Source | None,
    damaged: list[dict[str, Any]],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "certificate": leaf.pem,
        "file": leaf.source,
        "chain": [],
        "error": None,
        "notices": [],
    }
    try:
        chain, notices = _build(leaf.certificate, pool, anchors, now, source)
    except UpkiError as error:
        fix = " ".join([error.fix, *(bad["message"] for bad in damaged)])
        row["error"] = {"code": error.code, "message": error.message, "fix": fix}
    else:
        row["chain"] = [_x509.pem(certificate) for certificate in chain.certificates]
        row["notices"] = notices + chain.notices
    return row


def _build(
    leaf: Any, pool: list[Any], anchors: list[Any], now: datetime.datetime, source: _fetch.Source | None
) -> tuple[Any, list[dict[str, str]]]:
    """The chain, with what is missing taken from the source step by step; (chain, notices)."""
    fetched: list[Any] = []
    notices: list[dict[str, str]] = []
    while True:
        try:
            return _chain.build(leaf, pool + fetched, anchors, now), notices
        except UpkiError as error:
            missing = error.details.get("missing") or {}
            url = missing.get("url", "")
            new = source.get(url, missing.get("sha256", "")) if source is not None else []
            if source is not None and url in source.problems:
                error.fix += f" {url} {source.problems[url]}."
            if not new or new[0] in fetched:
                raise
            fetched += new
            notices.append({"code": "downloaded", "message": f"'{missing['subject']}' was taken from {url}."})

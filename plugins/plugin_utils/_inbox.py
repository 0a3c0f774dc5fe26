# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the folders on the controller hold for one host: its leaves, each with its chain or the reason for none."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _chain, _containers, _preflight, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _fetch


@dataclasses.dataclass
class Found:
    """What goes to the host, and what only the result tells (ignored, and damaged: files of the other folders)."""

    candidates: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    unusable: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    others: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    authorities: list[str] = dataclasses.field(default_factory=list)
    anchors: list[str] = dataclasses.field(default_factory=list)
    ignored: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    damaged: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def look(
    names: list[str],
    inbox: list[str],
    intermediates: list[str],
    roots: list[str],
    now: datetime.datetime,
    source: _fetch.Source | None = None,
) -> Found:
    """Read the folders and prepare what concerns the host of these names. source: None to download nothing."""
    arrived, given, trusted = (
        _collect(option, paths)
        for option, paths in (("inbox", inbox), ("intermediates", intermediates), ("roots", roots))
    )
    found = Found(unusable=[_containers.describe(note) for note in arrived.notes])
    found.damaged = [row for row in map(_containers.describe, given.notes + trusted.notes) if row["fault"]]
    pool = [one.certificate for one in given.certificates + arrived.certificates]
    anchors = [one.certificate for one in trusted.certificates]
    wanted = {_preflight.plain(name) for name in names}
    seen: set[str] = set()
    for one in arrived.certificates:
        digest = _x509.sha256(one.certificate)
        if digest in seen or _x509.is_ca(one.certificate):
            continue
        seen.add(digest)
        if wanted & _all_names(one.certificate):
            found.candidates.append(_candidate(one, pool, anchors, now, source, found.damaged))
        else:
            _put_aside(one, found)
    chosen = [_x509.certificates_from_pem(text)[0] for row in found.candidates for text in row["chain"]]
    authorities = _authorities(pool + chosen + (source.known() if source is not None else []))
    found.authorities = [_x509.pem(one) for one in authorities]
    issuers = {_x509.name_text(one.issuer) for one in authorities}
    found.anchors = [_x509.pem(one) for one in anchors if _x509.name_text(one.subject) in issuers]
    return found


def _collect(option: str, paths: list[str]) -> Any:
    try:
        return _containers.collect(paths)
    except UpkiError as error:
        error.fix = f"{error.fix or 'Mend that.'} It stands in '{option}' (upki_{option})."
        raise


def _authorities(certificates: list[Any]) -> list[Any]:
    """The CA certificates that may stand in a chain, each once: for certificates that only the host has."""
    found = {_x509.sha256(one): one for one in certificates if _x509.is_ca(one) and not _x509.is_self_signed(one)}
    return list(found.values())


def _all_names(certificate: Any) -> set[str]:
    names = [*_x509.dns_names(certificate), _x509.name_value(certificate.subject, "CN")]
    return {_preflight.plain(name) for name in names if name}


def _candidate(
    one: Any,
    pool: list[Any],
    anchors: list[Any],
    now: datetime.datetime,
    source: _fetch.Source | None,
    damaged: list[dict[str, Any]],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "certificate": _x509.pem(one.certificate),
        "file": one.source,
        "chain": [],
        "error": None,
        "notices": [],
    }
    try:
        chain, notices = _build(one.certificate, pool, anchors, now, source)
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


def _put_aside(one: Any, found: Found) -> None:
    """A certificate for other names: another host's, or a mistake that only the public key can tell."""
    names = sorted(_all_names(one.certificate))
    found.others.append(
        {"file": one.source, "spki_sha256": _x509.spki_sha256(one.certificate.public_key()), "names": names}
    )
    found.ignored.append(
        {
            "file": one.source,
            "serial": str(one.certificate.serial_number),
            "name": ", ".join(names[:3]),
            "reason_code": "other_name",
            "reason": "It is for no certificate of this host.",
        }
    )

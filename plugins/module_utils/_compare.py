# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the results of several endpoints together show."""

from ansible_collections.campus.upki.plugins.module_utils._findings import finding
from ansible_collections.campus.upki.plugins.module_utils._where import where

SHOWN = 5  # other endpoints named in a sentence


def together(results):
    """The results with findings about keys and names that they share; changes and returns the list."""
    for result in results:
        if result["certificate"]:
            result["findings"] += _reused(result, results) + _mixed(result, results)
    return results


def with_store(results, expected):
    """Findings about keys of old generations; expected: what campus.upki.info returned. Changes the list."""
    old = [
        (row["spki_sha256"], certificate.get("name"), row)
        for certificate in expected or []
        for row in certificate.get("generations") or []
        if row.get("spki_sha256")
    ]
    for result in results:
        leaf = result["certificate"] or {}
        for spki, name, row in old:
            if leaf and spki == leaf["spki_sha256"] and row.get("serial") != leaf["serial"]:
                values = {"name": name, "serial": row.get("serial"), "generation": row.get("generation")}
                result["findings"].append(finding("key_reused", "generation", **values))
    return results


def _others(result, results, field):
    """Results with the same value in a field and another certificate."""
    for other in results:
        leaf = other["certificate"]
        if leaf and leaf["sha256"] != result["certificate"]["sha256"] and field(other) == field(result):
            yield other


def _places(others):
    names = sorted({place(other) for other in others})
    return ", ".join(names[:SHOWN]) + (" and {0} more".format(len(names) - SHOWN) if len(names) > SHOWN else "")


def place(result):
    """Where a result comes from, with the address where a name has several."""
    text = where(result)
    address = result.get("address")
    return text if address in (None, result["host"]) else "{0} [{1}]".format(text, address)


def _reused(result, results):
    others = list(_others(result, results, lambda row: row["certificate"]["spki_sha256"]))
    return [finding("key_reused", others=_places(others))] if others else []


def _mixed(result, results):
    """Only the older one of two certificates is wrong."""
    mine = result["certificate"]["not_before"]
    newer = [
        other
        for other in _others(result, results, lambda row: (row["server_name"], row["port"]))
        if other["certificate"]["not_before"] > mine
    ]
    if not newer or not result["host"]:
        return []
    values = {"other": newer[0]["certificate"]["not_before"][:10], "not_before": mine[:10]}
    return [finding("mixed_certificates", others=_places(newer), server_name=result["server_name"], **values)]

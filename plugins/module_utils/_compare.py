# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the results of several endpoints together show."""

from ansible_collections.campus.upki.plugins.module_utils._findings import finding
from ansible_collections.campus.upki.plugins.module_utils._where import where

SHOWN = 5  # other endpoints named in a sentence


def together(results):
    """The results with findings about keys and names that they share; changes and returns the list."""
    seen = [result for result in results if result["certificate"]]
    by_key = _groups(seen, _key)
    by_name = _groups(seen, _name)
    for result in seen:
        result["findings"] += _reused(result, by_key[_key(result)]) + _mixed(result, by_name[_name(result)])
    return results


def _key(result):
    return result["certificate"]["spki_sha256"]


def _name(result):
    return result["server_name"], result["port"]


def _groups(results, field):
    """{value of the field: sorted [(place, SHA-256, start of validity)]}; thousands cannot be compared in pairs."""
    groups = {}
    for result in results:
        leaf = result["certificate"]
        groups.setdefault(field(result), set()).add((place(result), leaf["sha256"], leaf["not_before"]))
    return {value: sorted(rows) for value, rows in groups.items()}


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


def _others(result, group):
    """The rows of a group with another certificate."""
    mine = result["certificate"]["sha256"]
    return [row for row in group if row[1] != mine] if len(group) > 1 else []


def _places(others):
    names = [row[0] for row in others]
    return ", ".join(names[:SHOWN]) + (" and {0} more".format(len(names) - SHOWN) if len(names) > SHOWN else "")


def place(result):
    """Where a result comes from, with the address where a name has several."""
    text = where(result)
    address = result.get("address")
    return text if address in (None, result["host"]) else "{0} [{1}]".format(text, address)


def _reused(result, group):
    others = _others(result, group)
    return [finding("key_reused", others=_places(others))] if others else []


def _mixed(result, group):
    """Only the older one of two certificates is wrong."""
    mine = result["certificate"]["not_before"]
    newer = [row for row in _others(result, group) if row[2] > mine]
    if not newer or not result["host"]:
        return []
    values = {"other": newer[0][2][:10], "not_before": mine[:10]}
    return [finding("mixed_certificates", others=_places(newer), server_name=result["server_name"], **values)]

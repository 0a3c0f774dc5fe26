# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of verify as a check of Nagios, Icinga and their kin: a line, performance data, an exit code."""

from ansible_collections.campus.upki.plugins.module_utils._findings import count
from ansible_collections.campus.upki.plugins.module_utils._where import where

# Exit codes and words. Source: Monitoring Plugins, development guidelines.
OK, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def status(results):
    """The exit code of all results together."""
    counts = count([row for result in results for row in result["findings"]])
    if not results:
        return UNKNOWN
    return CRITICAL if counts["error"] else WARNING if counts["warning"] else OK


def text(results):
    """The first line with the performance data (days left by endpoint), then a line for each finding."""
    code = status(results)
    lines = ["{0} {1} - {2}".format("TLS", WORDS[code], _plain(_headline(results)))]
    days = " ".join(_days(result) for result in results if result["days_left"] is not None)
    if days:
        lines[0] += " | " + days
    for result in results:
        for row in result["findings"]:
            words = (where(result), row["severity"], row["code"], row["message"], row["fix"])
            lines.append(_plain("{0}: {1} {2}: {3} {4}".format(*words)))
    return "\n".join(lines) + "\n"


def _headline(results):
    if not results:
        return "no endpoint was looked at"
    for severity in ("error", "warning"):
        rows = [(result, row) for result in results for row in result["findings"] if row["severity"] == severity]
        if rows:
            result, row = rows[0]
            more = " (and {0} more)".format(len(rows) - 1) if len(rows) > 1 else ""
            return "{0}: {1} {2}{3}".format(where(result), row["code"], row["message"], more)
    first = min(results, key=lambda result: result["days_left"])
    return "{0} endpoint{1} well, the first certificate to end is that of {2} in {3} days".format(
        len(results), "" if len(results) == 1 else "s", where(first), first["days_left"]
    )


def _days(result):
    name = where(result)
    if result["server_name"] not in (None, result["host"]):
        name += " " + result["server_name"]
    return "'{0}'={1}".format(_plain(name).replace("'", "").replace("=", "_"), result["days_left"])


def _plain(words):
    """One line without what would begin performance data."""
    return " ".join(words.replace("|", "/").split())

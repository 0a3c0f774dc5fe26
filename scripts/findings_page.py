# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/findings.md from the table of findings; a unit test holds the page against it."""

from __future__ import annotations

import pathlib
import re
import sys
from typing import Any

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "findings.md"
INTRODUCTION = """\
# What campus.upki.verify finds, and how to mend it

Written by `scripts/findings_page.py` from the table in `plugins/module_utils/_findings.py`; change the table, not this.

Each finding has a stable `code`, a `severity`, a `message` with the values seen and expected, and a `fix`. The task
fails from severity `error` on; `fail_on: warning` and `fail_on: never` change that. Below, words in capitals stand for
the values. In the commands, put your own HOST, PORT and NAME (the server name), and add `-starttls PROTOCOL` for mail
and directory servers.

What is not examined: cipher suites (use testssl.sh or sslyze), web pages and headers.
"""


def shown(template: str) -> str:
    """A sentence of the table with its values in capitals."""
    return re.sub(r"\{(\w+)\}", lambda match: match.group(1).upper().replace("_", " "), template)


def section(code: str, row: dict[str, Any]) -> str:
    """One finding: what it means, what is said, how to see it, how to mend it."""
    lines = [f"## {code}", "", f"{row['meaning']} Severity: {row['severity']}.", ""]
    for message, fix in row["variants"].values():
        lines += [f"- Message: {shown(message)}", f"  Fix: {shown(fix)}"]
    lines += ["", "See it by hand:", "", "```sh", row["by_hand"], "```", ""]
    return "\n".join(lines)


def page(findings: dict[str, Any]) -> str:
    """The whole page."""
    groups = {
        severity: [code for code, row in findings.items() if row["severity"] == severity]
        for severity in ("error", "warning", "info")
    }
    lists = [
        f"- {severity}: " + ", ".join(f"[{code}](#{code})" for code in codes) for severity, codes in groups.items()
    ]
    return (
        "\n".join([INTRODUCTION, *lists, "", *(section(code, row) for code, row in findings.items())]).rstrip() + "\n"
    )


def main() -> None:
    from ansible_collections.campus.upki.plugins.module_utils._findings import FINDINGS

    PAGE.write_text(page(FINDINGS), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {len(FINDINGS)} findings\n")


if __name__ == "__main__":
    main()

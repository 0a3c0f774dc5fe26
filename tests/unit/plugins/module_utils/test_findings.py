# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of findings."""

import pathlib
import re
import string

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _findings

DOCS = pathlib.Path(__file__).resolve().parents[4] / "docs"
VARIANTS = [(code, variant) for code, row in sorted(_findings.FINDINGS.items()) for variant in sorted(row["variants"])]


def fields(*templates):
    return {name for text in templates for _text, name, _spec, _conversion in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code, variant", VARIANTS)
def test_every_sentence_can_be_filled_in(code, variant):
    templates = _findings.FINDINGS[code]["variants"][variant]
    values = {name: "<{0}>".format(name) for name in fields(*templates)}
    made = _findings.finding(code, variant, **values)
    assert made["code"] == code
    assert made["severity"] in _findings.SEVERITIES
    assert made["message"].endswith(".") and made["fix"].endswith(".")
    assert all(value in made["message"] + made["fix"] for value in values.values())


def test_a_missing_value_is_not_hidden():
    with pytest.raises(KeyError):
        _findings.finding("expired", days="3 days")


def test_count_and_reaches():
    warning = {"severity": "warning"}
    error = {"severity": "error"}
    assert _findings.count([warning, error, error]) == {"error": 2, "warning": 1, "info": 0}
    assert _findings.reaches([warning, error], "error")
    assert not _findings.reaches([warning], "error")
    assert _findings.reaches([warning], "warning")
    assert not _findings.reaches([error], "never")
    assert not _findings.reaches([{"severity": "info"}], "warning")


def test_the_page_says_what_the_table_says():
    """docs/findings.md is written by scripts/findings_page.py; run that after a change of the table."""
    page = DOCS / "findings.md"
    if not page.is_file():
        pytest.skip("no docs/findings.md beside these tests (an installed collection)")
    text = page.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert sorted(sections) == sorted(_findings.FINDINGS)
    for code, row in _findings.FINDINGS.items():
        assert row["meaning"] in sections[code] and row["by_hand"] in sections[code]
        assert "Severity: {0}.".format(row["severity"]) in sections[code]
        for message, fix in row["variants"].values():
            assert shown(message) in sections[code] and shown(fix) in sections[code]


def shown(template):
    return re.sub(r"\{(\w+)\}", lambda match: match.group(1).upper().replace("_", " "), template)

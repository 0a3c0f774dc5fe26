# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of findings."""

import string

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _findings

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

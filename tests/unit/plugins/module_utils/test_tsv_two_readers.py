# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder's checks and the practice CA's were written apart from the same rules: do they judge alike?"""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules, _tsv, _tsv_record
from ansible_collections.campus.upki.tests.unit import records as make
from ansible_collections.campus.upki.tests.unit import rule_cases

# Where the text leaves room and the builder is the stricter of the two; never the other way round.
STRICTER = (
    "acme_suspend: DN with a space",
    "acme_suspend: DN in lower case",
    "acme_revoke: DN with a space",
    "acme_revoke: DN in lower case",
    "serial 0 in a file",
    "serial 0x0 in a file",
    "mail a@-x.ac.jp",
    "account ID with a space",
    "account ID in full-width",
)


@pytest.mark.parametrize("name, kind, texts", rule_cases.LINES, ids=[row[0] for row in rule_cases.LINES])
def test_both_judge_alike(name, kind, texts):
    data = make.data(texts)
    ours = {row["code"] for row in _tsv.read(data, kind)["faults"]}
    theirs = {row["code"] for row in _practice_rules.read(data, "", kind)[2]}
    if name in STRICTER and not theirs:
        assert ours
        return
    assert bool(ours) == bool(theirs), (ours, theirs)
    assert {code for code in ours if isinstance(code, int)} == {code for code in theirs if isinstance(code, int)}


@pytest.mark.parametrize("kind", make.KINDS)
def test_what_is_built_is_accepted(kind):
    data = _tsv_record.encode([_tsv_record.build_line(make.record(kind))])
    assert _practice_rules.read(data, "", kind)[2] == []

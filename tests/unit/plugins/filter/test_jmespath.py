# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter as Ansible's own templating calls it."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.campus.upki.plugins.filter import jmespath as plugin

pytest.importorskip("jmespath", reason="jmespath is not installed")


def test_the_filter_is_found() -> None:
    assert plugin.FilterModule().filters() == {"jmespath": plugin.jmespath}


def test_an_error_is_a_filter_error_with_the_next_step() -> None:
    with pytest.raises(AnsibleError) as caught:
        plugin.jmespath({}, "a[?")
    assert "a[?" in str(caught.value) and "single quotes" in str(caught.value)


def test_data_as_ansible_reads_it() -> None:
    """Values from YAML carry tags or are marked as unsafe, by release; functions of jmespath look at their types."""
    loader = DataLoader()
    data = loader.load("rows: [{name: a, days: 3}, {name: b, days: 4}]\nprefix: '{{ \"x\" }}'\n")
    templar = Templar(loader=loader, variables=data)
    rows = templar.template(data["rows"])
    assert plugin.jmespath({"rows": rows}, "join('-', rows[].name)") == "a-b"
    assert plugin.jmespath({"rows": rows}, "sum(rows[].days)") == 7

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath over plain data and over Ansible's look-alikes."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _query

pytest.importorskip("jmespath", reason="jmespath is not installed")

DATA = {"results": [{"host": "a", "days": 3, "ok": True}, {"host": "b", "days": 5, "ok": False}]}


class Text(str):
    """A string that is none of jmespath's: AnsibleUnsafeText and tagged strings are such classes."""


class Number(int):
    pass


class LazyDict(Mapping[str, Any]):
    """No dict at all; its values are made when read."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def __getitem__(self, key: str) -> Any:
        return strange(self.data[key])

    def __iter__(self) -> Iterator[str]:
        return (Text(key) for key in self.data)

    def __len__(self) -> int:
        return len(self.data)


class LazyList(Sequence[Any]):
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __getitem__(self, index: Any) -> Any:
        return strange(self.rows[index])

    def __len__(self) -> int:
        return len(self.rows)


def strange(value: Any) -> Any:
    """The same data in types that jmespath does not know."""
    if isinstance(value, dict):
        return LazyDict(value)
    if isinstance(value, list):
        return LazyList(value)
    if isinstance(value, str):
        return Text(value)
    return Number(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("results[?ok].host", ["a"]),
        ("results[?host=='b'] | [0].days", 5),
        ("sum(results[].days)", 8),
        ("length(results)", 2),
        ("join(',', results[].host)", "a,b"),
        ("max_by(results, &days).host", "b"),
        ("results[?contains(host, 'a')].days", [3]),
        ("keys(results[0]) | sort(@)", ["days", "host", "ok"]),
        ("nothing", None),
    ],
)
def test_selects_the_same_from_plain_and_from_strange_data(expression: str, expected: Any) -> None:
    assert _query.evaluate(DATA, expression) == expected
    assert _query.evaluate(strange(DATA), Text(expression)) == expected


def test_plain_gives_exact_types() -> None:
    when = datetime.datetime(2026, 11, 22, 3, 0)
    made = _query.plain(
        {"a": Text("x"), "b": (Number(1), 1.5, None, True), "c": when, "d": collections.OrderedDict(e=[])}
    )
    assert made == {"a": "x", "b": [1, 1.5, None, True], "c": "2026-11-22T03:00:00", "d": {"e": []}}
    assert [type(value) for value in (made["a"], made["b"], made["b"][0], made["d"])] == [str, list, int, dict]


@pytest.mark.parametrize("expression", ["results[?", "a..b", "foo(", "'open", "", "   ", 5, ["a"]])
def test_a_wrong_expression_is_named(expression: Any) -> None:
    with pytest.raises(UpkiError) as caught:
        _query.evaluate(DATA, expression)
    assert caught.value.code == "query_invalid" and caught.value.fix
    if isinstance(expression, str) and expression.strip():
        assert expression in caught.value.message


@pytest.mark.parametrize("expression", ["length(results[0].days)", "nofunction(results)", 'abs(`"x"`)', "sum(results)"])
def test_an_expression_that_does_not_fit_the_data(expression: str) -> None:
    with pytest.raises(UpkiError) as caught:
        _query.evaluate(DATA, expression)
    assert caught.value.code == "query_failed" and expression in caught.value.message


def test_without_jmespath_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_query, "jmespath", None)
    with pytest.raises(UpkiError) as caught:
        _query.evaluate(DATA, "results")
    assert caught.value.code == "jmespath_missing" and "python3-jmespath" in caught.value.fix

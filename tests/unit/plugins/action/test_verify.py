# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins of verify and info: `query` stays on the controller."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.action import info, verify

pytest.importorskip("jmespath", reason="jmespath is not installed")


def run(kind: type[ActionBase], answer: dict[str, Any], **arguments: Any) -> tuple[dict[str, Any], mock.Mock]:
    task = mock.Mock(args=arguments, async_val=0, check_mode=False, diff=False)
    action = kind(task, mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock())
    executed = mock.Mock(return_value=answer)
    with mock.patch.object(ActionBase, "run", return_value={}), mock.patch.object(kind, "_execute_module", executed):
        return action.run(None, {}), executed


@pytest.mark.parametrize("kind", [verify.ActionModule, info.ActionModule])
def test_the_module_does_not_see_the_query(kind: type[ActionBase]) -> None:
    result, executed = run(kind, {"changed": False, "rows": [1, 2]}, query="sum(rows)", other="x")
    assert result == {"changed": False, "rows": [1, 2], "query_result": 3}
    assert executed.call_args.kwargs["module_args"] == {"other": "x"}
    assert (
        executed.call_args.kwargs["module_name"] == kind.__module__.replace(".plugins.action.", ".").split("s.", 1)[1]
    )


def test_without_a_query_the_result_is_the_module_s() -> None:
    result, _executed = run(verify.ActionModule, {"changed": False})
    assert result == {"changed": False}


def test_a_failed_module_keeps_its_failure_and_has_the_selection() -> None:
    result, _executed = run(verify.ActionModule, {"failed": True, "msg": "m", "rows": [1]}, query="rows[0]")
    assert result == {"failed": True, "msg": "m", "rows": [1], "query_result": 1}


def test_a_wrong_query_fails_before_the_module_runs() -> None:
    result, executed = run(verify.ActionModule, {"changed": False}, query="rows[?")
    assert result["failed"] is True and "rows[?" in result["msg"] and result["reason_code"] == "query_invalid"
    executed.assert_not_called()


def test_a_query_that_does_not_fit_fails_and_keeps_the_result() -> None:
    result, _executed = run(verify.ActionModule, {"changed": False, "n": 1}, query="length(n)")
    assert result["failed"] is True and result["reason_code"] == "query_failed" and result["n"] == 1


def test_an_unreachable_host_is_not_queried() -> None:
    result, _executed = run(verify.ActionModule, {"unreachable": True, "msg": "m"}, query="results")
    assert result == {"unreachable": True, "msg": "m"}

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins of verify and info: `query` stays on the controller."""

from __future__ import annotations

import os
import pathlib
from typing import Any
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.action import info, verify

pytest.importorskip("jmespath", reason="jmespath is not installed")


def run(kind: type[ActionBase], answer: dict[str, Any], **arguments: Any) -> tuple[dict[str, Any], mock.Mock]:
    task = mock.Mock(args=arguments, async_val=0, check_mode=False, diff=False)
    action = kind(task, mock.Mock(transport="ssh"), mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock())
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


RESULT = {
    "host": "127.0.0.1", "port": 443, "server_name": "a.example", "file": None, "days_left": 9, "findings": [],
    "tls_version": "TLSv1.3", "chain": [{}, {}], "certificate": {"not_after": "2026-12-01T00:00:00Z"},
}  # fmt: skip


def local(answer: dict[str, Any], seen: list[dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """A run on the controller, with what the module was given."""
    task = mock.Mock(args=arguments, async_val=0, check_mode=False, diff=False)
    action = verify.ActionModule(task, mock.Mock(transport="local"), *[mock.Mock()] * 4)

    def execute(module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
        folder = os.path.dirname(module_args["progress_file"])
        seen.append({**module_args, "there": os.path.isdir(folder), "mode": os.stat(folder).st_mode & 0o777})
        return answer

    with mock.patch.object(ActionBase, "run", return_value={}), mock.patch.object(action, "_execute_module", execute):
        result: dict[str, Any] = action.run(None, {"inventory_hostname": "web1"})
    return result


def test_on_the_controller_the_module_gets_a_file_for_its_progress() -> None:
    seen: list[dict[str, Any]] = []
    assert local({"changed": False}, seen, endpoints=[{"host": "a"}]) == {"changed": False}
    assert seen[0]["there"] is True and seen[0]["mode"] == 0o700
    assert not os.path.exists(os.path.dirname(seen[0]["progress_file"]))


def test_a_file_that_the_user_names_is_left_where_it_is(tmp_path: pathlib.Path) -> None:
    seen: list[dict[str, Any]] = []
    local({"changed": False}, seen, progress_file=str(tmp_path / "p"))
    assert seen[0]["progress_file"] == str(tmp_path / "p") and tmp_path.is_dir()


def test_elsewhere_no_file_is_made() -> None:
    _result, executed = run(verify.ActionModule, {"changed": False}, endpoints=[])
    assert executed.call_args.kwargs["module_args"] == {"endpoints": []}


@pytest.mark.parametrize(
    ("wanted", "callback", "shown"), [("true", "default", 2), (False, "default", 0), (True, "ansible.posix.json", 0)]
)
def test_the_table_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, wanted: object, callback: str, shown: int
) -> None:
    said = mock.Mock()
    monkeypatch.setattr(verify.Display, "display", lambda _self, *words, **more: said(*words, **more))
    monkeypatch.setattr(verify.constants, "DEFAULT_STDOUT_CALLBACK", callback)
    _result, executed = run(verify.ActionModule, {"results": [RESULT]}, table=wanted)
    assert executed.call_args.kwargs["module_args"] == {}  # the module does not see it
    assert said.call_count == shown


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

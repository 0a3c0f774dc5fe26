# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a module's work is done in Ansible's own worker, and that it is the same work."""

from __future__ import annotations

import datetime
import os
import pathlib
import sys
from typing import Any
from unittest import mock

import pytest
from ansible_collections.campus.upki.plugins.action import verify
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _here

SPEC = {"name": {"type": "str", "required": True}, "count": {"type": "int", "default": 3}, "path": {"type": "path"}}


def action(transport: str = "local", become: bool = False, **task: Any) -> verify.ActionModule:
    settings = {"args": {}, "async_val": 0, "check_mode": False, "environment": [], "delegate_to": None, **task}
    loader = mock.Mock(get_basedir=mock.Mock(return_value=settings.pop("folder", os.getcwd())))
    templar = mock.Mock(template=lambda value: value)
    play_context = mock.Mock(become=become)
    return verify.ActionModule(
        mock.Mock(**settings), mock.Mock(transport=transport), play_context, loader, templar, mock.Mock()
    )


@pytest.mark.parametrize(
    ("changed", "variables", "expected"),
    [
        ({}, {}, True),
        ({}, {"ansible_python_interpreter": sys.executable}, True),
        ({}, {"ansible_python_interpreter": "auto_silent"}, True),
        ({"environment": [{}]}, {}, True),
        ({"transport": "ssh"}, {}, False),
        ({"become": True}, {}, False),
        ({"async_val": 60}, {}, False),
        ({"environment": [{"https_proxy": "http://proxy.example:3128"}]}, {}, False),
        ({}, {"ansible_python_interpreter": "/opt/other/bin/python3"}, False),
        ({"delegate_to": "looker"}, {"ansible_python_interpreter": "/opt/other/bin/python3"}, True),
        (
            {"delegate_to": "looker"},
            {"ansible_delegated_vars": {"looker": {"ansible_python_interpreter": "/opt/other/bin/python3"}}},
            False,
        ),
    ],
)
def test_only_where_a_module_would_run_as_the_same_user_with_the_same_python(
    changed: dict[str, Any], variables: dict[str, Any], expected: bool
) -> None:
    assert _here.possible(action(**changed), variables) is expected


def test_not_where_the_controllers_python_has_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_here._x509, "IMPORT_ERROR", "No module named 'cryptography'")
    assert not _here.possible(action(), {})


def test_the_work_gets_checked_arguments_and_the_playbooks_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/hanako")
    before, seen = os.getcwd(), []

    def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        seen.append((params, check_mode, os.getcwd()))
        return {"changed": False}

    result = _here.run(action(folder=str(tmp_path), check_mode=True), work, {"name": "a", "path": "~/x"}, SPEC)
    expected = {"name": "a", "count": 3, "path": "/home/hanako/x"}
    assert seen == [(expected, True, str(tmp_path))] and os.getcwd() == before
    assert result == {"changed": False, "invocation": {"module_args": expected}}


class Tagged(str):
    """As Ansible marks a text of the inventory that may be a template."""


def test_nothing_that_comes_back_can_be_taken_for_a_template() -> None:
    result = _here.run(action(), lambda params, _check: {"said": params["name"]}, {"name": Tagged("{{ x }}")}, SPEC)
    assert result["said"] == "{{ x }}" and not isinstance(result["said"], Tagged)


def test_a_date_of_yaml_is_the_text_that_was_written() -> None:
    result = _here.run(
        action(), lambda params, _check: {"said": params["name"]}, {"name": datetime.date(2026, 11, 22)}, SPEC
    )
    assert result["said"] == "2026-11-22"


@pytest.mark.parametrize(
    ("arguments", "word"), [({}, "name"), ({"name": "a", "count": "many"}, "count"), ({"name": "a", "nmae": 1}, "nmae")]
)
def test_a_wrong_argument_is_named_and_nothing_is_done(arguments: dict[str, Any], word: str) -> None:
    work = mock.Mock()
    result = _here.run(action(), work, arguments, SPEC)
    assert result["failed"] is True and word in result["msg"]
    work.assert_not_called()


def test_a_failure_is_told_as_the_module_tells_it(tmp_path: pathlib.Path) -> None:
    error = UpkiError("ca_file_unreadable", "It cannot be read.", "Mend it.", path="/x")
    before = os.getcwd()
    result = _here.run(action(folder=str(tmp_path)), mock.Mock(side_effect=error), {"name": "a"}, SPEC)
    assert result["failed"] is True and result["reason_code"] == "ca_file_unreadable" and os.getcwd() == before


class Panic(BaseException):
    """As pyo3 raises it; no Exception."""


def test_a_panic_in_a_library_fails_this_task_alone() -> None:
    with pytest.raises(RuntimeError, match="Panic in a library: index out of bounds"):
        _here.run(action(), mock.Mock(side_effect=Panic("index out of bounds")), {"name": "a"}, SPEC)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_ends_a_run_or_is_a_fault_of_ours_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        _here.run(action(), mock.Mock(side_effect=kind), {"name": "a"}, SPEC)

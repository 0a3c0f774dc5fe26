# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: what install finds on the controller comes into its part of the options, and nowhere else."""

from __future__ import annotations

import os
import pathlib
from typing import Any
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.action import renew
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
REQUEST = {"certificates": [{"name": NAME}], "store": "/etc/upki"}


def run(base: pathlib.Path, **arguments: Any) -> tuple[dict[str, Any], mock.Mock]:
    task = mock.Mock(args=arguments, async_val=0, check_mode=False, diff=False)
    loader = mock.Mock()
    loader.path_dwim = lambda path: os.path.join(str(base), path)
    action = renew.ActionModule(task, mock.Mock(), mock.Mock(), loader, mock.Mock(), mock.Mock())
    answer = {"changed": False, "install": {"ignored": []}, "request": {}}
    executed = mock.Mock(return_value=answer)
    module = mock.patch.object(renew.ActionModule, "_execute_module", executed)
    with mock.patch.object(ActionBase, "run", return_value={}), module:
        return action.run(None, {}), executed


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "inbox").mkdir()
    for number in range(22):
        (tmp_path / "inbox" / f"{number}.cer").write_text(pki.pem(pki.CA("Any").issue(f"web{number}.example.ac.jp")))
    return tmp_path


def test_the_installation_s_part_gets_what_was_found_and_the_request_s_stays_as_it_is(folder: pathlib.Path) -> None:
    wanted = [{"name": "web1.example.ac.jp"}]
    result, executed = run(folder, install={"certificates": wanted, "inbox": ["inbox"]}, request=dict(REQUEST))
    sent = executed.call_args.kwargs
    assert sent["module_name"] == "campus.upki.renew"
    assert sent["module_args"]["request"] == REQUEST
    assert len(sent["module_args"]["install"]["candidates"]) == 1
    assert sent["module_args"]["install"]["inbox"] == []  # the controller's paths mean nothing on the host
    assert sorted(sent["module_args"]) == ["install", "request"]
    assert (len(result["install"]["ignored"]), result["install"]["ignored_more"]) == (5, 16)
    assert "ignored_more" not in result


def test_a_folder_that_does_not_exist_fails_before_the_host_is_asked(folder: pathlib.Path) -> None:
    result, executed = run(folder, install={"certificates": [], "inbox": ["nowhere"]}, request={})
    assert result["failed"] is True and result["reason_code"] == "path_missing"
    executed.assert_not_called()


@pytest.mark.parametrize("part", [None, "x", [1]])
def test_what_the_option_should_not_be_is_left_to_the_module_to_refuse(folder: pathlib.Path, part: object) -> None:
    _result, executed = run(folder, install=part, request=dict(REQUEST))
    assert executed.call_args.kwargs["module_args"] == {"install": part, "request": REQUEST}

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's work inside Ansible's own worker, for a task that runs on the controller anyway.

A module as a process of its own costs a Python's start and all imports for each host, several times what looking at an
endpoint takes. The worker was forked from a process that has imported everything already.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible import constants
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

Run = Callable[[dict[str, Any], bool], dict[str, Any]]


def possible(action: ActionBase, task_vars: Mapping[str, Any]) -> bool:
    """Whether a module would run as this very user with this very Python and environment."""
    return (
        getattr(action._connection, "transport", None) == "local"
        and not action._play_context.become
        and not action._task.async_val
        and not any(action._task.environment or [])
        and _x509.IMPORT_ERROR is None
        and _interpreter(action, task_vars) in ("", sys.executable)
    )


def _interpreter(action: ActionBase, task_vars: Mapping[str, Any]) -> str:
    """The Python that the user chose for the host of this task; '' where Ansible is to find one."""
    host = action._task.delegate_to
    variables = task_vars.get("ansible_delegated_vars", {}).get(host, {}) if host else task_vars
    chosen = constants.config.get_config_value("INTERPRETER_PYTHON", variables=variables)
    text = str(action._templar.template(chosen))
    return "" if text.startswith("auto") else text


def run(action: ActionBase, work: Run, arguments: Mapping[str, Any], spec: Mapping[str, Any], **rules: Any) -> Any:
    """The result of work(params, check_mode). The arguments are checked as a module does; rules: required_one_of …"""
    # Plain text and numbers, as a module gets them: nothing of what comes back may count as a template.
    plain = json.loads(json.dumps(arguments, default=str))
    checked = ArgumentSpecValidator(dict(spec), **rules).validate(plain)
    if checked.error_messages:
        return {"failed": True, "msg": ", ".join(checked.error_messages)}
    params = checked.validated_parameters
    shown = {"invocation": {"module_args": params}}
    try:
        with _folder(action._loader.get_basedir()):
            return {**work(params, action._task.check_mode), **shown}
    except UpkiError as error:
        return {**error.result(), "failed": True, **shown}
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in cryptography's Rust part; as it is it would end the whole play
        raise RuntimeError(f"{type(error).__name__} in a library: {error}") from error


@contextlib.contextmanager
def _folder(path: str) -> Iterator[None]:
    """As modules have it that run on the controller: paths are meant relative to the playbook."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)

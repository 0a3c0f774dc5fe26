# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of campus.upki.handoff: fetches the archive when asked, as a file and never as a result."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module and copies its archive where `fetch` says so."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        fetch = boolean(arguments.get("fetch", False), strict=False)
        if fetch and self._task.become:
            return {
                **result,
                "failed": True,
                "reason_code": "fetch_with_become",
                "msg": "The archive is readable for its owner alone, so 'fetch' does not work together with become. "
                "Run this task as the owner of the store, or copy the archive yourself.",
            }
        folder = self._loader.path_dwim(os.path.expanduser(str(arguments.get("fetch_dest", ""))))
        if fetch and arguments.get("fetch_dest") and not os.path.isdir(folder):
            return {
                **result,
                "failed": True,
                "reason_code": "fetch_dest_missing",
                "msg": f"The folder '{folder}' (fetch_dest) does not exist on the controller. Make it with mode 0700.",
            }
        result.update(
            self._execute_module(module_name="campus.upki.handoff", module_args=dict(arguments), task_vars=task_vars)
        )
        if fetch and not result.get("failed"):
            self._fetch(result, folder)
        return result

    def _fetch(self, result: dict[str, Any], folder: str) -> None:
        target = os.path.join(folder, os.path.basename(result["path"]))
        result["fetched"] = target
        if self._task.check_mode:
            result["changed"] = result["changed"] or not os.path.exists(target) or not _private(target)
            return
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".handoff-")  # 0600 from the first byte
        os.close(descriptor)
        try:
            self._connection.fetch_file(result["path"], temporary)
            os.chmod(temporary, 0o600)
            if _digest(temporary) != _digest(target) or not _private(target):
                result["changed"] = True
                os.rename(temporary, target)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)


def _private(path: str) -> bool:
    """True when only the owner may read the file."""
    return stat.S_IMODE(os.stat(path).st_mode) == 0o600


def _digest(path: str) -> str:
    """SHA-256 of a file; '' where there is none."""
    if not os.path.exists(path):
        return ""
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()

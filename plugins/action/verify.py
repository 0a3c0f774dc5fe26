# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""campus.upki.verify with what belongs on the controller: its option `query`, how far a long run is, and a table."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display
from ansible_collections.campus.upki.plugins.modules import verify
from ansible_collections.campus.upki.plugins.plugin_utils import _here, _progress, _table
from ansible_collections.campus.upki.plugins.plugin_utils._query_action import QueryAction


class ActionModule(QueryAction):
    module = "campus.upki.verify"

    def execute(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        wants_table = boolean(arguments.pop("table", False), strict=False)
        host = str((task_vars or {}).get("inventory_hostname", "localhost"))
        with self._progress_file(arguments) as path:
            count = sum(len(_rows(arguments.get(name))) for name in ("endpoints", "certificates", "files"))
            with _progress.told(Display().display, host, count, path):
                result = self._look(arguments, task_vars)
        if wants_table and result.get("results") and "json" not in constants.DEFAULT_STDOUT_CALLBACK:
            _table.show(Display(), host, result["results"])
        return result

    def _look(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """In this process where that is the same; what needs further libraries finds them where modules run."""
        further = boolean(arguments.get("dns", False), strict=False) or arguments.get("stores")
        if further or not _here.possible(self, task_vars or {}):
            return super().execute(arguments, task_vars)
        result: dict[str, Any] = _here.run(self, verify.run, arguments, verify.ARGUMENTS, required_one_of=verify.ONE_OF)
        return result

    @contextlib.contextmanager
    def _progress_file(self, arguments: dict[str, Any]) -> Iterator[str | None]:
        """Where the module says how far it is; None where it runs on another machine than this plugin."""
        if getattr(self._connection, "transport", None) != "local":
            yield None
        elif arguments.get("progress_file"):
            yield str(arguments["progress_file"])
        else:
            folder = tempfile.mkdtemp(prefix="verify-", dir=constants.DEFAULT_LOCAL_TMP)
            arguments["progress_file"] = os.path.join(folder, "progress")
            try:
                yield arguments["progress_file"]
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

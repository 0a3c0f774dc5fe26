# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action plugin that runs the module of its name and evaluates `query` over the result on the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _query


class QueryAction(ActionBase):
    """Takes `query` away before the module runs, so that no managed host needs jmespath."""

    module = ""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        query = arguments.pop("query", None)
        try:
            if query is not None:
                _query.compiled(query)
            result.update(self.execute(arguments, task_vars))
            if query is not None and not result.get("unreachable"):
                result["query_result"] = _query.evaluate(result, query)
        except UpkiError as error:
            result.update(error.result(), failed=True)
        return result

    def execute(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The module's own result."""
        result: dict[str, Any] = self._execute_module(
            module_name=self.module, module_args=arguments, task_vars=task_vars
        )
        return result

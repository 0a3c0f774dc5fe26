# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""campus.upki.verify with its option `query`, which is evaluated on the controller."""

from __future__ import annotations

from ansible_collections.campus.upki.plugins.plugin_utils._query_action import QueryAction


class ActionModule(QueryAction):
    module = "campus.upki.verify"

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of campus.upki.install."""

from __future__ import annotations

from ansible_collections.campus.upki.plugins.plugin_utils._install_action import InstallAction


class ActionModule(InstallAction):
    module = "campus.upki.install"

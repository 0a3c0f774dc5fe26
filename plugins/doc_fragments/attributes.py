# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module promises about check mode, diff mode and running twice."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(campus.upki.attributes)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the decisions of a real run without changing anything.
  diff_mode:
    description: Returns in C(diff_mode) the parsed fields of what changed, or would change; never key bytes.
  idempotent:
    description: When run twice in a row outside C(check_mode) with the same arguments, the second run changes nothing.
"""

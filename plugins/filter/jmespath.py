# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter campus.upki.jmespath."""

from __future__ import annotations

DOCUMENTATION = r"""
name: jmespath
short_description: Select from structured data with JMESPath
version_added: 0.1.0
author:
  - The campus.upki contributors (@campus-upki)
description:
  - Applies a JMESPath expression to the results of this collection's modules, or to any other structured data.
  - Needs the Python library jmespath on the controller.
positional: expression
options:
  _input:
    description: The data.
    type: raw
    required: true
  expression:
    description: The JMESPath expression, see U(https://jmespath.org/).
    type: str
    required: true
seealso:
  - module: campus.upki.verify
  - module: campus.upki.info
"""

EXAMPLES = r"""
- name: Look at the endpoints
  campus.upki.verify:
    endpoints:
      - host: www.example.ac.jp
    fail_on: never
  register: looked
  delegate_to: localhost

- name: Show the names of what is not well
  ansible.builtin.debug:
    msg: "{{ looked | campus.upki.jmespath('results[?!ok].server_name') }}"
"""

RETURN = r"""
_value:
  description: What the expression selected; null where it selected nothing.
  type: raw
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _query


def jmespath(data: Any, expression: Any) -> Any:
    """What the expression selects from the data."""
    try:
        return _query.evaluate(data, expression)
    except UpkiError as error:
        raise AnsibleFilterError(f"campus.upki.jmespath: {error}") from error


class FilterModule:
    """Ansible's way of finding the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"jmespath": jmespath}

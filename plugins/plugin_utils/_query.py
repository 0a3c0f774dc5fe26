# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath on the controller, for the filter and for the option `query`."""

from __future__ import annotations

import collections.abc
import datetime
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

try:
    import jmespath
    import jmespath.exceptions
except ImportError:  # said when a query is asked for
    jmespath = None


def plain(value: Any) -> Any:
    """The same data in Python's own types.

    jmespath looks at the exact type of each value, and Ansible's strings, lists and dicts are subclasses of Python's or
    look-alikes: marked as unsafe or tagged with their origin, and some of them evaluated only when read.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, collections.abc.Mapping):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if _is_text(value):
        return str(value)
    if isinstance(value, collections.abc.Iterable):
        return [plain(row) for row in value]
    return str(value)


def _is_text(value: Any) -> bool:
    """A vault-encrypted string of older releases is a sequence of characters but no str."""
    return type(value).__name__ == "AnsibleVaultEncryptedUnicode" or isinstance(value, (bytes, bytearray))


def compiled(expression: Any) -> Any:
    """The parsed expression; UpkiError where the library is missing or the expression is wrong."""
    if jmespath is None:
        raise UpkiError(
            "jmespath_missing",
            "The Python library jmespath is missing on the controller, and a query needs it.",
            "Install it for the Python that runs Ansible: pip install jmespath, or the package python3-jmespath.",
        )
    text = plain(expression)
    if not isinstance(text, str) or not text.strip():
        raise UpkiError(
            "query_invalid", "The query is empty or no text.", "Give a JMESPath expression such as results[].host."
        )
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise UpkiError(
            "query_invalid",
            f"The query '{text}' is not a valid JMESPath expression: {_line(error)}.",
            "Correct it; text in a comparison stands in single quotes: results[?host=='www.example.ac.jp'].",
        ) from error


def evaluate(data: Any, expression: Any) -> Any:
    """What the expression selects from the data; UpkiError where it cannot be evaluated."""
    parsed = compiled(expression)
    try:
        return parsed.search(plain(data))
    except (jmespath.exceptions.JMESPathError, ValueError, TypeError) as error:
        raise UpkiError(
            "query_failed",
            f"The query '{plain(expression)}' cannot be applied to the data: {_line(error)}.",
            "Look at the data without the query first; a function such as length() needs a value of its type.",
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")

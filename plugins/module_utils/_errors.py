# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that a person is meant to read."""


class UpkiError(Exception):
    """Something that the operator must mend: what is wrong, where, and what to do next.

    code: stable snake_case word for machines (``reason_code`` of the results).
    message: one sentence with the item and the value (unless it is secret) and the rule.
    fix: what to type or change next; may be empty.
    details: more facts for ``fail_json``, never secret.
    """

    def __init__(self, code, message, fix="", **details):
        super(UpkiError, self).__init__(message)
        self.code = code
        self.message = message
        self.fix = fix
        self.details = details

    def __str__(self):
        return "{0} {1}".format(self.message, self.fix).rstrip()

    def result(self):
        """Arguments for ``fail_json``."""
        return dict(self.details, msg=str(self), reason_code=self.code)

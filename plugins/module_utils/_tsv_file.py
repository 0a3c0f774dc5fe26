# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TSV file on disk: readable or not, and its name."""

import os

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import EXTENSION, NO_FILE, fault
from ansible_collections.campus.upki.plugins.module_utils._rules import RULES

FILE = "ファイル (file)"
LARGEST = 16 * 1024 * 1024  # bytes; 99 full records make less than 1 MB


def load(path, rules=RULES):
    """(bytes, faults of the name). UpkiError with the CA's 208 when there is no such file."""
    try:
        with open(path, "rb") as handle:
            data = handle.read(LARGEST + 1)
    except OSError as error:
        code = NO_FILE if isinstance(error, FileNotFoundError) else "file_unreadable"
        raise UpkiError(
            code,
            "Could not read '{0}': {1}.".format(path, os.strerror(error.errno) if error.errno else error),
            "Name a TSV file on the host where this module runs.",
            path=path,
        )
    if len(data) > LARGEST:
        raise UpkiError(
            "file_too_large",
            "'{0}' has more than {1} MB; a TSV file of 99 records has less than one.".format(path, LARGEST >> 20),
            "Name the TSV file.",
            path=path,
        )
    return data, name_faults(path, rules)


def name_faults(path, rules=RULES):
    """The CA's 209 for a name without .tsv or .txt."""
    if path.lower().endswith(rules["file"]["extensions"]):
        return []
    name = os.path.basename(path)
    message = "The file's name '{0}' does not end with {1}.".format(name, " or ".join(rules["file"]["extensions"]))
    return [fault(EXTENSION, FILE, name, message, "Rename it.")]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of an installation: what lies in the folders, and which chain belongs to which leaf.

Private keys stay on the host, and the host sees only what concerns it: one exchange, small, with all that it needs.
"""

from __future__ import annotations

import datetime
import os
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.module_utils import _foreign, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.plugin_utils import _fetch, _inbox, _leaves

FOLDERS = ("inbox", "intermediates", "roots")
SHOWN = 5  # certificates for other names in the result of a host


class InstallAction(ActionBase):
    """Reads the folders on the controller and runs the module with what it found.

    part: the option under which the module has those of campus.upki.install, and the key of their results; '' where
    they are the module's own.
    """

    _requires_connection = True
    TRANSFERS_FILES = False
    module = ""
    part = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = dict(self._task.args)
        try:
            found = self._complete(given)
        except UpkiError as error:
            return {**result, **error.result(), "failed": True}
        result.update(self._execute_module(module_name=self.module, module_args=given, task_vars=task_vars))
        _tell_ignored(result.get(self.part) if self.part else result, found)
        if result.get("failed"):
            _name_others(result, found)
        result["warnings"] = list(result.get("warnings") or []) + _warnings(found, result)
        return result

    def _complete(self, given: dict[str, Any]) -> _inbox.Found:
        """Put into the options what was found. Where they are none at all, the module says so."""
        arguments = given.get(self.part) if self.part else given
        if not isinstance(arguments, dict):
            return _inbox.Found()
        found = self._look(arguments)
        own: dict[str, Any] = {option: [] for option in FOLDERS}  # the controller's paths mean nothing on the host
        own.update(candidates=found.candidates, unusable=found.unusable)
        own.update(others=_foreign.pack(row.spki_sha256 for row in found.others))
        own.update(authorities=found.authorities, anchors=found.anchors)
        given.update({self.part: {**arguments, **own}} if self.part else own)
        return found

    def _look(self, arguments: dict[str, Any]) -> _inbox.Found:
        if _x509.IMPORT_ERROR is not None:
            raise AnsibleActionFail(
                f"The controller's Python has no cryptography library ({_x509.IMPORT_ERROR}). "
                "Install cryptography >= 3.2 for it."
            )
        folders = {option: [self._path(path) for path in _listed(arguments.get(option))] for option in FOLDERS}
        names = [entry.get("name") for entry in _entries(arguments.get("certificates"))]
        return _inbox.look(
            [str(name) for name in names if name],
            folders["inbox"],
            folders["intermediates"],
            folders["roots"],
            datetime.datetime.now(datetime.timezone.utc),
            _fetch.Source() if boolean(arguments.get("download", True), strict=False) else None,
            C.DEFAULT_LOCAL_TMP,
        )

    def _path(self, path: str) -> str:
        """A path as the play means it: relative to the playbook where it exists there, else to the current directory.

        The collection's own playbooks lie in the collection, where nobody keeps an inbox.
        """
        expanded = os.path.expanduser(os.path.expandvars(str(path)))
        beside = str(self._loader.path_dwim(expanded))
        return beside if os.path.exists(beside) else os.path.abspath(expanded)


def _tell_ignored(result: dict[str, Any] | None, found: _inbox.Found) -> None:
    """Of a fleet's inbox nearly all is for others; a list of it for each host would fill the memory."""
    if result is not None and "ignored" in result:
        result["ignored"] = result["ignored"] + [_ignored(row) for row in found.others[:SHOWN]]
        result["ignored_more"] = len(found.others[SHOWN:])


def _ignored(row: _leaves.Row) -> dict[str, str]:
    return {
        "file": row.source,
        "serial": row.serial,
        "name": ", ".join(row.names[:3]),
        "reason_code": "other_name",
        "reason": "It is for no certificate of this host.",
    }


def _name_others(result: dict[str, Any], found: _inbox.Found) -> None:
    """The host knows certificates for other names by their keys only; a person wants file and names."""
    texts = [(result, "msg"), *((error, "message") for error in _entries(result.get("errors")))]
    for row in found.others:
        known_as = _foreign.known_as(row.spki_sha256)
        full = f"the certificate in '{row.source}' (for {', '.join(row.names) or 'no host'})"
        for error, word in texts:
            if word in error:
                error[word] = str(error[word]).replace(known_as, full)


def _warnings(found: _inbox.Found, result: dict[str, Any]) -> list[str]:
    """Unusable files, unless the failure names them already."""
    named = result.get("reason_code") == "unusable_file"
    rows = ([] if named else found.unusable) + found.damaged
    return ["{message} {fix}".format(**row) for row in rows if row["fault"]]


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value or [] if isinstance(entry, dict)] if isinstance(value, list) else []

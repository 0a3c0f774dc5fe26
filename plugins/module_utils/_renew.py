# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both daily jobs of a host in one process: what has arrived goes live, then what is due is applied for."""

import time

from ansible_collections.campus.upki.plugins.module_utils import _install, _request, _validity
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError


def run(install, request, check_mode=False, now=None):
    """The module's result. install, request: the options of the modules of these names. now: seconds since 1970.

    A fault among the requests does not hold up a certificate that has arrived: it is raised afterwards, with what
    became of the installation.
    """
    now = time.time() if now is None else now
    installed = _install.run(install, check_mode, _validity.moment(now))
    warnings = installed.pop("warnings")
    try:
        requested = _request.Request(request, now, check_mode).run()
    except UpkiError as error:
        error.details.update(install=_in_short(installed), changed=installed["changed"], warnings=warnings)
        if installed["changed"] and not check_mode:
            error.fix = "{0} {1}".format(error.fix, _before(installed)).lstrip()
        raise
    warnings += requested.pop("warn")
    return {
        "changed": installed["changed"] or requested["changed"],
        "install": installed,
        "request": requested,
        "warnings": warnings,
        "diff": _differences(installed, requested),
    }


def _in_short(installed):
    """What became of the installation, no longer than a person wants to read it beside an error."""
    kept = ("name", "state", "changed", "reason_code", "reason")
    rows = [{key: row[key] for key in kept} for row in installed["certificates"]]
    return {"changed": installed["changed"], "certificates": rows}


def _before(installed):
    """What a person must not take for undone when the applications have failed."""
    names = [row["name"] for row in installed["certificates"] if row["changed"]]
    return "This concerns the applications only; before them the certificate of {0} was put in place.".format(
        ", ".join(names)
    )


def _differences(installed, requested):
    """Those of both, for diff mode."""
    own = requested.pop("diff")
    return installed.pop("diff") + ([own] if own["before"] or own["after"] else [])

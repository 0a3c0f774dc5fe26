# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library that the managed host must have, and what to type where it is missing."""

import platform
import re
import sys

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

MINIMUM = _x509.MINIMUM_CRYPTOGRAPHY

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")

# ID or ID_LIKE of os-release: (package, command to install it).
PACKAGES = {
    "debian": ("python3-cryptography", "apt-get install python3-cryptography"),
    "fedora": ("python3-cryptography", "dnf install python3-cryptography"),
    "rhel": ("python3-cryptography", "dnf install python3-cryptography"),
    "suse": ("python3-cryptography", "zypper install python3-cryptography"),
    "alpine": ("py3-cryptography", "apk add py3-cryptography"),
    "arch": ("python-cryptography", "pacman -S python-cryptography"),
}

# Interpreters that the distribution's package serves; any other (venv, pyenv, /opt) has its own library folder.
SYSTEM_PYTHON = re.compile(r"^/usr/(bin|libexec)/(python[0-9.]*|platform-python[0-9.]*)$")


def version_tuple(text):
    """(major, minor) of a version text; (0, 0) for '' and for what is no version."""
    match = re.match(r"(\d+)(?:\.(\d+))?", text)
    return (int(match.group(1)), int(match.group(2) or 0)) if match else (0, 0)


def distribution_ids(paths=OS_RELEASE):
    """The names by which the distribution knows itself, most exact first; [] where no file says."""
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                rows = dict(line.strip().split("=", 1) for line in handle if "=" in line)
        except OSError:
            continue
        return [word.strip("\"'") for key in ("ID", "ID_LIKE") for word in rows.get(key, "").split()]
    return []


def install_hint(executable, ids):
    """(package name or '', sentence that says how to install) for this interpreter on this distribution."""
    known = [PACKAGES[name] for name in ids if name in PACKAGES]
    if known and SYSTEM_PYTHON.match(executable):
        package, command = known[0]
        return package, "Install the package {0} on the host: {1}".format(package, command)
    return "", "Install it for this interpreter: {0} -m pip install 'cryptography>={1}'".format(
        executable, ".".join(map(str, MINIMUM))
    )


def problem(found, import_error, executable, ids):
    """None when the library serves, otherwise the UpkiError to report."""
    needed = ".".join(map(str, MINIMUM))
    if import_error is None and version_tuple(found) >= MINIMUM:
        return None
    package, fix = install_hint(executable, ids)
    python = "Python {0} ({1})".format(platform.python_version(), executable)
    if found and version_tuple(found) < MINIMUM:
        code = "cryptography_too_old"
        message = "{0} has cryptography {1}, and {2} or newer is needed.".format(python, found, needed)
    elif found:
        code = "cryptography_broken"
        message = "{0} has cryptography {1}, which cannot be imported ({2}).".format(python, found, import_error)
    else:
        code = "cryptography_missing"
        message = "{0} has no cryptography library ({1}), and {2} or newer is needed.".format(
            python, import_error, needed
        )
    return UpkiError(
        code,
        message,
        fix,
        python=executable,
        python_version=platform.python_version(),
        cryptography_found=found,
        cryptography_needed=needed,
        package=package,
    )


def check(module):
    """End the module with fail_json where the host's Python lacks what the collection needs."""
    error = problem(_x509.installed_version(), _x509.IMPORT_ERROR, sys.executable or "python3", distribution_ids())
    if error is not None:
        module.fail_json(**error.result())

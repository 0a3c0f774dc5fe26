# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixed paths that an existing configuration names: symlinks into `live`, or copies where a service needs files.

A symlink never changes again: the flip of `live` moves it. A copy is written after the flip and before the server's
test, and put back when the swap goes back. A hand-made file at such a path is kept beside it before it is replaced.
"""

import os
import shutil
import stat
import subprocess

from ansible_collections.campus.upki.plugins.module_utils import _atomic
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

# what: (files of the generation in order, mode of a copy)
PIECES = {
    "fullchain": (("fullchain.pem",), 0o644),
    "certificate": (("certificate.pem",), 0o644),
    "chain": (("chain.pem",), 0o644),
    "key": (("key.pem",), 0o600),
    "combined": (("key.pem", "fullchain.pem"), 0o600),
}
KEPT = ".before-upki"
MODES = {"0600": 0o600, "0640": 0o640, "0644": 0o644, "0400": 0o400, "0440": 0o440, "0444": 0o444}
SELINUX = "/sys/fs/selinux/enforce"
RESTORECON = "/sbin:/usr/sbin"  # where the program lies; often missing from PATH where Ansible runs


def checked(rows, name, store):
    """The option `links` of one certificate, checked: all faults of its rows in one error."""
    faults = [fault for row in rows for fault in [_fault(row, store)] if fault]
    paths = [row["path"] for row in rows]
    faults += ["'{0}' is listed twice".format(path) for path in sorted(set(paths)) if paths.count(path) > 1]
    if faults:
        raise UpkiError(
            "links_invalid",
            "The links of '{0}' cannot be made: {1}.".format(name, "; ".join(faults)),
            "Correct 'links'; folders are not made here.",
        )
    return [dict(row, copy=bool(row.get("copy")) or row["what"] == "combined") for row in rows]


def _fault(row, store):
    path = row["path"]
    if not os.path.isabs(path):
        return "'{0}' is no absolute path".format(path)
    if os.path.normpath(path).startswith(os.path.normpath(store) + os.sep):
        return "'{0}' lies in the store itself".format(path)
    if not os.path.isdir(os.path.dirname(path)):
        return "the folder of '{0}' does not exist".format(path)
    if os.path.isdir(path) and not os.path.islink(path):
        return "'{0}' is a folder".format(path)
    mode = row.get("mode")
    if mode is not None and MODES[mode] & 0o004 and "key.pem" in PIECES[row["what"]][0]:
        return "'{0}' holds the key and may not be readable for all (mode {1})".format(path, mode)
    return ""


def _target(row, slot):
    return os.path.join(slot.path, "live", PIECES[row["what"]][0][0])


def _content(row, generation):
    data = b""
    for name in PIECES[row["what"]][0]:
        with _atomic.explained(generation.file(name), "read"), open(generation.file(name), "rb") as stream:
            data += stream.read()
    return data


def _rights(row):
    """(mode, uid, gid) of a copy; -1 where nothing is wanted."""
    mode = MODES[row["mode"]] if row.get("mode") else PIECES[row["what"]][1]
    return (mode,) + _atomic.owner_ids(row.get("owner"), row.get("group"))


def differs(row, slot, generation):
    """True when the path is not what it should be for this generation."""
    path = row["path"]
    if not row["copy"]:
        return not os.path.islink(path) or os.readlink(path) != _target(row, slot)
    if os.path.islink(path) or not os.path.isfile(path):
        return True
    mode, uid, gid = _rights(row)
    found = os.stat(path)
    if stat.S_IMODE(found.st_mode) != mode or uid not in (-1, found.st_uid) or gid not in (-1, found.st_gid):
        return True
    with _atomic.explained(path, "read"), open(path, "rb") as stream:
        return stream.read() != _content(row, generation)


def place(row, slot, generation):
    """Make the path right. Returns a function that puts back what was there, or None when nothing was to do."""
    if not differs(row, slot, generation):
        return None
    path = row["path"]
    undo = _remember(path)
    _keep_hand_made(path, slot)
    if not row["copy"]:
        _atomic.replace_symlink(path, _target(row, slot))
    else:
        mode, uid, gid = _rights(row)
        owner, group = (None if uid == -1 else uid), (None if gid == -1 else gid)
        _atomic.write_file(path, _content(row, generation), mode, owner, group)
        _label(path)
    return undo


def _remember(path):
    """A function that brings the path back to what it is now."""
    if os.path.islink(path):
        target = os.readlink(path)
        return lambda: _atomic.replace_symlink(path, target)
    if not os.path.exists(path):
        return lambda: _remove(path)
    found = os.stat(path)
    with _atomic.explained(path, "read"), open(path, "rb") as stream:
        data = stream.read()
    mode = stat.S_IMODE(found.st_mode)

    def back():
        _atomic.write_file(path, data, mode, found.st_uid, found.st_gid)
        _label(path)

    return back


def _remove(path):
    with _atomic.explained(path, "remove"):
        if os.path.lexists(path):
            os.unlink(path)
            _atomic.fsync_dir(os.path.dirname(path))


def _keep_hand_made(path, slot):
    """A file that no generation of the store holds gets a second name, so that nothing is lost, above all no key."""
    if os.path.islink(path) or not os.path.isfile(path) or os.path.lexists(path + KEPT):
        return
    with _atomic.explained(path, "keep the file that lies at"):
        with open(path, "rb") as stream:
            data = stream.read()
        known = [_content({"what": what}, one) for one in slot.generations() for what in _whole(one)]
        if data not in known:
            os.link(path, path + KEPT)


def _whole(generation):
    return [what for what, (files, _mode) in PIECES.items() if generation.has(*files)]


def _label(path):
    """The SELinux context that the policy gives this path, where SELinux is on."""
    restorecon = shutil.which("restorecon", path=RESTORECON)
    if os.path.exists(SELINUX) and restorecon:
        subprocess.call([restorecon, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

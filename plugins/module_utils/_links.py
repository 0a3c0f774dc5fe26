# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixed paths that an existing configuration names: symlinks into `live`, or copies where a service needs files.

A symlink never changes again: the flip of `live` moves it. A copy is written after the flip and before the server's
test, and put back when the swap goes back. A hand-made file at such a path is kept beside it before it is replaced.

The folder may belong to the service's own user, who can put something else at a path between two looks at it. So a file
is opened once, never through a symlink, and what is known of it (content, owner, rights) is that of the open file. What
is written comes by a rename, which replaces a symlink and does not follow it.
"""

import errno
import os
import re
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
            "Correct 'links' (upki_certificates); folders are not made here.",
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
        return _link_target(path) != _target(row, slot)
    found = _read_file(path)
    if found is None:
        return True
    data, status = found
    mode, uid, gid = _rights(row)
    if stat.S_IMODE(status.st_mode) != mode or uid not in (-1, status.st_uid) or gid not in (-1, status.st_gid):
        return True
    return data != _content(row, generation)


def _link_target(path):
    """Where the symlink at the path leads, or None where there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def _read_file(path):
    """(content, fstat) of the regular file at the path itself, or None where there is none."""
    with _atomic.explained(path, "read"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):  # nothing, a symlink, a socket
                return None
            raise
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            return (stream.read(), status) if stat.S_ISREG(status.st_mode) else None


def place(row, slot, generation):
    """Make the path right. Returns a function that puts back what was there, or None when nothing was to do."""
    _sweep(row["path"])
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
    target, found = _link_target(path), _read_file(path)
    if target is not None:
        return lambda: _atomic.replace_symlink(path, target)
    if found is None:
        return lambda: _remove(path)
    data, status = found

    def back():
        _atomic.write_file(path, data, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        _label(path)

    return back


def _remove(path):
    with _atomic.explained(path, "remove"):
        if os.path.lexists(path):
            os.unlink(path)
            _atomic.fsync_dir(os.path.dirname(path))


def _keep_hand_made(path, slot):
    """A file that no generation of the store holds gets a second name, so that nothing is lost, above all no key."""
    found = None if os.path.lexists(path + KEPT) else _read_file(path)
    if found is None:
        return
    data, status = found
    if data in [_content({"what": what}, one) for one in slot.generations() for what in _whole(one)]:
        return
    with _atomic.explained(path, "keep the file that lies at"):
        os.link(path, path + KEPT, follow_symlinks=False)
        kept = os.lstat(path + KEPT)
        if not stat.S_ISREG(kept.st_mode) or (kept.st_dev, kept.st_ino) != (status.st_dev, status.st_ino):
            os.unlink(path + KEPT)
            raise UpkiError(
                "links_disturbed",
                "The file '{0}' was replaced by somebody else at this moment.".format(path),
                "Look who writes into '{0}', and run again.".format(os.path.dirname(path)),
            )


def _sweep(path):
    """Remove temporary files of a run that was killed while it wrote this path; one of them may hold the key."""
    folder, name = os.path.split(path)
    ours = re.compile(r"^\." + re.escape(name) + r"\.[0-9a-f]{8}" + re.escape(_atomic.TEMPORARY) + "$")
    with _atomic.explained(folder, "look into"):
        entries = [os.path.join(folder, entry) for entry in os.listdir(folder) if ours.match(entry)]
    for entry in entries:
        with _atomic.explained(entry, "remove"):
            os.unlink(entry)


def _whole(generation):
    return [what for what, (files, _mode) in PIECES.items() if generation.has(*files)]


def _label(path):
    """The SELinux context that the policy gives this path, where SELinux is on."""
    restorecon = shutil.which("restorecon", path=RESTORECON)
    if os.path.exists(SELINUX) and restorecon:
        subprocess.call([restorecon, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links that are either the old ones or the new ones, also after a power cut.

Every function that changes something says so to the disk (fsync of the file and of its directory) before it returns.
"""

import contextlib
import errno
import grp
import os
import pwd

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

TEMPORARY = ".tmp"  # the end of every temporary name made here; the beginning is a dot and the final name

FIXES = {
    errno.ENOSPC: "Make room on this file system (df -h, df -i) and run again.",
    errno.EDQUOT: "Raise the disk quota of this user and run again.",
    errno.EROFS: "The file system is mounted read-only; look at the kernel log for the reason before you remount it.",
    errno.EACCES: "Run as the owner of the store, usually root (become: true).",
    errno.EPERM: "Run as the owner of the store, usually root (become: true); look for an immutable flag (lsattr).",
    errno.EIO: "The disk reports an error; look at the kernel log, and at the backup, before anything else.",
}


def is_special(path):
    """True for a pipe, a socket or a device: reading it might never end."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextlib.contextmanager
def explained(path, doing):
    """Turn an OSError into the UpkiError `store_io` that names the path, the act and the remedy."""
    try:
        yield
    except OSError as error:
        raise UpkiError(
            "store_io",
            "Could not {0} '{1}': {2}.".format(doing, path, os.strerror(error.errno) if error.errno else error),
            FIXES.get(error.errno, "Mend this and run again; nothing that was in place before has changed."),
            path=path,
            errno=errno.errorcode.get(error.errno, ""),
        )


def fsync_dir(path):
    """Make the directory's entries survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(value, item, lookup, field):
    """A numeric id of a user or group given as name, number or nothing (-1: leave as it is)."""
    if value is None or value == "":
        return -1
    if isinstance(value, int) or str(value).isdigit():
        return int(value)
    try:
        return getattr(lookup(str(value)), field)
    except KeyError:
        raise UpkiError(
            "{0}_unknown".format(item),
            "The {0} '{1}' does not exist on this host.".format(item, value),
            "Install the package that makes it first, or name another {0}.".format(item),
        )


def owner_ids(owner, group):
    """(uid, gid) for os.chown; -1 stands for 'unchanged'. Unknown names raise UpkiError."""
    return _identity(owner, "user", pwd.getpwnam, "pw_uid"), _identity(group, "group", grp.getgrnam, "gr_gid")


def _temporary(path):
    folder, name = os.path.split(path)
    return os.path.join(folder, ".{0}.{1}{2}".format(name, os.urandom(4).hex(), TEMPORARY))


def create_file(path, data, mode, owner=None, group=None):
    """Write a new file that must not exist yet, with its final rights from the first byte, and fsync it.

    The file is made with no more rights than its owner's; a wider `mode` comes after the content.
    """
    ids = owner_ids(owner, group)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode & 0o700)
    try:
        if ids != (-1, -1):
            os.fchown(descriptor, *ids)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)  # the umask must not decide
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_quietly(path):
    with contextlib.suppress(OSError):  # the first error is the one to report
        os.unlink(path)


def write_file(path, data, mode, owner=None, group=None):
    """Put `data` (bytes) at `path` by a temporary file and one rename; a reader sees the old or the new content."""
    temporary = _temporary(path)
    with explained(path, "write"):
        try:
            create_file(temporary, data, mode, owner, group)
            os.rename(temporary, path)
        except BaseException:
            _unlink_quietly(temporary)
            raise
        fsync_dir(os.path.dirname(path) or ".")


def replace_symlink(path, target):
    """Make `path` a symlink to `target` by ONE rename; a reader sees the old or the new target."""
    temporary = _temporary(path)
    with explained(path, "set the link"):
        try:
            os.symlink(target, temporary)
            os.rename(temporary, path)
        except BaseException:
            _unlink_quietly(temporary)
            raise
        fsync_dir(os.path.dirname(path) or ".")


def remove_link(path):
    """Remove a symlink; one that is gone already is no error. Anything else than a symlink is left alone."""
    with explained(path, "remove the link"):
        if not os.path.islink(path):
            return
        os.unlink(path)
        fsync_dir(os.path.dirname(path) or ".")


def make_dir(path, mode=0o755):
    """Make a directory and its missing parents, each with `mode` and fsynced; existing ones stay as they are."""
    with explained(path, "make the directory"):
        _make_dir(os.path.abspath(path), mode)


def _make_dir(path, mode):
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_dir(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:  # another run was faster
        if not os.path.isdir(path):
            raise
        return
    os.chmod(path, mode)
    fsync_dir(parent)

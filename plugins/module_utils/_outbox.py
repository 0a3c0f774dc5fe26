# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of TSV files: which applications stand in it already, and new files written as a whole or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import time

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _tsv_record, _tsv_text
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import fault
from ansible_collections.campus.upki.plugins.module_utils._rules import KEYS, KINDS, RULES, item

SENT = "sent"  # where an operator may move what the IT centre has
NAME = "{date}-{kind}-{label}{number}.tsv"
OWN_NAME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})-(?P<kind>[a-z_]+)-(?P<label>(?:[0-9A-Za-z]+-)?)(?P<number>[0-9]+)\.tsv"
)
LABEL = re.compile(r"[0-9A-Za-z]{0,32}")
# NFS locks no folder, only files that are open for writing.
FOLDER_UNLOCKABLE = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP)
LOCK = ".lock"
CSR = KEYS.index("csr")
MODE = 0o644  # public data; whoever mails the file may be somebody else
LOCK_WAIT = 30  # seconds

FIXES = {
    errno.EACCES: "Run as a user who may write there, or choose another dest.",
    errno.EPERM: "Run as a user who may write there, or choose another dest.",
    errno.EROFS: "Choose a dest on a file system that can be written.",
    errno.ENOSPC: "Make room on this file system (df -h, df -i) and run again.",
    errno.ENOTDIR: "Name a folder.",
}


def kind_of_name(path):
    """The kind in a file name such as 2026-11-22-server_renew-1.tsv, or None."""
    name = os.path.basename(path)
    found = [kind for kind in KINDS if re.search(r"(?<![a-z]){0}(?![a-z])".format(kind), name)]
    return found[0] if len(found) == 1 else None


class Outbox:
    """The TSV files under one folder and its `sent` folder."""

    def __init__(self, path, label="", rules=RULES):
        if not LABEL.fullmatch(label):
            raise UpkiError(
                "label_invalid",
                "The label '{0}' for file names has other characters than letters and digits, or more than 32.".format(
                    label
                ),
                "Correct 'label' (upki_outbox_label), or leave it out.",
            )
        self.path = path
        self.label = label + "-" if label else ""
        self.rules = rules

    @contextlib.contextmanager
    def locked(self, wait=LOCK_WAIT):
        """Only one run at a time writes here; another waits, and says so when it has waited long enough."""
        _atomic.make_dir(self.path)
        with _explained(self.path, "open the folder"):
            descriptors = [os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)]
        try:
            if not self._wait_for_lock(descriptors[0], wait, FOLDER_UNLOCKABLE):
                with _explained(self.path, "open the lock file in"):
                    path = os.path.join(self.path, LOCK)
                    descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE))
                self._wait_for_lock(descriptors[1], wait)
            self._clear_leftovers()
            yield self
        finally:
            for descriptor in descriptors:
                os.close(descriptor)  # gives the lock back

    def _wait_for_lock(self, descriptor, wait, unlockable=()):
        """True with the lock; False when the file system answers with one of these errors."""
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= end:
                    raise UpkiError(
                        "outbox_locked",
                        "Another run has been writing to '{0}' for {1} seconds.".format(self.path, wait),
                        "Wait for it to end and run again (fuser -v {0} names it).".format(self.path),
                        path=self.path,
                    )
                time.sleep(0.05)
            except OSError as error:
                if error.errno in unlockable:
                    return False
                with _explained(self.path, "lock"):
                    raise

    def _clear_leftovers(self):
        """Temporary files of a run that was killed; only the holder of the lock comes here."""
        for name in os.listdir(self.path):
            if name.startswith(".") and name.endswith(_atomic.TEMPORARY) and OWN_NAME.match(name[1:]):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.path, name))

    def files(self):
        """Paths of the files for the service under the folder and its `sent` folder, oldest name first."""
        paths = []
        for folder in (self.path, os.path.join(self.path, SENT)):
            with _explained(folder, "read the folder"):
                try:
                    names = sorted(os.listdir(folder))
                except FileNotFoundError:
                    continue
            paths += [os.path.join(folder, name) for name in names if self._counts(name)]
        return [path for path in paths if os.path.isfile(path)]

    def _counts(self, name):
        return name.lower().endswith(self.rules["file"]["extensions"]) and not name.startswith(".")

    def standing(self):
        """[{path, kind (None when the name does not say), lines}] of what is applied for already."""
        found = []
        for path in self.files():
            with _explained(path, "read the file"), open(path, "rb") as handle:
                data = handle.read()
            rows = _tsv_text.read(data, self.rules)[0]
            found.append(
                {
                    "path": path,
                    "kind": kind_of_name(path),
                    "lines": [self.rules["file"]["separator"].join(row.texts) for row in rows],
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "data": data,
                }
            )
        return found

    def next_path(self, kind, date, taken=()):
        """The next free file name of the day: numbers go up, also over files that have been moved to `sent`."""
        used = [0]
        for path in list(self.files()) + list(taken):
            match = OWN_NAME.fullmatch(os.path.basename(path))
            if match and match.group("date", "kind", "label") == (date, kind, self.label):
                used.append(int(match.group("number")))
        return os.path.join(self.path, NAME.format(date=date, kind=kind, label=self.label, number=max(used) + 1))

    def write(self, files):
        """Write [(path, bytes)]: all contents first, then the renames, each file whole or absent."""
        temporary = []
        with _explained(self.path, "write to"):
            try:
                for path, data in files:
                    folder, name = os.path.split(path)
                    hidden = os.path.join(folder, ".{0}.{1}{2}".format(name, os.urandom(4).hex(), _atomic.TEMPORARY))
                    temporary.append((hidden, path))
                    _atomic.create_file(hidden, data, MODE)
                for hidden, path in temporary:
                    os.rename(hidden, path)
                _atomic.fsync_dir(self.path)
            finally:
                for hidden, _path in temporary:
                    with contextlib.suppress(OSError):
                        os.unlink(hidden)


@contextlib.contextmanager
def _explained(path, doing):
    try:
        yield
    except OSError as error:
        raise UpkiError(
            "outbox_io",
            "Could not {0} '{1}': {2}.".format(doing, path, os.strerror(error.errno) if error.errno else error),
            FIXES.get(error.errno, "Mend this and run again; nothing that was in place before has changed."),
            path=path,
        )


def plan(rows, box, date, rules=RULES):
    """What to write, what stands already, and what stands with other words.

    rows: [(kind, line)] in the order of the records; the line is None where check mode cannot know it yet.
    Returns (new: [(path, kind, [line])], old: [(standing file, kind, [line])], notes).
    """
    standing = box.standing()
    homes = _homes(standing)
    fresh, old, notes = {}, {}, []
    for number, (kind, line) in enumerate(rows, 1):
        home = homes.get((kind, line)) or homes.get((None, line))
        if home is None:
            fresh.setdefault(kind, []).append(line)
            notes += _applied_before(number, kind, line, standing, rules)
        else:
            if home["path"] not in old:
                notes += _saved_again(home, rules)
            old.setdefault(home["path"], (home, kind, []))[2].append(line)
    new = []
    most = rules["file"]["records"]
    for kind in [kind for kind in rules["kinds"] if kind in fresh]:
        for start in range(0, len(fresh[kind]), most):
            path = box.next_path(kind, date, [made for made, one, lines in new])
            new.append((path, kind, fresh[kind][start : start + most]))
    return new, list(old.values()), notes


def _homes(standing):
    """{(kind or None, line): the first file in which it stands}."""
    homes = {}
    for one in standing:
        for line in one["lines"]:
            homes.setdefault((one["kind"], line), one)
    return homes


def _saved_again(home, rules):
    """A note when a file that waits to be mailed has the right records in a form that the service does not read."""
    if os.path.basename(os.path.dirname(home["path"])) == SENT:
        return []
    try:
        as_written = _tsv_record.encode(home["lines"], rules)
    except UnicodeEncodeError:
        as_written = None
    if as_written is not None and _lines_only(home["data"]) == _lines_only(as_written):
        return []
    message = "The file '{0}' was saved again by an editor or a spreadsheet; the service would not read it.".format(
        home["path"]
    )
    fix = "Delete it and run again: it is written anew. (campus.upki.tsv_info says what is wrong with it.)"
    return [fault("saved_again", _tsv_text.FILE, os.path.basename(home["path"]), message, fix, None)]


def _lines_only(data):
    """The service takes LF as well as CRLF, and the last one may be missing."""
    return data.replace(b"\r\n", b"\n").rstrip(b"\n")


def _applied_before(number, kind, line, standing, rules):
    """A note when a file of the same kind holds the same CSR with other columns: only one of the two may be sent."""
    csr = (line or "").split(rules["file"]["separator"])[CSR:][:1]
    if not csr or not csr[0]:
        return []
    for one in standing:
        if one["kind"] in (None, kind) and any(csr[0] in other for other in one["lines"]):
            message = "The same CSR stands in '{0}' with other columns.".format(one["path"])
            fix = "Send only one of the two files; delete the older one if it has not been sent."
            return [fault("applied_before", item("csr"), os.path.basename(one["path"]), message, fix, number)]
    return []


def result(path, kind, lines, data, written):
    """One entry of the module's `files`."""
    return {
        "path": path,
        "kind": kind,
        "records": len(lines),
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "written": written,
        "sent": os.path.basename(os.path.dirname(path)) == SENT,
    }


def deliver(lines, box, date, write, rules=RULES):
    """(files, notes, diff) of the module; with `write` the new files are written."""
    new, old, notes = plan(lines, box, date, rules)
    files, diff, contents = [], [], []
    for path, kind, texts in new:
        data = None if None in texts else _tsv_record.encode(texts, rules)
        contents.append((path, data))
        files.append(result(path, kind, texts, data, True))
        shown = "".join((text or "(the CSR is not made yet)") + "\n" for text in texts)
        diff.append({"before": "", "after": shown, "before_header": path, "after_header": path})
    if write and contents:
        box.write(contents)
    for home, kind, texts in old:
        files.append(dict(result(home["path"], kind, texts, None, False), sha256=home["sha256"]))
    return files, notes, diff

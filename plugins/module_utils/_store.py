# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on the managed host: generations of key, request and certificate, and the two links into them.

    <store>/.lock
    <store>/<name>/generations/<YYYYmmddTHHMMSSZ>-<8 hex>/key.pem request.pem request.json request.tsv
                                                          certificate.pem chain.pem fullchain.pem cancelled.json
    <store>/<name>/pending  ->  generations/<id>     its request is with the CA
    <store>/<name>/live     ->  generations/<id>     what servers are configured to read

A generation appears by one rename of a finished temporary directory, and `live` moves by one rename of a symlink.
No function here deletes a key, and none but `add_generation` handles one.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import time

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

GENERATION_ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")
ID_TIME = "%Y%m%dT%H%M%SZ"
SAFE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
PUBLIC = 0o644
PRIVATE = 0o600
DIRECTORY = 0o755
# Parts of request.json whose shape others rely on.
SHAPES = (("name", str), ("record", dict), ("dns_names", list), ("replaces", dict), ("amended", list))


def _read(path):
    """Bytes of a file, or None when it is absent."""
    try:
        with _atomic.explained(path, "read"), open(path, "rb") as stream:
            return stream.read()
    except UpkiError as error:
        if error.details.get("errno") in ("ENOENT", "ENOTDIR"):
            return None
        raise


def _text(path):
    data = _read(path)
    return None if data is None else data.decode("utf-8", "replace")


def _well_shaped(meta):
    """True for what add_generation() writes, False for what damage or a hand made of it."""
    if not isinstance(meta, dict):
        return False
    record = meta.get("record") or {}
    parts = [(meta.get(key), type_) for key, type_ in SHAPES]
    parts += [(record.get("subject") if isinstance(record, dict) else None, dict)]
    return all(value is None or isinstance(value, type_) for value, type_ in parts)


class Generation(object):
    """One key with its request and, after issuance, its certificate."""

    def __init__(self, path):
        self.path = path
        self.id = os.path.basename(path)

    def __eq__(self, other):
        return isinstance(other, Generation) and self.path == other.path

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self.path)

    def file(self, name):
        """Path of one of the generation's files."""
        return os.path.join(self.path, name)

    @property
    def key_path(self):
        return self.file("key.pem")

    def has(self, *names):
        """True when all these files exist; a file that may not be read counts as existing."""
        return all(os.path.lexists(self.file(name)) for name in names)

    @property
    def meta(self):
        """request.json as a dict; {} when it is missing or broken."""
        try:
            found = json.loads(_text(self.file("request.json")) or "{}")
        except ValueError:
            return {}
        return found if _well_shaped(found) else {}

    @property
    def cancelled(self):
        """True when a person gave this request up."""
        return self.has("cancelled.json")

    def created(self):
        """Seconds since 1970 when the request was made, as request.json says, else as the id says; None for neither."""
        for text, form in ((str(self.meta.get("created", "")), "%Y-%m-%dT%H:%M:%SZ"), (self.id[:16], ID_TIME)):
            try:
                moment = datetime.datetime.strptime(text, form)
            except ValueError:
                continue
            return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
        return None

    def request(self):
        """The CSR as PEM text, or None."""
        return _text(self.file("request.pem"))

    def certificate(self):
        """The issued certificate, or None while there is none."""
        found = self._certificates("certificate.pem")
        return found[0] if found else None

    def chain(self):
        """The intermediates that are served after the certificate, in order."""
        return self._certificates("chain.pem")

    def _certificates(self, name):
        text = _text(self.file(name))
        return [] if text is None else _x509.certificates_from_pem(text)

    def spki_sha256(self):
        """SHA-256 of the public key, from the request (or the certificate where that is missing), or ''."""
        text = self.request()
        if text is not None:
            return _x509.spki_sha256(_x509.request_from_pem(text).public_key())
        certificate = self.certificate()
        return _x509.spki_sha256(certificate.public_key()) if certificate is not None else ""


class Slot(object):
    """Everything that the store has under one name."""

    def __init__(self, store, name):
        self.store = store
        self.name = name
        self.path = os.path.join(store.path, name)
        self.generations_path = os.path.join(self.path, "generations")

    # --- reading -----------------------------------------------------------------------------------------

    def link(self, which):
        """The id that `live` or `pending` names, dangling or not; None where there is no such link."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.path, which)))
        except OSError:
            return None

    def _linked(self, which):
        found = self.link(which)
        if found is None or not GENERATION_ID.match(found):
            return None
        generation = Generation(os.path.join(self.generations_path, found))
        return generation if os.path.isdir(generation.path) else None

    @property
    def live(self):
        """The generation that servers read, or None (also when the link dangles: see problems())."""
        return self._linked("live")

    @property
    def pending(self):
        """The generation whose request is with the CA, or None.

        A `pending` link to the live generation or to a cancelled one is what a killed run left; it counts as none.
        """
        found = self._linked("pending")
        if found is None or found.cancelled or found == self.live:
            return None
        return found

    def _entries(self):
        try:
            return sorted(os.listdir(self.generations_path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return []
            with _atomic.explained(self.generations_path, "list"):
                raise

    def generations(self):
        """All complete directories, oldest first."""
        return [
            Generation(os.path.join(self.generations_path, entry))
            for entry in self._entries()
            if GENERATION_ID.match(entry)
        ]

    def generation(self, identity):
        """The generation with this id, or None."""
        for generation in self.generations():
            if generation.id == identity:
                return generation
        return None

    def leftovers(self):
        """Temporary directories of runs that died; they may hold a key, so nothing here removes them."""
        return [
            os.path.join(self.generations_path, entry)
            for entry in self._entries()
            if entry.startswith(".") and entry.endswith(_atomic.TEMPORARY)
        ]

    # --- changing: only while the store's lock is held ---------------------------------------------------

    def _new_id(self, meta):
        """An id later than all others, so that 'newest' stays true when the clock went back."""
        created = datetime.datetime.strptime(meta["created"], "%Y-%m-%dT%H:%M:%SZ")
        times = [generation.id[:16] for generation in self.generations()]
        if times and created.strftime(ID_TIME) <= times[-1]:
            created = datetime.datetime.strptime(times[-1], ID_TIME) + datetime.timedelta(seconds=1)
        return "{0}-{1}".format(created.strftime(ID_TIME), meta["spki_sha256"][:8])

    def add_generation(self, key_pem, request_pem, meta, tsv=None, key_mode=0o600, key_owner=None, key_group=None):
        """Keep a new key with its request, and point `pending` at it. Returns the Generation.

        key_pem: bytes. request_pem: text. meta: what goes to request.json; `created` and `spki_sha256` make the id.
        tsv: bytes of request.tsv, or None. The key is on the disk before anything else is.
        """
        _atomic.make_dir(self.generations_path, DIRECTORY)
        identity = self._new_id(meta)
        temporary = os.path.join(
            self.generations_path, ".{0}.{1}{2}".format(identity, os.urandom(4).hex(), _atomic.TEMPORARY)
        )
        files = [("request.pem", request_pem.encode("ascii")), ("request.json", _json(meta))]
        if tsv is not None:
            files.append(("request.tsv", tsv))
        generation = Generation(os.path.join(self.generations_path, identity))
        with _atomic.explained(generation.path, "make the generation"):
            self._write_key(temporary, key_pem, key_mode, key_owner, key_group)
            for name, data in files:
                _atomic.create_file(os.path.join(temporary, name), data, PUBLIC)
            os.chmod(temporary, DIRECTORY)
            _atomic.fsync_dir(temporary)
            os.rename(temporary, generation.path)
            _atomic.fsync_dir(self.generations_path)
        self.set_pending(generation)
        return generation

    @staticmethod
    def _write_key(temporary, key_pem, mode, owner, group):
        """The directory and the whole key in it, or neither; once the key is whole, nothing here removes it."""
        os.mkdir(temporary, 0o700)
        try:
            _atomic.create_file(os.path.join(temporary, "key.pem"), key_pem, mode, owner, group)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _atomic.fsync_dir(temporary)

    def set_pending(self, generation):
        """Point `pending` at a generation."""
        _atomic.replace_symlink(os.path.join(self.path, "pending"), "generations/" + generation.id)

    def clear_pending(self):
        """Remove the `pending` link; the generation stays."""
        _atomic.remove_link(os.path.join(self.path, "pending"))

    def amend(self, generation, meta, tsv):
        """Correct the record of a request whose key and CSR stay; request.json, which decides, comes last."""
        _atomic.write_file(generation.file("request.tsv"), tsv, PUBLIC)
        _atomic.write_file(generation.file("request.json"), _json(meta), PUBLIC)

    def cancel(self, generation, record):
        """Give a request up: the generation stays, with `record` (a dict) as cancelled.json."""
        _atomic.write_file(generation.file("cancelled.json"), _json(record), PUBLIC)
        if self.link("pending") == generation.id:
            self.clear_pending()

    def complete(self, generation, certificate_pem, chain_pem):
        """Add the issued certificate and its chain (PEM text). fullchain.pem comes last: it says 'complete'."""
        for name, text in (
            ("certificate.pem", certificate_pem),
            ("chain.pem", chain_pem),
            ("fullchain.pem", certificate_pem + chain_pem),
        ):
            _atomic.write_file(generation.file(name), text.encode("ascii"), PUBLIC)

    def flip(self, generation):
        """Make a generation live by ONE rename. Returns the one before it, or None."""
        previous = self.live
        if previous is not None and self.link("pending") == previous.id:
            self.clear_pending()  # left by a run that was killed after its flip; going back must not make it pending
        _atomic.replace_symlink(os.path.join(self.path, "live"), "generations/" + generation.id)
        return previous

    def unflip(self, previous):
        """Go back to what `flip` returned; None removes the link."""
        if previous is None:
            _atomic.remove_link(os.path.join(self.path, "live"))
        else:
            _atomic.replace_symlink(os.path.join(self.path, "live"), "generations/" + previous.id)

    def sweep(self):
        """Remove temporary links and certificate files that a killed run left. They hold no key."""
        folders = [self.path] + [generation.path for generation in self.generations()]
        for folder in folders:
            for entry in _listing(folder):
                path = os.path.join(folder, entry)
                temporary = entry.startswith(".") and entry.endswith(_atomic.TEMPORARY)
                if temporary and (os.path.islink(path) or not os.path.isdir(path)):
                    with _atomic.explained(path, "remove"):
                        os.unlink(path)


def _listing(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _json(value):
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


class Store(object):
    """The folder that holds all names."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.lock_path = os.path.join(self.path, ".lock")

    def names(self):
        """All names that the store knows, sorted; [] when there is no store yet."""
        try:
            entries = sorted(os.listdir(self.path))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return []
            with _atomic.explained(self.path, "list the store"):
                raise
        return [
            entry
            for entry in entries
            if SAFE_NAME.match(entry) and os.path.isdir(os.path.join(self.path, entry, "generations"))
        ]

    def certificate(self, name):
        """The Slot of a name, which need not exist yet. A name that is no file name is refused."""
        if not SAFE_NAME.match(name):
            raise UpkiError(
                "name_unsafe",
                "The name '{0}' cannot be a directory of the store.".format(name[:80]),
                "Use the server's FQDN.",
            )
        return Slot(self, name)

    @contextlib.contextmanager
    def lock(self, timeout=60):
        """Hold the store for changes. UpkiError `store_locked` names the holder after `timeout` seconds."""
        _atomic.make_dir(self.path, DIRECTORY)
        with _atomic.explained(self.lock_path, "open the lock"):
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE)
        try:
            # Who may open the file may lock it, and so stop every run: the owner alone. Files of earlier runs as well.
            with contextlib.suppress(OSError):
                if stat.S_IMODE(os.fstat(descriptor).st_mode) != PRIVATE:
                    os.fchmod(descriptor, PRIVATE)
            self._wait(descriptor, timeout)
            self._sign(descriptor)
            yield self
        finally:
            os.close(descriptor)  # gives the lock back as well

    def _wait(self, descriptor, timeout):
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    with _atomic.explained(self.lock_path, "lock"):
                        raise
            if time.monotonic() >= end:
                holder = self.holder()
                raise UpkiError(
                    "store_locked",
                    "The store '{0}' is being changed by another run ({1}); waited {2} seconds.".format(
                        self.path, holder, timeout
                    ),
                    "Let that run end and start again; look at it with 'ps -fp PID'.",
                    holder=holder,
                )
            time.sleep(0.1)

    @staticmethod
    def _sign(descriptor):
        """Write who holds the lock: only for messages, so a full disk does not matter here."""
        text = "pid {0} since {1}\n".format(os.getpid(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode("ascii"), 0)

    def holder(self):
        """What the lock's last holder wrote about itself, for whoever may read it."""
        try:
            return (_text(self.lock_path) or "").strip() or "it left no name"
        except UpkiError:
            return "its name is for the store's owner to read"

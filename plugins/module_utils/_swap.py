# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap of one server's certificates: test, flip, test, reload, look at the port, and back again if it is wrong.

All in one process on the host, so a lost connection to the controller leaves nothing half done. A process that is
killed in the middle leaves either the old generation or the new one live; the next run looks at the port and reloads.
"""

import collections
import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
import threading
import time

from ansible_collections.campus.upki.plugins.module_utils import _links, _probe, _servers, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

WAIT = 15  # seconds for the port to serve the new certificate after the reload
PAUSE = 0.2
FIRST_HOST = (
    "For a first certificate: write the virtual host that names live/fullchain.pem and live/key.pem of the store "
    "without reloading, and run again; or let the roles nginx and apache write it (upki_nginx_manage, "
    "upki_apache_manage). Else start the server, or correct 'endpoint'."
)
CONFIRMATIONS = 3  # answers in a row: an old worker may still take a connection after a new one did
OUTPUT = 2000  # characters of a command's output in a message

# endpoint: (host, port) or None when there is nothing to look at. leaf: DER that must be served. links: of _links.py.
Item = collections.namedtuple("Item", "name slot generation leaf endpoint starttls links")
Outcome = collections.namedtuple("Outcome", "ok text")


# --- commands ----------------------------------------------------------------------------------------------


def run(argv, timeout):
    """Outcome of a command, killed with all it started when it hangs."""
    environment = dict(os.environ, PATH=_servers.search_path(), LC_ALL="C")
    # A file, not a pipe: a daemon that keeps the output open must not keep us waiting.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            return Outcome(False, "{0}: {1}".format(argv[0], os.strerror(error.errno or 0)))
        try:
            code = process.wait(timeout)
            problem = "" if code == 0 else "exit status {0}".format(code)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            problem = "no end after {0} seconds, killed".format(timeout)
        output.seek(0)
        text = output.read(65536).decode("utf-8", "replace").strip()
    said = text[-OUTPUT:] or (problem and "it printed nothing, so look at its log")
    return Outcome(not problem, "; ".join(part for part in (problem, said) if part))


def _kill_group(process):
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test(server):
    """Raise UpkiError config_test_failed unless the server accepts its configuration."""
    if not server["test"]:
        return
    outcome = run(server["test"], server["timeout"])
    if not outcome.ok:
        raise UpkiError(
            "config_test_failed",
            "The configuration test of {0} failed ({1}): {2}.".format(
                server["name"], " ".join(server["test"]), outcome.text.rstrip(".")
            ),
            "Mend the server's configuration and run again.",
        )


def reload_server(server):
    """Raise UpkiError reload_failed unless the reload command succeeds."""
    outcome = run(server["reload"], server["timeout"])
    if not outcome.ok:
        raise UpkiError(
            "reload_failed",
            "The reload of {0} failed ({1}): {2}.".format(
                server["name"], " ".join(server["reload"]), outcome.text.rstrip(".")
            ),
            "Look at the server's own log, mend it and run again.",
        )


# --- the port ----------------------------------------------------------------------------------------------


def see(item):
    """What the item's port serves now, or None when there is no port to look at."""
    if item.endpoint is None:
        return None
    return _probe.look(item.endpoint[0], item.endpoint[1], item.name, item.starttls)


def await_leaf(item, leaf, wait, pause=PAUSE):
    """The last Seen; its leaf is the wanted one when the port came to serve it within `wait` seconds."""
    end = time.monotonic() + wait
    in_row = 0
    while True:
        seen = see(item)
        in_row = in_row + 1 if seen.leaf == leaf else 0
        if in_row >= CONFIRMATIONS or (time.monotonic() >= end and not in_row):
            return seen
        if not in_row:
            time.sleep(pause)


def describe(seen):
    """What a port served, for messages."""
    if seen is None:
        return "nothing looked at"
    if seen.leaf is None:
        return {
            "refused": "nothing listens there (connection refused)",
            "timeout": "no answer in time",
        }.get(seen.problem, "no TLS answer ({0})".format(seen.detail))
    try:
        certificate = _x509.certificate_from_der(seen.leaf)
    except UpkiError:
        return "a certificate that cannot be read, SHA-256 {0}".format(hashlib.sha256(seen.leaf).hexdigest())
    return "the certificate '{0}' with serial {1}, valid until {2:%Y-%m-%d}".format(
        _x509.name_value(certificate.subject, "CN") or _x509.name_text(certificate.subject),
        certificate.serial_number,
        _x509.not_after(certificate),
    )


def _where(item):
    return "{0}:{1}".format(*item.endpoint)


def look(items, wait):
    """Raise UpkiError unless every item's port serves its leaf within the bound."""
    for item in items:
        if item.endpoint is None:
            continue
        seen = await_leaf(item, item.leaf, wait)
        if seen.leaf == item.leaf:
            continue
        if seen.problem == "refused":
            raise _closed(item)
        raise UpkiError(
            "served_other" if seen.leaf else "no_handshake",
            "After the reload {0} (SNI {1}) does not serve the new certificate; seen there: {2}.".format(
                _where(item), item.name, describe(seen)
            ),
            _advice(item, seen),
        )


def _advice(item, seen):
    if seen.leaf is None:
        return (
            "Look at the server's own log. Where the port lets nobody in without a client certificate, or speaks "
            "another protocol first, set 'starttls', or 'endpoint' to an empty text, and look with campus.upki.verify."
        )
    return (
        "Look whether the server's configuration reads {0}, and whether another virtual host answers instead.".format(
            os.path.join(item.slot.path, "live", "fullchain.pem")
        )
    )


def _closed(item):
    return UpkiError(
        "port_closed",
        "Nothing listens on {0}, where {1} should be served (connection refused).".format(_where(item), item.name),
        "Start the server, or correct 'endpoint'.",
    )


# --- the swap ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def undisturbed():
    """A hang-up of the connection does not end the process between flip and check. (SIGKILL does; see above.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A function, not SIG_IGN: the servers' commands must not inherit it.
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def before_flip(items, server):
    """What can be known before anything changes. Returns {name: Seen}."""
    seen = {item.name: see(item) for item in items}
    for item in items:
        if item.slot.live is not None and seen[item.name] is not None and seen[item.name].problem == "refused":
            raise _closed(item)
    # A first installation's virtual host may name files that are not there yet: test it after the flip only.
    if server is not None and all(item.slot.live is not None for item in items):
        try:
            test(server)
        except UpkiError as error:
            error.message += " This is so before the swap; nothing was changed."
            raise
    return seen


def swap(items, server, wait=WAIT, seen=None):
    """Make the items' generations live, together. items share one server (None: only the flip).

    seen: what before_flip found, where it was called already.
    """
    with undisturbed():
        if seen is None:
            seen = before_flip(items, server)
        flipped, undos = [], []
        try:
            for item in items:
                flipped.append((item, item.slot.live))
                item.slot.flip(item.generation)
            _place(items, undos)
            if server is not None:
                test(server)
                reload_server(server)
                look(items, wait)
        except UpkiError as error:
            if error.code == "port_closed" and any(previous is None for _item, previous in flipped):
                error.fix = FIRST_HOST
            raise _rolled_back(error, flipped, undos, seen, server, wait)
        for item in items:
            if item.slot.link("pending") == item.generation.id:
                item.slot.clear_pending()


def _place(items, undos):
    for item in items:
        for row in item.links:
            undo = _links.place(row, item.slot, item.generation)
            if undo is not None:
                undos.append((row["path"], undo))


def _unplace(undos):
    """Put the links back. Returns what failed, as sentences."""
    problems = []
    for path, undo in reversed(undos):
        try:
            undo()
        except UpkiError as error:
            problems.append("'{0}' could not be put back: {1}".format(path, error))
    return problems


def _rolled_back(error, flipped, undos, seen, server, wait):
    """Undo the flips; the error with what became of it."""
    notes = _unplace(undos)
    for item, previous in reversed(flipped):
        try:
            if item.slot.link("live") == item.generation.id:
                item.slot.unflip(previous)
        except UpkiError as second:
            notes.append("going back failed for {0}: {1}".format(item.name, second))
    if server is not None:
        notes.extend(_back_on_the_wire(flipped, seen, server, wait))
    restored = not notes
    error.details["rolled_back"] = restored
    if restored:
        error.message += " Everything was put back as it was before."
    else:
        error.message += " GOING BACK WAS NOT CLEAN, look at the server now: {0}.".format("; ".join(notes))
    return error


def _back_on_the_wire(flipped, seen, server, wait):
    """Reload the old state and confirm that it serves. Returns what went wrong, as sentences."""
    problems = []
    try:
        test(server)
        reload_server(server)
    except UpkiError as error:
        problems.append(error.message)
    wrong = []
    for item, _previous in flipped:
        old = seen[item.name]
        if old is None or old.leaf is None:
            continue
        now = await_leaf(item, old.leaf, wait)
        if now.leaf != old.leaf:
            wrong.append("{0} now serves: {1}".format(_where(item), describe(now)))
    # A first installation goes back to a configuration that names missing files, or a reload that fails has touched
    # nothing: what counts is what the ports serve.
    had_ports = any(seen[item.name] is not None and seen[item.name].leaf for item, _previous in flipped)
    first = any(previous is None for _item, previous in flipped)
    return wrong + (problems if not had_ports and not first else [])


def repair(items, server, wait=WAIT):
    """Live on disk, but another leaf on the wire (a lost reload) or in a link: place, test, reload, look. No flip."""
    with undisturbed():
        undos = []
        try:
            _place(items, undos)
            if server is not None:
                test(server)
                reload_server(server)
                look(items, wait)
        except UpkiError as error:
            problems = _unplace(undos)
            error.details["rolled_back"] = not problems
            error.message += "".join(" {0}.".format(problem) for problem in problems)
            raise


def served(item):
    """('right' | 'other' | 'closed' | 'unknown', Seen): what the item's port serves, compared with its leaf."""
    seen = see(item)
    if seen is None:
        return "unknown", seen
    if seen.leaf == item.leaf:
        return "right", seen
    if seen.leaf is None:
        return "closed", seen
    return "other", seen

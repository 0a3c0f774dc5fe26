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
from ansible_collections.campus.upki.plugins.module_utils._where import address

WAIT = 15  # seconds for the port to serve the new certificate after the reload
PAUSE = 0.2
FIRST_HOST = (
    "For a first certificate: write the virtual host that names live/fullchain.pem and live/key.pem of the store "
    "without reloading, and run again; or let the roles nginx and apache write it (upki_nginx_manage, "
    "upki_apache_manage). Else start the server, or correct 'endpoint' (upki_certificates)."
)
CONFIRMATIONS = 3  # answers in a row: an old worker may still take a connection after a new one did
OUTPUT = 2000  # characters of a command's output in a message

# One place where a port is looked at. starttls: '' for TLS from the first byte.
Place = collections.namedtuple("Place", "host port starttls")
# places: [Place], empty when there is nothing to look at. leaf: DER that must be served. links: of _links.py.
# chain: [DER] that must be sent after the leaf as well, where that can be seen; None when only the leaf counts.
Item = collections.namedtuple("Item", "name slot generation leaf places links chain")
Item.__new__.__defaults__ = (None,)
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


def see(name, place):
    """What one place serves now for a name (SNI)."""
    return _probe.look(place.host, place.port, name, place.starttls)


def see_all(item):
    """[Seen] of the item's places, in their order."""
    return [see(item.name, place) for place in item.places]


def await_leaf(name, place, leaf, end, pause=PAUSE, chain=None):
    """The last Seen; it is right when the place came to serve leaf (and chain) before the moment `end`."""
    in_row = 0
    while True:
        seen = see(name, place)
        in_row = in_row + 1 if seen.leaf == leaf and _sends(seen, name, place, chain) else 0
        if in_row >= CONFIRMATIONS or (time.monotonic() >= end and not in_row):
            return seen
        if not in_row:
            time.sleep(pause)


def _sends(seen, name, place, chain):
    """False when the chain that was sent lacks one of these. A server may add more, and a chain may not be visible."""
    if not chain:
        return True
    sent = _probe.sent_chain(seen, place.host, place.port, name, place.starttls)
    return sent is None or all(one in sent for one in chain)


def describe(seen):
    """What a port served, for messages."""
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


def where(place):
    """A place as it is written in `endpoint`."""
    return address(place.host, place.port)


def look(items, wait):
    """Raise UpkiError unless every place of every item serves its leaf within the bound; it names all that do not."""
    end = time.monotonic() + wait
    wrong = []
    for item in items:
        for place in item.places:
            seen = await_leaf(item.name, place, item.leaf, end, chain=item.chain)
            if seen.leaf != item.leaf:
                wrong.append(_not_served(item, place, seen))
            elif not _sends(seen, item.name, place, item.chain):
                wrong.append(_old_chain(item, place))
    if wrong:
        raise _together(wrong)


def _together(errors):
    """One UpkiError of several, with the code of the first."""
    fixes = collections.OrderedDict((error.fix, None) for error in errors)
    return UpkiError(errors[0].code, " ".join(error.message for error in errors), " ".join(fixes), **errors[0].details)


def _not_served(item, place, seen):
    if seen.problem == "refused":
        return _closed(item, place)
    return UpkiError(
        "served_other" if seen.leaf else "no_handshake",
        "After the reload {0} (SNI {1}) does not serve the new certificate; seen there: {2}.".format(
            where(place), item.name, describe(seen)
        ),
        _advice(item, seen),
    )


def _old_chain(item, place):
    return UpkiError(
        "served_other_chain",
        "After the reload {0} (SNI {1}) serves the certificate without its new chain.".format(where(place), item.name),
        "Look which file the server's configuration names for its chain; it should be {0}. To leave chains as they "
        "are, set 'mend_chain' (upki_mend_chain) to false.".format(
            os.path.join(item.slot.path, "live", "fullchain.pem")
        ),
    )


def _advice(item, seen):
    if seen.leaf is None:
        return (
            "Look at the server's own log. Where the port lets nobody in without a client certificate, or speaks "
            "another protocol first, set 'starttls', or 'endpoint' to an empty text (upki_certificates), and look with "
            "campus.upki.verify."
        )
    return (
        "Look whether the server's configuration reads {0}, and whether another virtual host answers instead.".format(
            os.path.join(item.slot.path, "live", "fullchain.pem")
        )
    )


def _closed(item, place):
    return UpkiError(
        "port_closed",
        "Nothing listens on {0}, where {1} should be served (connection refused).".format(where(place), item.name),
        "Start the server, or correct 'endpoint' (upki_certificates).",
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
    """What can be known before anything changes. Returns {name: [Seen]}, in the order of the places."""
    seen = {item.name: see_all(item) for item in items}
    closed = [
        _closed(item, place)
        for item in items
        if item.slot.live is not None
        for place, one in zip(item.places, seen[item.name])
        if one.problem == "refused"
    ]
    if closed:
        raise _together(closed)
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
    wrong, end = [], time.monotonic() + wait
    before = [(item, place, old) for item, _previous in flipped for place, old in zip(item.places, seen[item.name])]
    for item, place, old in before:
        if old.leaf is None:
            continue
        now = await_leaf(item.name, place, old.leaf, end)
        if now.leaf != old.leaf:
            wrong.append("{0} now serves: {1}".format(where(place), describe(now)))
    # A first installation goes back to a configuration that names missing files, or a reload that fails has touched
    # nothing: what counts is what the ports serve.
    had_ports = any(old.leaf for _item, _place, old in before)
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
    """[(place, 'right' | 'other' | 'closed', Seen)]: what the item's places serve, compared with its leaf."""
    return [(place, _verdict(item, seen), seen) for place, seen in zip(item.places, see_all(item))]


def _verdict(item, seen):
    if seen.leaf == item.leaf:
        return "right"
    return "closed" if seen.leaf is None else "other"

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Old generations go, so that keys of years do not pile up: never the live one, the pending one, or the one before.

A request that was given up stays as long as its generation is among the newest: the CA may still issue for it.
What stays of a pruned generation is the hash of its public key, in the file `pruned` beside `live`: its certificate may
lie in the inbox for years, and a new key must differ from it too.
"""

import os
import re
import shutil

from ansible_collections.campus.upki.plugins.module_utils import _atomic
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

MINIMUM = 2  # the live one and the one to go back to
RECORD = "pruned"  # lines of SHA-256 (SubjectPublicKeyInfo, hexadecimal), space, id of the generation


def keys(slot):
    """{SHA-256 of the public key: id} of the generations that are gone."""
    try:
        with open(os.path.join(slot.path, RECORD), encoding="ascii", errors="replace") as stream:
            rows = [line.split() for line in stream]
    except OSError:
        return {}
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _remember(slot, generations):
    """Add the generations' keys to the record. Before they go, so that a killed run forgets none."""
    known = keys(slot)
    for generation in generations:
        try:
            known.setdefault(generation.spki_sha256(), generation.id)
        except UpkiError:  # damaged: nobody can tell its key any more
            continue
    lines = ["{0} {1}\n".format(key, identity) for key, identity in known.items() if key]
    _atomic.write_file(os.path.join(slot.path, RECORD), "".join(lines).encode("ascii"), 0o644)


def superfluous(slot, keep, previous=None):
    """The generations that may go, oldest first. keep: how many stay, the live and the pending one included."""
    generations = slot.generations()
    held = {slot.link("live"), slot.link("pending"), previous.id if previous is not None else None}
    newest = {generation.id for generation in generations[-max(keep, MINIMUM) :]}
    return [generation for generation in generations if generation.id not in held | newest]


# What `prune` itself was removing when it was killed; a half-made generation has a random part in its name.
DOOMED = re.compile(r"^\.\d{8}T\d{6}Z-[0-9a-f]{8}" + re.escape(_atomic.TEMPORARY) + "$")


def _doomed(slot):
    try:
        entries = os.listdir(slot.generations_path)
    except OSError:
        return []
    return [os.path.join(slot.generations_path, entry) for entry in entries if DOOMED.match(entry)]


def prune(slot, keep, previous=None):
    """Remove what is superfluous. Returns the ids. A generation disappears by one rename, then its files go."""
    gone = []
    for path in _doomed(slot):
        with _atomic.explained(path, "remove the rest of an old generation"):
            shutil.rmtree(path)
    going = superfluous(slot, keep, previous)
    if going:
        _remember(slot, going)
    for generation in going:
        folder = os.path.dirname(generation.path)
        doomed = os.path.join(folder, ".{0}{1}".format(generation.id, _atomic.TEMPORARY))
        with _atomic.explained(generation.path, "remove the old generation"):
            os.rename(generation.path, doomed)
            _atomic.fsync_dir(folder)
            shutil.rmtree(doomed)
        gone.append(generation.id)
    return gone

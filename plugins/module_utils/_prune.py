# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Old generations go, so that keys of years do not pile up: never the live one, the pending one, or the one before.

A request that was given up stays as long as its generation is among the newest: the CA may still issue for it.
"""

import os
import re
import shutil

from ansible_collections.campus.upki.plugins.module_utils import _atomic

MINIMUM = 2  # the live one and the one to go back to


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
    for generation in superfluous(slot, keep, previous):
        folder = os.path.dirname(generation.path)
        doomed = os.path.join(folder, ".{0}{1}".format(generation.id, _atomic.TEMPORARY))
        with _atomic.explained(generation.path, "remove the old generation"):
            os.rename(generation.path, doomed)
            _atomic.fsync_dir(folder)
            shutil.rmtree(doomed)
        gone.append(generation.id)
    return gone

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is broken in a slot of the store and exactly what a person must do. Nothing here changes anything."""

import os
import pwd
import re
import stat

from ansible_collections.campus.upki.plugins.module_utils import _lifecycle, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

# Files without which a linked generation is of no use. Source: the store's layout, see _store.py.
NEEDED = {
    "live": ("key.pem", "certificate.pem", "fullchain.pem"),
    "pending": ("key.pem", "request.pem", "request.json"),
}
TARGET = re.compile(r"^generations/\d{8}T\d{6}Z-[0-9a-f]{8}$")


def _problem(code, message, fix):
    return {"code": code, "message": message, "fix": fix}


def problems(slot):
    """[{code, message, fix}] of one name; [] when the store can be used."""
    found = []
    for which in ("live", "pending"):
        found.extend(_link_problems(slot, which))
    return found


def store_warnings(path):
    """Who, besides the user that runs this, could replace a key in the store; [] for a store that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    found = []
    if status.st_uid not in (0, os.geteuid()):
        found.append(
            _lifecycle.warning(
                "store_owner",
                "The store '{0}' belongs to the user {1}, who can replace its keys; give it to root (chown).".format(
                    path, _user(status.st_uid)
                ),
            )
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        found.append(
            _lifecycle.warning(
                "store_writable",
                "The store '{0}' has the mode {1:04o}, so others can replace the keys in it; chmod go-w it.".format(
                    path, stat.S_IMODE(status.st_mode)
                ),
            )
        )
    return found


def _user(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid


def _link_problems(slot, which):
    path = os.path.join(slot.path, which)
    if not os.path.lexists(path):
        return []
    if not os.path.islink(path):
        return [
            _problem(
                "link_replaced",
                "'{0}' must be a symlink into 'generations', but is something else.".format(path),
                "Move it away by hand; keep any key in it.",
            )
        ]
    target = os.readlink(path)
    if not TARGET.match(target):
        return [
            _problem(
                "link_foreign",
                "The link '{0}' leads to '{1}', which is no generation of the store.".format(path, target),
                "Set it to a generation: ln -sfn generations/ID '{0}', or remove the link.".format(path),
            )
        ]
    identity = os.path.basename(target)
    generation = slot.generation(identity)
    if generation is None:
        return [_dangling(slot, which, path, identity)]
    missing = [name for name in NEEDED[which] if not generation.has(name)]
    if missing:
        return [_incomplete(slot, which, path, generation, missing)]
    return _content_problems(which, generation)


def _usable(slot, but):
    """Ids that `live` could name instead, newest first."""
    return [
        generation.id
        for generation in reversed(slot.generations())
        if generation.id != but and generation.has(*NEEDED["live"])
    ]


def _way_out(slot, which, path, but):
    others = _usable(slot, but) if which == "live" else []
    if others:
        return "or point it at the newest complete one: ln -sfn generations/{0} '{1}'".format(others[0], path)
    if which == "live":
        return "or, when the certificate is lost, remove the link and request anew: rm '{0}'".format(path)
    return (
        "or, when the key is lost, tell the IT centre that the request is void, remove the link, and run again to make "
        "a new one: rm '{0}'".format(path)
    )


def _dangling(slot, which, path, identity):
    return _problem(
        "link_dangling",
        "The link '{0}' names the generation {1}, which does not exist.".format(path, identity),
        "Restore '{0}' from the backup, {1}.".format(
            os.path.join(slot.generations_path, identity), _way_out(slot, which, path, identity)
        ),
    )


def _incomplete(slot, which, path, generation, missing):
    return _problem(
        "generation_incomplete",
        "The {0} generation '{1}' lacks {2}.".format(which, generation.path, ", ".join(missing)),
        "Restore the file from the backup, {0}.".format(_way_out(slot, which, path, generation.id)),
    )


def _content_problems(which, generation):
    fix = "Restore the generation from the backup; compare with the other generations beside it."
    name = "request.pem"
    try:
        request = generation.request()
        requested = _x509.spki_sha256(_x509.request_from_pem(request).public_key()) if request else None
        name = "certificate.pem"
        certificate = generation.certificate() if which == "live" else None
        if which == "live" and certificate is None:
            raise UpkiError("certificate_broken", "it holds no certificate.")
    except UpkiError as error:
        return [
            _problem(
                "generation_broken",
                "The file '{0}' of the {1} generation cannot be used: {2}".format(
                    generation.file(name), which, error.message
                ),
                error.fix if error.code == "store_io" else fix,  # that of a file from the CA would not fit
            )
        ]
    if which == "pending" and not generation.meta.get("record"):
        return [
            _problem(
                "generation_broken",
                "'{0}' is not the record of a request.".format(generation.file("request.json")),
                fix,
            )
        ]
    if certificate is not None and requested and requested != _x509.spki_sha256(certificate.public_key()):
        return [
            _problem(
                "generation_mixed",
                "In the live generation '{0}' the certificate and the request belong to different keys.".format(
                    generation.path
                ),
                fix,
            )
        ]
    return []

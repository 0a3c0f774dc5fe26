# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key, certificate and chain that were put in place by hand become the first generation, to which one can go back.

The files stay where they are. What is taken over is what serves today, so its names and dates are not judged; that key
and certificate belong together is.
"""

import collections
import datetime
import json
import os

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _preflight, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import ID_TIME, Generation

# key: bytes, secret. certificate: x509. chain: [x509].
Material = collections.namedtuple("Material", "key certificate chain paths")


def read(paths):
    """The Material of the files at paths (a dict key, certificate, chain); UpkiError when they do not serve."""
    data = {what: _bytes(what, path) for what, path in paths.items() if path}
    found = _certificates("certificate", paths, data)
    if not found:
        raise UpkiError(
            "adopt_unusable",
            "The file '{0}' to adopt has no certificate in PEM.".format(paths["certificate"]),
            "Name the certificate that the server reads today in adopt.certificate (upki_certificates).",
        )
    _preflight.load_files(paths["certificate"], paths["key"])
    chain = found[1:]
    if "chain" in data:
        chain += _certificates("chain", paths, data)
    return Material(data["key"], found[0], _in_order(found[0], chain), paths)


def _certificates(what, paths, data):
    try:
        return _x509.certificates_from_pem(data[what].decode("utf-8", "replace"))
    except UpkiError as error:
        raise UpkiError(
            "adopt_unusable",
            "The file '{0}' to adopt cannot be used: {1}".format(paths[what], error.message),
            "Name a whole file in adopt.{0} (upki_certificates).".format(what),
        )


def _bytes(what, path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise UpkiError(
            "adopt_missing",
            "The {0} to adopt, '{1}', cannot be read: {2}.".format(what, path, os.strerror(error.errno or 0)),
            "Correct adopt.{0} (upki_certificates), or take 'adopt' away when there is nothing to go back to.".format(
                what
            ),
        )


def _in_order(leaf, given):
    """The chain as far as it can be followed, without roots and strangers."""
    chain, lower, rest = [], leaf, list(given)
    while True:
        upper = [one for one in rest if lower.issuer == one.subject and _x509.signed_by(lower, one.public_key())]
        if not upper or _x509.is_self_signed(upper[0]):
            return chain
        lower = upper[0]
        rest.remove(lower)
        chain.append(lower)


def take(slot, material):
    """Make the material a generation before all others, and live. Returns the Generation."""
    spki = _x509.spki_sha256(material.certificate.public_key())
    moment = _moment(slot, material.certificate)
    generation = Generation(os.path.join(slot.generations_path, "{0}-{1}".format(moment.strftime(ID_TIME), spki[:8])))
    meta = {
        "name": slot.name,
        "created": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason_code": "adopted",
        "reason": "Taken over from {0}.".format(material.paths["certificate"]),
        "key_type": _x509.key_type(material.certificate.public_key()),
        "dns_names": _x509.dns_names(material.certificate),
        "spki_sha256": spki,
    }
    leaf = _x509.pem(material.certificate)
    chain = "".join(_x509.pem(one) for one in material.chain)
    _atomic.make_dir(slot.generations_path)
    temporary = os.path.join(
        slot.generations_path, ".{0}.{1}{2}".format(generation.id, os.urandom(4).hex(), _atomic.TEMPORARY)
    )
    with _atomic.explained(generation.path, "adopt into"):
        os.mkdir(temporary, 0o700)
        _atomic.create_file(os.path.join(temporary, "key.pem"), material.key, 0o600)
        for name, text in (
            ("request.json", json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=False) + "\n"),
            ("certificate.pem", leaf),
            ("chain.pem", chain),
            ("fullchain.pem", leaf + chain),
        ):
            _atomic.create_file(os.path.join(temporary, name), text.encode("utf-8"), 0o644)
        os.chmod(temporary, 0o755)
        _atomic.fsync_dir(temporary)
        os.rename(temporary, generation.path)
        _atomic.fsync_dir(slot.generations_path)
    slot.flip(generation)
    return generation


def _moment(slot, certificate):
    """The begin of validity, or a second before the oldest generation, so that the adopted one is the first."""
    begin = _x509.not_before(certificate).replace(tzinfo=None)
    times = [datetime.datetime.strptime(one.id[:16], ID_TIME) for one in slot.generations()]
    return min([begin] + [time - datetime.timedelta(seconds=1) for time in times])

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What campus.upki.install was asked for, and what the controller sent along: checked, and with defaults."""

import collections

from ansible_collections.campus.upki.plugins.module_utils import _links, _preflight, _probe, _servers, _swap, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

DEFAULT_ENDPOINT = "127.0.0.1:443"
KEEP = 3  # generations of each certificate
LOCK_TIMEOUT = 60

# What the action plugin found on the controller. certificate: x509. chain: [x509]. error: dict or None.
Candidate = collections.namedtuple("Candidate", "certificate chain file error notices")


def item(entry, table, store):
    """One entry of the option `certificates`, checked."""
    server = entry.get("server") or ""
    if server and server not in table:
        _servers.choose(server, table)  # raises
    name = _preflight.plain(entry["name"])
    return {
        "name": name,
        "wanted": [name] + list(entry.get("dns_names") or []),
        "server": server,
        "places": _places(entry) if server else [],
        "links": _links.checked(entry.get("links") or [], name, store),
        "state": entry.get("state") or "latest",
        "adopt": entry.get("adopt"),
    }


def _places(entry):
    """[Place] of the option `endpoint`, which may be a text, a list, or nothing."""
    given = entry.get("endpoint")
    texts = [DEFAULT_ENDPOINT] if given is None else [given] if isinstance(given, str) else given
    places = []
    for text in texts:
        if not text:
            continue
        try:
            place = _swap.Place(*_probe.parse_place(text, entry.get("starttls")))
        except UpkiError as error:
            raise UpkiError(
                error.code,
                "{0}: {1}".format(entry["name"], error.message),
                "{0} It stands in 'endpoint' (upki_certificates).".format(error.fix),
            )
        places.extend([] if place in places else [place])
    return places


def number(params, option, default, what):
    """A whole number that is not negative; 0 means 0."""
    value = default if params.get(option) is None else params[option]
    if not 0 <= value < float("inf"):
        raise UpkiError(
            "number_invalid",
            "The option '{0}' ({1}) is {2}; it must be 0 or more.".format(option, what, value),
            "Correct '{0}' of campus.upki.install.".format(option),
        )
    return value


def seconds(params, option, default):
    """number() for a time."""
    return number(params, option, default, "seconds")


def certificates(texts):
    """All certificates of some PEM texts."""
    return [one for text in texts or [] for one in _x509.certificates_from_pem(text)]


def refuse_twice(items):
    """Two entries for one name."""
    names = [one["name"] for one in items]
    for name in names:
        if names.count(name) > 1:
            raise UpkiError(
                "name_twice",
                "The certificate '{0}' is listed twice.".format(name),
                "Remove one entry of 'certificates' (upki_certificates).",
            )


def candidate(entry):
    """One of the certificates that the action plugin found."""
    return Candidate(
        _x509.certificates_from_pem(entry["certificate"])[0],
        certificates(entry.get("chain")),
        entry.get("file") or "",
        entry.get("error") or None,
        entry.get("notices") or [],
    )

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of TLS a server accepts: one handshake for each."""

import ssl
import warnings

from ansible_collections.campus.upki.plugins.module_utils import _tls
from ansible_collections.campus.upki.plugins.module_utils._findings import finding
from ansible_collections.campus.upki.plugins.module_utils._judge import OLD_VERSIONS
from ansible_collections.campus.upki.plugins.module_utils._where import where

# As Python names them; SSL 3.0 is built into no OpenSSL that is in use.
VERSIONS = (("TLSv1", "TLSv1"), ("TLSv1.1", "TLSv1_1"), ("TLSv1.2", "TLSv1_2"), ("TLSv1.3", "TLSv1_3"))
# What ends a handshake without saying anything about versions.
NO_ANSWER = ("timeout", "connection_refused", "host_unreachable", "name_not_resolved", "starttls_refused")


class Contexts(object):
    """For each version a context that offers nothing else; shared by all endpoints of a run."""

    def __init__(self):
        self.rows = [(name, _only(attribute)) for name, attribute in VERSIONS]


def _only(attribute):
    """A context for one version, or None where this Python or its OpenSSL cannot offer it."""
    version = getattr(getattr(ssl, "TLSVersion", None), attribute, None)
    if version is None or not getattr(ssl, "HAS_" + attribute, True):
        return None
    context = _tls.new_context()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.maximum_version = version
            context.minimum_version = version
    except (ValueError, ssl.SSLError):
        return None
    return context


def accepted(endpoint, contexts, timeout):
    """{'TLSv1': True, False or None}: accepted, refused, or not learned."""
    return {name: context and _tries(endpoint, context, timeout) for name, context in contexts.rows}


def _tries(endpoint, context, timeout):
    seen = dict(endpoint, address=None, error=None, version=None)
    _tls.attempt(seen, context, timeout)
    if seen["version"]:
        return True
    return None if seen["error"]["code"] in NO_ANSWER else False


def check(seen, versions):
    """The finding about old versions that are accepted beside newer ones."""
    old = [name for name, holds in versions.items() if holds and name in OLD_VERSIONS]
    if not old or seen["version"] in OLD_VERSIONS:  # which is an error of its own
        return []
    return [finding("old_protocol_accepted", where=where(seen), versions=", ".join(sorted(old)))]

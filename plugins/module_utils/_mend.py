# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another chain for the certificate that is live: the same leaf and key, so the swap is one of files, not of `live`.

Each server reads the chain from one file, and each file is replaced by one rename, so at any moment it finds the old
chain or the new one behind a certificate and key that have not changed. The chain before lies in the generation until
the server has been seen with the new one: where a run was killed in between, the next one finds it and starts again.
"""

import os

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _x509

BEFORE = "chain-before.pem"
PUBLIC = 0o644


def unconfirmed(generation):
    """True when a run wrote a new chain and did not come to see it served."""
    return generation.has(BEFORE)


class ChainSlot(object):
    """The slot of a live generation whose `flip` gives it another chain and whose `unflip` gives it the old one back.

    For the rest it is the slot. So _swap treats a chain as it treats a generation.
    """

    def __init__(self, slot, certificate, chain):
        self._slot = slot
        self._certificate, self._chain = _x509.pem(certificate), "".join(_x509.pem(one) for one in chain)

    def __getattr__(self, name):
        return getattr(self._slot, name)

    def flip(self, generation):
        """Write the new chain. What was there before stays beside it until confirm()."""
        self.sweep()
        if not unconfirmed(generation):
            with _atomic.explained(generation.file("chain.pem"), "read"):
                before = _read(generation.file("chain.pem"))
            _atomic.write_file(generation.file(BEFORE), before, PUBLIC)
        self.complete(generation, self._certificate, self._chain)
        return generation

    def unflip(self, generation):
        """Write the chain of before."""
        if not unconfirmed(generation):
            return
        with _atomic.explained(generation.file(BEFORE), "read"):
            before = _read(generation.file(BEFORE))
        self.complete(generation, self._certificate, before.decode("ascii", "replace"))
        self.confirm(generation)

    @staticmethod
    def confirm(generation):
        """The chain is served: nothing is left to go back to."""
        path = generation.file(BEFORE)
        with _atomic.explained(path, "remove"):
            if os.path.lexists(path):
                os.unlink(path)
                _atomic.fsync_dir(generation.path)


def _read(path):
    """The bytes of a file; none where it is missing, as below a certificate that was issued by a root."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""

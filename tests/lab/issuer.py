# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA that issues whatever a test wants, also what no CA should. (The practice CA issues as the real one does.)"""

from __future__ import annotations

import datetime
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.lab import Host
from ansible_collections.campus.upki.tests.unit import pki
from cryptography import x509
from cryptography.x509.oid import NameOID

SERIAL, FQDN = 3, 10  # columns of an application
FIELDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}


def applications(files: Iterable[pathlib.Path]) -> dict[str, list[str]]:
    """{kind: the FQDNs applied for}, as the CA reads them; each file holds one kind, and each kind is in one file."""
    found: dict[str, list[str]] = {}
    for file in files:
        (kind,) = re.findall(r"server_(?:issue|renew)", file.name)
        assert kind not in found, f"two files of the kind {kind}, the second is {file.name}"
        rows = [row.split("\t") for row in file.read_bytes().decode("shift_jis").strip().splitlines()]
        assert {bool(row[SERIAL]) for row in rows} == {kind == "server_renew"}, rows  # of the certificate to revoke
        found[kind] = sorted(row[FQDN] for row in rows)
    return found


def ago(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(days=days)


class Issuer:
    """Root, intermediate, and the controller told to trust them."""

    def __init__(self, controller: Controller, name: str = "Lab", known: bool = True) -> None:
        self.controller = controller
        self.root = pki.CA(f"{name} Root", start=ago(3000), end=ago(-3000))
        # The beginning by which certificates of the service are known.
        self.inter = pki.CA(f"NII Open Domain CA - {name}", self.root, start=ago(2900), end=ago(-2900))
        if known:
            folder = controller.path / "upki" / "lab-ca"
            for part, certificate in (("roots", self.root.certificate), ("intermediates", self.inter.certificate)):
                (folder / part).mkdir(parents=True)
                (folder / part / "ca.pem").write_text(pki.pem(certificate))
            controller.trust = folder / "roots" / "ca.pem"
            controller.set(
                upki_intermediates=[str(folder / "intermediates")],
                upki_roots=[str(folder / "roots")],
                upki_verify_ca_file=str(controller.trust),
            )

    def requested(self, host: Host, name: str = "") -> Any:
        """The pending CSR of a host, read from its disk."""
        slot = self.controller.lab.root(host.name) / "etc" / "upki" / (name or host.fqdn)
        generation = slot / os.readlink(slot / "pending")
        return _x509.request_from_pem((generation / "request.pem").read_text())

    def issue(
        self, host: Host, name: str = "", key: Any = None, start: float = 1, end: float = -197, **shape: Any
    ) -> tuple[int, pathlib.Path]:
        """A certificate for the pending request, or for another key, in the inbox: (serial, file). Days are ago."""
        name = name or host.fqdn
        public_key = key.public_key() if key else self.requested(host, shape.pop("request", name)).public_key()
        names = shape.pop("names", [name, f"docs.{name}"])
        leaf = self.inter.issue(name, public_key, names=names, start=ago(start), end=ago(end), **shape)
        self.controller.inbox.mkdir(parents=True, exist_ok=True)
        file = self.controller.inbox / f"{leaf.serial_number:x}.cer"
        file.write_text(pki.pem(leaf))
        return leaf.serial_number, file

    def issue_all(self, **shape: Any) -> dict[str, int]:
        return {host.name: self.issue(host, **shape)[0] for host in self.controller.hosts}

    def first_issue(self) -> dict[str, int]:
        """From nothing to certificates that are served: {host: serial}."""
        self.controller.request().good()
        serials = self.issue_all(start=100, end=-98)
        self.controller.deploy().good()
        return serials

    def by_hand(self, key: Any, **fields: str) -> Any:
        """A certificate with any subject, as somebody got it years ago."""
        shape = {"start": ago(190), "end": ago(-8)}
        subject = x509.Name([x509.NameAttribute(FIELDS[field], value) for field, value in fields.items()])
        return pki._build(
            subject, key.public_key(), self.inter, ca=False, names=[fields["CN"]], usages=(pki.SERVER,), **shape
        )

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, parameters and stores for the tests of request and info. Keys are made at run time."""

import datetime
import os

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._request import Request
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes

UTC = datetime.timezone.utc
NOW = 1795305600  # 2026-11-22T00:00:00Z
DAY = 86400
NAME = "www.example.ac.jp"
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
MANAGER = {"name": "電通花子", "affiliation": "情報基盤センター", "email": "hanako@example.ac.jp"}
ISSUER = "NII Open Domain CA - G8 RSA"
_ISSUER_KEY = []


def fields_of(name=NAME, **more):
    """Subject of a certificate as [(short name, value)]; a value of None leaves the field out."""
    values = {"C": "JP", "ST": "Tokyo", "L": "Chofu", "O": "Example University", "OU": None, "CN": name}
    values.update(more)
    return [(key, values[key]) for key in ("C", "ST", "L", "O", "OU", "CN") if values[key] is not None]


def _name(fields):
    oids = {short: x509.ObjectIdentifier(dotted) for dotted, short in _x509.SHORT_NAMES.items()}
    return x509.Name([x509.NameAttribute(oids[short], value) for short, value in fields])


def certificate(public_key, fields=None, age=10, days=198, issuer=ISSUER, names=(NAME,), serial=None, now=NOW):
    """A certificate issued `age` days before now and valid for `days` days."""
    if not _ISSUER_KEY:
        _ISSUER_KEY.append(_x509.generate_key("p384"))
    start = datetime.datetime.fromtimestamp(now - age * DAY, UTC).replace(tzinfo=None)
    builder = x509.CertificateBuilder().subject_name(_name(fields or fields_of()))
    builder = builder.issuer_name(_name([("C", "JP"), ("O", "SECOM Trust Systems Co., Ltd."), ("CN", issuer)]))
    builder = builder.public_key(public_key).serial_number(serial or x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=days))
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(_ISSUER_KEY[0], hashes.SHA384(), default_backend())


def wanted(name=NAME, **more):
    return dict({"name": name, "software": "nginx", "key_type": "p384"}, **more)


def params(store, *certificates, **more):
    values = {"certificates": list(certificates) or [wanted()], "subject": SUBJECT, "manager": MANAGER}
    values.update({"store": str(store), "renew_before": "1/3", "lead_time": 14, "lock_timeout": 5}, **more)
    return values


def run(store, *certificates, **more):
    """One run of the backend; now, check_mode and adopt are taken out of the parameters."""
    now, check_mode, adopt = more.pop("now", NOW), more.pop("check_mode", False), more.pop("adopt", None)
    return Request(params(store, *certificates, **more), now, check_mode, adopt).run()


def row(store, *certificates, **more):
    """The result of the first certificate."""
    return run(store, *certificates, **more)["certificates"][0]


def make_live(store, name=NAME, **more):
    """Install a certificate for the pending request, as campus.upki.install does. Returns the Generation."""
    slot = Store(str(store)).certificate(name)
    generation = slot.pending
    public_key = _x509.request_from_pem(generation.request()).public_key()
    issued = certificate(public_key, **dict({"names": (name,), "fields": fields_of(name)}, **more))
    with slot.store.lock(5):
        slot.complete(generation, _x509.pem(issued), "")
        slot.flip(generation)
        slot.clear_pending()
    return generation


def live_store(store, name=NAME, **more):
    """A store with one live certificate; its request was made when the certificate began."""
    run(store, wanted(name), now=NOW - more.get("age", 10) * DAY)
    return make_live(store, name, **more)


def keys(store):
    """{path of every private key below the store: its bytes}."""
    found = {}
    for folder, _folders, files in os.walk(str(store)):
        for name in files:
            if name == "key.pem":
                path = os.path.join(folder, name)
                with open(path, "rb") as stream:
                    found[path] = stream.read()
    return found


def snapshot(store):
    """{path: (kind and mode, content or target)} of everything but the lock."""
    found = {}
    for folder, folders, files in os.walk(str(store)):
        for name in folders + files:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found[path] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[path] = (os.stat(path).st_mode, None)
            elif name != ".lock":
                with open(path, "rb") as stream:
                    found[path] = (os.stat(path).st_mode, stream.read())
    return found


def codes(result_row):
    return [found["code"] for found in result_row["warnings"]]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The practice CA's counter: files come in, each is accepted whole or refused whole, certificates go out.

The order of writing lets a killed run be finished by the next one: register (with the certificates and the file's
hash), then the inbox, then the mark `delivered` in the register.
"""

import contextlib
import datetime
import fcntl
import hashlib
import os
import time

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _practice_ca, _practice_mail, _x509
from ansible_collections.campus.upki.plugins.module_utils import _practice_register as _register
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as _rules
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

ENDINGS = (".tsv", ".txt")
ISO = "%Y-%m-%dT%H:%M:%SZ"
ISSUES = ("server_issue", "server_renew")


@contextlib.contextmanager
def locked(path, timeout=60):
    """One run at a time; several forks may come here when `run_once` was forgotten."""
    with _atomic.explained(path, "lock"), open(path, "a") as stream:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise UpkiError("practice_locked", "Another run holds '{0}'.".format(path), "Wait for it to end.")
                time.sleep(0.1)
        yield


# --- which files ------------------------------------------------------------------------------------------


def _in_folder(folder):
    """The TSV files of a folder, not of its sub-folders; a text file without a tab is a note, not an application."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith(".") or not name.endswith(ENDINGS) or not os.path.isfile(path):
            continue
        data = _data(path)
        if name.endswith(".tsv") or b"\t" in data:
            yield path, data, []


def _data(path):
    with _atomic.explained(path, "read"), open(path, "rb") as stream:
        return stream.read()


def uploads(outbox):
    """[(path, bytes, faults)] of everything that the list of files and folders names, each path once."""
    found = {}
    for path in map(os.path.abspath, outbox):
        if os.path.isdir(path):
            rows = list(_in_folder(path))
        elif not os.path.exists(path):
            rows = [(path, b"", [_file_fault(208, path, "there is no such file or folder")])]
        elif not path.endswith(ENDINGS):
            rows = [(path, b"", [_file_fault(209, path, "the name must end in .tsv or .txt")])]
        else:
            rows = [(path, _data(path), [])]
        for row in rows:
            found.setdefault(row[0], row)
    return list(found.values())


def _file_fault(code, path, message):
    return _rules.fault(code, None, "ファイル (file)", os.path.basename(path), message)


# --- one record -------------------------------------------------------------------------------------------


def _entry(record, now):
    """What the register keeps of an accepted record, before anything is signed."""
    subject = record["subject"]
    return {
        "name": subject.get("CN", ""),
        "kind": record["kind"],
        "subject": subject,
        "status": "valid",
        "received": now.strftime(ISO),
        "manager": {"name": record["person"], "affiliation": record["section"], "email": record["mail"]},
        "software": record["software"],
        "dns_names": record["names"],
    }


def _issue(record, register, issuer, now):
    """Sign one certificate; without an issuer (check mode) everything but the certificate is known."""
    public_key = record["request"].public_key()
    entry = _entry(record, now)
    entry.update(serial="0", serial_hex="", not_after="", certificate="", delivered=False)
    entry.update(
        spki_sha256=_x509.spki_sha256(public_key),
        key_type=_x509.key_type(public_key),
        replaces=None if record["serial"] is None else str(record["serial"]),
    )
    if issuer is not None:
        subject = [(field, record["subject"][field]) for field in ("C", "ST", "L", "O", "CN")]
        certificate = issuer.issue(subject, record["names"], public_key)
        entry.update(
            serial=str(certificate.serial_number),
            serial_hex="{0:032X}".format(certificate.serial_number),
            not_before=_x509.not_before(certificate).strftime(ISO),
            not_after=_x509.not_after(certificate).strftime(ISO),
            generation=issuer.generation,
            certificate=_x509.pem(certificate),
        )
    register.certificates.append(entry)
    return entry


def _revoke(record, register, issuer, now):
    entry = register.by_serial(record["serial"])
    entry["status"] = "revoked"
    entry["revoked"] = {"at": now.strftime(ISO), "reason": record["reason"], "comment": record["comment"]}
    return entry


def _acme_create(record, register, issuer, now):
    """The account's identifier; a key for it is not made, since no ACME server stands behind this CA."""
    entry = _entry(record, now)
    text = "{0} {1}".format(entry["name"], len(register.accounts))
    entry["account"] = "practice-" + hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
    entry["status"] = "active"
    register.accounts.append(entry)
    return entry


def _acme_renew(record, register, issuer, now):
    entry = register.account(record["account"])
    entry.update(dns_names=record["names"], software=record["software"], received=now.strftime(ISO))
    return entry


def _acme_suspend(record, register, issuer, now):
    entry = register.account(record["account"])
    entry["status"] = "suspended"
    return entry


def _acme_revoke(record, register, issuer, now):
    """ACME certificates are not issued here, so there is nothing to mark; the form was checked."""
    return _entry(record, now)


ACTS = {
    "server_issue": _issue,
    "server_renew": _issue,
    "server_revoke": _revoke,
    "acme_create": _acme_create,
    "acme_renew": _acme_renew,
    "acme_suspend": _acme_suspend,
    "acme_revoke": _acme_revoke,
}


# --- one file ---------------------------------------------------------------------------------------------


def _refusal(path, kind, faults):
    return {
        "file": path,
        "kind": kind,
        "faults": faults,
        "answer": "\n".join(_rules.answer(row) for row in faults),
    }


def _accept(upload, register, issuer, options, now):
    """(rows, refusal): the whole file into the register, or a refusal and the register as it was."""
    path, data, faults = upload
    kind = options["kind"]
    records = []
    if not faults:
        kind, records, faults = _rules.read(data, os.path.basename(path), kind)
        faults = faults + _register.check(records, register, options["institution"])
    if faults:
        faults.sort(key=lambda row: row["record"] or 0)
        return [], _refusal(path, kind, faults)
    rows = [(kind, record, ACTS[kind](record, register, issuer, now)) for record in records]
    register.files[_digest(data)] = {"name": os.path.basename(path), "kind": kind, "received": now.strftime(ISO)}
    return rows, None


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _deliver(register, options, now):
    """Put what is not delivered yet into the inbox, with its mail; returns the number of certificates."""
    waiting = [entry for entry in register.certificates if not entry.get("delivered", True)]
    for entry in waiting:
        certificate = os.path.join(options["inbox"], entry["serial_hex"] + ".cer")
        mail = os.path.join(options["mailbox"], _practice_mail.file_name(entry))
        for path, data in (
            (mail, _practice_mail.compose(entry, options["repository"], now)),
            (certificate, entry["certificate"].encode("ascii")),
        ):
            _atomic.make_dir(os.path.dirname(path))
            _atomic.write_file(path, data, 0o644)
        entry["delivered"] = True
    if waiting:
        register.save()
    return len(waiting)


def _result_row(kind, entry, options):
    row = {"name": entry["name"], "kind": kind, "serial": None, "file": None, "not_after": None, "mail": None}
    if kind in ISSUES and entry["certificate"]:
        row.update(
            serial=entry["serial"],
            not_after=entry["not_after"],
            file=os.path.join(options["inbox"], entry["serial_hex"] + ".cer"),
            mail=os.path.join(options["mailbox"], _practice_mail.file_name(entry)),
        )
    elif kind == "server_revoke":
        row.update(serial=entry["serial"], not_after=entry["not_after"])
    if "account" in entry:
        row["account"] = entry["account"]
    return row


def _process(register, issuer, options, now, keep):
    """Go through the files; `keep` stores the register after each accepted one."""
    done, refused = [], []
    for upload in uploads(options["outbox"]):
        if not upload[2] and _digest(upload[1]) in register.files:
            continue
        attempt = register.copy()
        rows, refusal = _accept(upload, attempt, issuer, options, now)
        if refusal:
            refused.append(refusal)
            continue
        register.content = attempt.content
        keep()
        done += [_result_row(kind, entry, options) for kind, dummy, entry in rows]
    return done, refused


def _options(params):
    """The module's options with every path absolute and every default filled in."""
    folder = os.path.abspath(params["path"])
    where = _practice_ca.paths(folder)
    return dict(
        where,
        folder=folder,
        outbox=params.get("outbox") or [],
        inbox=os.path.abspath(params.get("inbox") or os.path.join(folder, "inbox")),
        mailbox=os.path.abspath(params.get("mailbox") or os.path.join(folder, "mail")),
        kind=params.get("kind"),
        institution={key: value for key, value in (params.get("institution") or {}).items() if value},
        generation=params.get("generation") or "g8",
        lifetime=params.get("lifetime") or 198,
        backdate=params.get("backdate") or 0,
    )


def _work(options, now, check_mode):
    created = not _practice_ca.exists(options["folder"])
    register = _register.Register.load(options["register"])
    if created and not check_mode:
        _practice_ca.create(options["folder"], now)
    before = register.lines()
    issuer, keep, delivered = None, lambda: None, 0
    if not check_mode:
        issuer = _practice_ca.Issuer(
            options["folder"], options["generation"], options["lifetime"], options["backdate"], now
        )
        keep = register.save
    done, refused = _process(register, issuer, options, now, keep)
    if not check_mode:
        delivered = _deliver(register, options, now)
    return {
        "changed": bool(created or done or delivered),
        "created": created,
        "issued": [row for row in done if row["kind"] in ISSUES],
        "recorded": [row for row in done if row["kind"] not in ISSUES],
        "refused": refused,
        "roots": options["roots"],
        "widely_trusted": options["widely_trusted"],
        "repository": options["repository"],
        "diff": {"before": before, "after": register.lines(), "before_header": options["register"]},
    }


def run(params, now=None, check_mode=False):
    """Everything that one call of the module does; the result for exit_json."""
    options = _options(params)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    if check_mode:
        return _work(options, now, True)
    _atomic.make_dir(options["folder"], 0o700)
    with locked(options["lock"]):
        return _work(options, now, False)


def refusal_message(refused):
    """One text for a person: what the CA answered and what to do."""
    parts = ["{0}: {1}".format(os.path.basename(row["file"]), row["answer"].replace("\n", "; ")) for row in refused]
    return (
        "The practice CA refused {0} file(s), each as a whole. {1}. Correct what is named and make the file again; "
        "files without a fault were accepted."
    ).format(len(refused), " | ".join(parts))

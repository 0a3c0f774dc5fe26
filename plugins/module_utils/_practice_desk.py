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

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _practice_ca, _practice_mail
from ansible_collections.campus.upki.plugins.module_utils import _practice_register as _register
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as _rules
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._practice_acts import ACTS, ISO
from ansible_collections.campus.upki.plugins.module_utils._practice_known import remember
from ansible_collections.campus.upki.plugins.module_utils._practice_uploads import uploads

ISSUES = ("server_issue", "server_renew")


@contextlib.contextmanager
def locked(path, timeout=60):
    """One run at a time; several forks may come here when `run_once` was forgotten."""
    with _atomic.explained(path, "lock"):
        stream = open(path, "a")  # noqa: SIM115 (errors of the work inside are not errors of the lock)
    with stream:
        end = time.monotonic() + timeout
        while not _lock_now(stream):
            if time.monotonic() > end:
                raise UpkiError("practice_locked", "Another run holds '{0}'.".format(path), "Wait for it to end.")
            time.sleep(0.1)
        yield


def _lock_now(stream):
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    rows = [(kind, ACTS[kind](record, register, issuer, now)) for record in records]
    register.files[_digest(data)] = {"name": os.path.basename(path), "kind": kind, "received": now.strftime(ISO)}
    return rows, None


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _waiting(register):
    """What is in the register but not in the inbox yet."""
    return [entry for entry in register.certificates if not entry["delivered"]]


def _deliver(register, waiting, options, now):
    """Put certificates into the inbox and their mails into the mailbox."""
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


def _result_row(kind, entry, options):
    row = {"name": entry["name"], "kind": kind, "serial": None, "file": None, "not_after": None, "mail": None}
    if kind in ISSUES or kind == "server_revoke":
        row.update(serial=entry["serial"], not_after=entry["not_after"])
    if kind in ISSUES and entry["certificate"]:
        row.update(
            file=os.path.join(options["inbox"], entry["serial_hex"] + ".cer"),
            mail=os.path.join(options["mailbox"], _practice_mail.file_name(entry)),
        )
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
        done += [_result_row(kind, entry, options) for kind, entry in rows]
    return done, refused


def _whole_days(params):
    """(lifetime, backdate) in days, or an error that names the wrong one."""
    lifetime, backdate = params.get("lifetime"), params.get("backdate")
    lifetime = 198 if lifetime is None else lifetime
    if lifetime < 1:
        raise UpkiError("practice_validity", "lifetime is {0} and must be 1 day or more.".format(lifetime))
    if (backdate or 0) < 0:
        raise UpkiError("practice_validity", "backdate is {0} and must not be negative.".format(backdate))
    return lifetime, backdate or 0


def _options(params):
    """The module's options with every path absolute and every default filled in."""
    lifetime, backdate = _whole_days(params)
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
        lifetime=lifetime,
        backdate=backdate,
        known=params.get("known_certificates") or [],
    )


def _work(options, now, check_mode):
    created = not _practice_ca.exists(options["folder"])
    register = _register.Register.load(options["register"])
    if created:
        _practice_ca.refuse_remains(options["folder"])
    before = register.lines()
    remembered = remember(register, options["known"], now)
    keep = (lambda: None) if check_mode else register.save
    if created and not check_mode:
        _practice_ca.create(options["folder"], now)
    if remembered:
        keep()
    issuer = _practice_ca.Issuer(
        options["folder"], options["generation"], options["lifetime"], options["backdate"], now, not check_mode
    )
    done, refused = _process(register, issuer, options, now, keep)
    waiting = _waiting(register)
    if not check_mode:
        _deliver(register, waiting, options, now)
    return {
        "changed": bool(created or remembered or done or waiting),
        "created": created,
        "issued": [row for row in done if row["kind"] in ISSUES],
        "recorded": [row for row in done if row["kind"] not in ISSUES],
        "known": [{key: entry[key] for key in ("name", "serial", "not_after")} for entry in remembered],
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
        "The practice CA refused {0}, each as a whole. {1}. Correct what is named, take the refused file out "
        "of the outbox and make it again; files without a fault were accepted."
    ).format("1 file" if len(refused) == 1 else "{0} files".format(len(refused)), " | ".join(parts))

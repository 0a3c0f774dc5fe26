# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications, reports and the inbox of a fleet with very many certificates.

    python tests/benchmark/bench_many.py [--count 5000]

CPU seconds of one process, by the functions that the modules and action plugins call: checking that many renewals and
writing them as TSV files; the same again, when all stand there already; the four reports about that many endpoints; and
what the controller does for the first and for each further host when an inbox of that many certificates is searched.
Keys, CSRs and certificates are made beforehand. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import os
import pathlib
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _reports, _subject, _tls, _verify, _x509
from ansible_collections.campus.upki.plugins.modules import tsv
from ansible_collections.campus.upki.plugins.plugin_utils import _inbox
from ansible_collections.campus.upki.tests.unit import pki

SUBJECT = {"organization": "The University of Electro-Communications", "locality": "chofu", "state": "tokyo"}


def name_of(number: int) -> str:
    return f"host{number:05d}.example.ac.jp"


def records(count: int) -> list[dict[str, Any]]:
    """Renewals, each with a key of its own."""
    found = []
    for number in range(count):
        name = name_of(number)
        key = _x509.generate_key("p384")
        csr = _x509.pem(_x509.build_request(key, _subject.request_fields(SUBJECT, name), "sha384"))
        found.append(
            {
                "kind": "server_renew",
                "subject": {**SUBJECT, "common_name": name},
                "serial": str(10**37 + number),
                "csr": csr,
                "manager_name": "電通太郎",
                "manager_affiliation": "情報基盤センター",
                "manager_email": "taro@example.ac.jp",
                "fqdn": name,
                "software": "nginx",
            }
        )
    return found


def result(folder: pathlib.Path) -> dict[str, Any]:
    """What campus.upki.verify says of one endpoint."""
    now = datetime.datetime.now(datetime.UTC)
    root = pki.CA("Root", start=now - pki.days(100), end=now + pki.days(900))
    key = pki.key("leaf", "p256")
    leaf = root.issue("localhost", public_key=key.public_key(), start=now - pki.days(1), end=now + pki.days(190))
    (folder / "root.pem").write_text(pki.pem(root.certificate))
    (folder / "server.pem").write_text(pki.key_pem(key).decode("ascii") + pki.pem(leaf))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(context, listener), daemon=True).start()
        around = _verify.surroundings(
            trust := _tls.Trust(str(folder / "root.pem")), [], now, _verify.parse_warn_before("1/3")
        )
        port = listener.getsockname()[1]
        rows = _verify.endpoints_of([{"host": "127.0.0.1", "port": port, "server_name": "localhost"}])
        (found,) = _verify.run(rows, trust, around, 10, 1)
    return dict(found)


def answer(context: ssl.SSLContext, listener: socket.socket) -> None:
    """One handshake after the other."""
    with contextlib.suppress(OSError):
        while True:
            plain = listener.accept()[0]
            with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)


def inbox(folder: pathlib.Path, count: int) -> list[list[str]]:
    """Inbox, intermediates and roots as a controller has them."""
    now = datetime.datetime.now(datetime.UTC)
    root = pki.CA("Root", start=now - pki.days(100), end=now + pki.days(900))
    sub = pki.CA("Sub", issuer=root, start=now - pki.days(100), end=now + pki.days(900))
    key = pki.key("leaf", "p384").public_key()
    for part in ("inbox", "intermediates", "roots", "run"):
        (folder / part).mkdir()
    (folder / "intermediates" / "ca.pem").write_text(pki.pem(sub.certificate))
    (folder / "roots" / "ca.pem").write_text(pki.pem(root.certificate))
    for number in range(count):
        leaf = sub.issue(name_of(number), public_key=key, start=now - pki.days(1), end=now + pki.days(190))
        (folder / "inbox" / f"{leaf.serial_number:x}.cer").write_text(pki.pem(leaf))
    return [[str(folder / part)] for part in ("inbox", "intermediates", "roots")]


def timed(what: str, work: Callable[[], str]) -> None:
    start = time.process_time()
    note = work()
    print(f"| {what} | {time.process_time() - start:.2f} s | {note} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        given: dict[str, Any] = {"records": records(count), "dest": str(folder / "outbox")}
        given.update(known_keys=[], confirm_key_compromise=False)
        (folder / "tls").mkdir()
        one = result(folder / "tls")
        results = [{**copy.deepcopy(one), "host": name_of(n), "server_name": name_of(n)} for n in range(count)]
        arrived, given_cas, roots = inbox(folder, count)
        now = datetime.datetime.now(datetime.UTC)

        def write() -> str:
            done = tsv.run(given, False, "2026-11-22")
            return f"{sum(row['written'] for row in done['files'])} files written"

        def report() -> str:
            names = list(_reports.FORMATS)
            _reports.write([{"format": name, "path": str(folder / name)} for name in names], results)
            return ", ".join(f"{name} {os.path.getsize(folder / name) // 1024} KiB" for name in names)

        def search(number: int) -> str:
            found = _inbox.look([name_of(number)], arrived, given_cas, roots, now, shared=str(folder / "run"))
            return f"{len(found.candidates)} found"

        print(f"{count} certificates, P-384\n\n| | CPU | |\n| --- | --: | --- |")
        timed("renewals checked and written as TSV", write)
        timed("the same again", write)
        timed("reports in four formats", report)
        timed("the inbox searched for the first host", lambda: search(0))
        timed("for each further host", lambda: search(1))


if __name__ == "__main__":
    main()

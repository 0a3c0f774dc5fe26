# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What campus.upki.verify, openssl, sslyze and testssl.sh say of the same faulty servers, as a table in Markdown.

    PATH=…/bin/of/sslyze:$PATH python tests/benchmark/compare_tools.py

Servers are taken from the zoo of tests/unit/test_zoo.py. Each tool gets the same trust store and server name. Shown is
what a tool says of an endpoint and does not say of a clean one; a dash where that is nothing. Tools that are not
installed are left out. testssl.sh makes it take an hour or so.
"""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _tls, _verify
from ansible_collections.campus.upki.tests.unit import pki, test_zoo, tls_zoo

CLEAN = "clean G8 with cross"
ANIMALS = (
    "expired yesterday",
    "soon",
    "tomorrow",
    "lives 300 days",
    "another name",
    "only the CN",
    "wildcard of another level",
    "client certificate",
    "no usage named",
    "CA as server",
    "RSA 1024",
    "intermediate RSA 1024",
    "leaf alone",
    "cross missing",
    "root in place of the cross",
    "G7 under a G8 leaf",
    "same name, another key",
    "re-issue for clients",
    "expired intermediate",
    "intermediate of tomorrow",
    "path too long",
    "signed by a server",
    "self-signed",
    "unknown CA",
    "wrong order",
    "intermediate twice",
    "leaf twice",
    "root included",
    "a stranger",
    "TLS 1.1",
    "refuses the name",
)
CHANCE = {"sessionresumption_ticket"}  # comes and goes with the same server
PATIENCE = 240  # seconds; testssl.sh takes most of a minute for each server


def ours(port: int, folder: pathlib.Path) -> list[str]:
    trust = _tls.Trust(str(folder / "root.pem"))
    around = _verify.surroundings(trust, [str(folder / "known.pem")], test_zoo.NOW, _verify.parse_warn_before("1/3"))
    rows = _verify.endpoints_of([{"host": "127.0.0.1", "port": port, "server_name": test_zoo.NAME}])
    (result,) = _verify.run(rows, trust, around, 10, 1)
    return [f"`{row['code']}`" for row in result["findings"]]


def output(*words: str) -> str:
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


def s_client(port: int, folder: pathlib.Path) -> list[str]:
    text = output(
        "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", test_zoo.NAME,
        "-verify_hostname", test_zoo.NAME, "-CAfile", str(folder / "root.pem"),
    )  # fmt: skip
    found = re.findall(r"^verify error:num=\d+:(.*)$", text, re.MULTILINE)
    alerts = re.findall(r"SSL routines:[^:]*:([^:\n]+)", text)
    return sorted(set(found or alerts))


def openssl_verify(_port: int, folder: pathlib.Path) -> list[str]:
    words = ["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", test_zoo.NAME]
    words += ["-CAfile", str(folder / "root.pem")]
    if (folder / "chain.pem").read_text(encoding="ascii").strip():  # openssl refuses an empty file
        words += ["-untrusted", str(folder / "chain.pem")]
    text = output(*words, str(folder / "leaf.pem"))
    return sorted(set(re.findall(r"^error \d+ at \d+ depth lookup: (.*)$", text, re.MULTILINE)))


def sslyze(port: int, folder: pathlib.Path) -> list[str]:
    report = folder / "sslyze.json"
    report.unlink(missing_ok=True)
    output(
        "sslyze", "--certinfo", "--certinfo_ca_file", str(folder / "root.pem"), "--mozilla_config=disable",
        "--json_out", str(report), f"{test_zoo.NAME}:{port}{{127.0.0.1}}",
    )  # fmt: skip
    server = json.loads(report.read_text(encoding="utf-8"))["server_scan_results"][0]
    if server["connectivity_status"] != "COMPLETED":
        return ["no connection"]
    result = server["scan_result"]["certificate_info"]["result"]
    if result is None:
        return ["scan failed"]
    found = []
    for deployment in result["certificate_deployments"]:
        own = [row for row in deployment["path_validation_results"] if row["trust_store"]["path"].endswith("root.pem")]
        found += [short(row["validation_error"] or "refused") for row in own if not row["was_validation_successful"]]
        if not deployment["received_chain_has_valid_order"]:
            found.append("chain order")
        if deployment["received_chain_contains_anchor_certificate"]:
            found.append("anchor sent")
    return sorted(set(found))


def testssl(port: int, folder: pathlib.Path) -> list[str]:
    report = folder / f"testssl-{port}.json"
    output(
        "testssl", "-S", "--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", "--ip", "127.0.0.1",
        "--openssl", str(shutil.which("openssl")), "--add-ca", str(folder / "root.pem"),
        "--jsonfile", str(report), f"{test_zoo.NAME}:{port}",
    )  # fmt: skip
    rows = json.loads(report.read_text(encoding="utf-8"))
    told = {row["id"] for row in rows if row["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN")}
    return sorted(told - CHANCE)


def short(text: str) -> str:
    """The part of sslyze's sentence that says why, without the certificate in words."""
    text = re.sub(r"validation failed: |candidates exhausted: ", "", text)
    return text.partition(" (encountered processing")[0][:90].replace("|", "/")


TOOLS = (
    ("campus.upki.verify", "python", ours),
    ("openssl s_client", "openssl", s_client),
    ("openssl verify", "openssl", openssl_verify),
    ("sslyze", "sslyze", sslyze),
    ("testssl.sh", "testssl", testssl),
)


def look(animal: str, folder: pathlib.Path, tools: list[Any]) -> list[list[str]]:
    (chain, key, configure), _expected, _changes = test_zoo.ZOO[animal]
    (folder / "leaf.pem").write_text(pki.pem(chain[0]), encoding="ascii")
    (folder / "chain.pem").write_text(pki.pem(*chain[1:]) or "\n", encoding="ascii")
    with tls_zoo.tls(chain, key, configure) as port:
        found = []
        for name, _program, read in tools:
            try:
                found.append(read(port, folder))
            except (OSError, ValueError, KeyError, IndexError, subprocess.SubprocessError) as error:
                found.append([f"({name} gave no result: {type(error).__name__})"])
        return found


def main() -> None:
    tools = [row for row in TOOLS if row[1] == "python" or shutil.which(row[1])]
    lines = [
        "| server | " + " | ".join(name for name, _program, _read in tools) + " |",
        "|---" * (len(tools) + 1) + "|",
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        (folder / "root.pem").write_text(pki.pem(test_zoo.OLD.certificate), encoding="ascii")
        known = (test_zoo.G8.certificate, test_zoo.G7.certificate, test_zoo.CROSS.certificate)
        (folder / "known.pem").write_text(pki.pem(*known), encoding="ascii")
        usual = look(CLEAN, folder, tools)
        for animal in ANIMALS:
            found = look(animal, folder, tools)
            new = [[text for text in said if text not in before] for said, before in zip(found, usual, strict=True)]
            lines.append(f"| {animal} | " + " | ".join("; ".join(said) or "—" for said in new) + " |")
            sys.stderr.write(lines[-1] + "\n")
        for (name, _program, _read), said in zip(tools, usual, strict=True):
            lines.append(f"\n{name}, of the clean server too: {'; '.join(said) or 'nothing'}.")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

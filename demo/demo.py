# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole cycle on one machine: apply, issue (practice CA), deploy, verify, once more, renew.

Run by `make demo`, which puts the virtual environment and the installed collection in place. Everything that is
made lies in $UPKI_WORK/demo; each step is an ordinary command that is shown before it runs. Exit status 0 means
that every claim of the closing summary was checked.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from client import Client, served

HERE = Path(__file__).resolve().parent
DEMO = Path(os.environ.get("UPKI_WORK", HERE.parent / ".work")).resolve() / "demo"
NGINX, APACHE = "www.lab.example.ac.jp", "wiki.lab.example.ac.jp"
RECAP = re.compile(r"^\S+\s+: ok=\d+\s+changed=(?P<changed>\d+)\s")


class DemoFailed(Exception):
    """A step did not do what the demo claims."""


def heading(text: str) -> None:
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def run(*command: str) -> str:
    """Show a command, run it with its output on the screen, and return the output."""
    shown = " ".join(command).replace(str(DEMO) + "/", "")
    print(f"$ {shown}", flush=True)
    process = subprocess.Popen(command, cwd=DEMO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print("  " + line.replace(str(DEMO) + "/", ""), end="", flush=True)
        lines.append(line)
    if process.wait() != 0:
        raise DemoFailed(f"this command ended with status {process.returncode}: {shown}")
    return "".join(lines)


def play(name: str, *options: str) -> int:
    """Run a playbook; returns how many tasks it changed, over all hosts."""
    output = run("ansible-playbook", name, *options)
    recaps = [match for match in map(RECAP.match, output.splitlines()) if match]
    if not recaps:
        raise DemoFailed(f"{name} ran on no host")
    return sum(int(match["changed"]) for match in recaps)


def expect(truth: bool, claim: str) -> None:
    if not truth:
        raise DemoFailed(f"not true: {claim}")


# --- set-up ----------------------------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _port in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def apache_facts() -> dict[str, object]:
    """Where this system keeps Apache and its modules: Debian's layout, then Red Hat's."""
    program = next((found for found in map(shutil.which, ("apache2", "httpd")) if found), None)
    folder = next((d for d in map(Path, ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")) if d.is_dir()), None)
    if program is None or folder is None or shutil.which("nginx") is None:
        raise DemoFailed(
            "nginx and Apache are needed: apt-get install nginx apache2, or dnf install nginx httpd mod_ssl"
        )
    wanted = ("mpm_event", "unixd", "authz_core", "dir", "alias", "socache_shmcb", "ssl", "headers")
    modules = [name for name in wanted if (folder / f"mod_{name}.so").exists()]
    return {"demo_apache_program": program, "demo_apache_module_dir": str(folder), "demo_apache_modules": modules}


def worker_user() -> str:
    """The account that root's servers drop to; empty when the demo does not run as root."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("www-data", "nginx", "apache", "daemon") if name in known), "nobody")


def prepare() -> dict[str, int]:
    """A fresh directory with the inventory; returns the TLS port of each certificate."""
    subprocess.run([str(HERE / "stop")], check=True)
    shutil.rmtree(DEMO, ignore_errors=True)
    for folder in ("host_vars", "inbox", "outbox"):
        (DEMO / folder).mkdir(parents=True)
    for name in ("ansible.cfg", "inventory.yml", "prepare.yml", "nginx.conf.j2", "apache.conf.j2"):
        shutil.copy(HERE / name, DEMO / name)
    tls_nginx, tls_apache, http_nginx, http_apache = free_ports(4)
    facts = {"demo_worker_user": worker_user(), **apache_facts()}
    for host, port, http in (("web1", tls_nginx, http_nginx), ("web2", tls_apache, http_apache)):
        variables = {"demo_port": port, "demo_http_port": http, **facts}
        (DEMO / "host_vars" / f"{host}.json").write_text(json.dumps(variables, indent=1))
    return {NGINX: tls_nginx, APACHE: tls_apache}


# --- steps -----------------------------------------------------------------------------------------------


def show_outbox() -> None:
    for path in sorted((DEMO / "outbox").glob("*.tsv")):
        run("ansible", "localhost", "-m", "campus.upki.tsv_info", "-a", f"path={path}")


def first_issue(ports: dict[str, int]) -> dict[str, str]:
    """From nothing to two served certificates; returns their serial numbers in decimal."""
    heading("1. Two web servers without TLS, as a lab has them")
    play("prepare.yml")
    heading("2. Keys and CSRs on each host, one TSV file for the IT centre")
    play("campus.upki.request")
    show_outbox()
    heading("3. The practice CA checks the applications and issues (the real one: a mail, days later)")
    play("campus.upki.practice_ca")
    heading("4. Certificate and correct intermediates go live, or nothing changes")
    play("campus.upki.deploy")
    heading("5. What the servers present, seen from outside")
    play("campus.upki.verify")
    now = {name: served(port, name, DEMO / "ca/roots/widely-trusted.pem") for name, port in ports.items()}
    for name, facts in now.items():
        expect(facts.chain_length == 3, f"{name} serves leaf, intermediate and cross certificate")
        print(f"  {name}: serial {facts.serial}, {facts.chain_length} certificates, accepted by the old roots alone")
    return {name: facts.serial for name, facts in now.items()}


def nothing_due() -> None:
    heading("6. The daily run: nothing is due, nothing changes")
    expect(play("campus.upki.renew") == 0, "a second run changes nothing")


def renew(ports: dict[str, int], before: dict[str, str]) -> tuple[dict[str, str], Client]:
    """A renewal with clients connecting throughout; returns the new serials and the clients' record."""
    heading("7. Renewal: new keys, kind 更新, the old serial in decimal")
    # 98 of 198 days are left; the default threshold is the last third, so it is raised for this run.
    play("campus.upki.request", "-e", "upki_renew_before=120d")
    renewals = sorted((DEMO / "outbox").glob("*server_renew*.tsv"))
    expect(len(renewals) == 1, "the two renewals are one file")
    text = renewals[0].read_bytes().decode("shift_jis")
    expect(all(f"\t{serial}\t" in text for serial in before.values()), "the renewals name the old serials in decimal")
    run("ansible", "localhost", "-m", "campus.upki.tsv_info", "-a", f"path={renewals[0]}")
    play("campus.upki.practice_ca")
    heading("8. The new certificates go live while clients keep connecting")
    with Client(ports, DEMO / "ca/roots/widely-trusted.pem") as client:
        play("campus.upki.deploy")
    play("campus.upki.verify")
    after = {name: served(port, name, DEMO / "ca/roots/widely-trusted.pem").serial for name, port in ports.items()}
    expect(all(after[name] != before[name] for name in ports), "both served serials changed")
    expect(not client.failures, f"no connection failed meanwhile: {client.failures[:3]}")
    expect(client.connections > 0, "clients connected during the deployment")
    known = set(before.values()) | set(after.values())
    expect(client.serials <= known, "clients saw the old or the new certificates only")
    return after, client


def summary(
    ports: dict[str, int], before: dict[str, str], after: dict[str, str], client: Client, seconds: float
) -> None:
    heading("Done")
    where = os.path.relpath(DEMO)
    for line in (
        f"made      2 keys and CSRs without OU, 2 applications, then 2 renewals, in {seconds:.0f} s",
        f"keys      {where}/web1/upki and web2/upki, 0600; none of them ever left its host's store",
        f"TSV       {where}/outbox (Shift_JIS, as the IT centre wants them by mail)",
        f"issued    {where}/inbox, by the practice CA in {where}/ca",
        f"nginx     https://127.0.0.1:{ports[NGINX]} {NGINX} (RSA 2048)",
        f"          serial {before[NGINX]} -> {after[NGINX]}",
        f"Apache    https://127.0.0.1:{ports[APACHE]} {APACHE} + docs.lab.example.ac.jp (P-384)",
        f"          serial {before[APACHE]} -> {after[APACHE]}",
        "verified  chain (intermediate, cross certificate, no root), names, dates; a second run changed nothing",
        f"renewal   {client.connections} connections during the swap, 0 failed",
        f"try       cd {where} && {os.path.relpath(sys.prefix, DEMO)}/bin/ansible-playbook campus.upki.verify",
        "read      README.md, then docs/quick-start.md; for your own servers docs/how-to/existing-infra.md",
    ):
        print(line)
    record = {"before": before, "after": after, "connections": client.connections, "ports": ports}
    (DEMO / "summary.json").write_text(json.dumps(record, indent=1))


def main() -> int:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    os.environ.setdefault("ANSIBLE_NOCOWS", "1")
    started = time.monotonic()
    try:
        ports = prepare()
        before = first_issue(ports)
        nothing_due()
        after, client = renew(ports, before)
    except DemoFailed as error:
        print(f"\ndemo: {error}\ndemo: logs and files are in {DEMO}", file=sys.stderr)
        return 1
    summary(ports, before, after, client, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main())

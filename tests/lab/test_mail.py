# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail and directory servers: postfix, dovecot and slapd take a renewal by the rows of the built-in server table.

Debian 12 brings Dovecot 2.3, Debian 13 brings 2.4, with other names of settings; both are configured as the page says.
slapd gives up root before it reads its key: on one host all keys are for its group, on the other it has a copy for
Debian's group ssl-cert.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
from ansible_collections.campus.upki.tests.lab import wire
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import Host

MAIL12, MAIL13 = Host("mail1", "bookworm", ()), Host("mail2", "trixie", ())
HOSTS = (MAIL12, MAIL13)
# beginning of the certificate's name: (server, endpoint); the port tells verify which STARTTLS
SERVICES = {
    "smtp": ("postfix", "127.0.0.1:25"),
    "imap": ("dovecot", "127.0.0.1:143"),
    "ldap": ("slapd", "127.0.0.1:389"),
}
PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "how-to" / "servers.md").read_text(encoding="utf-8")
DOVECOT = {MAIL12: "2.3", MAIL13: "2.4"}
# How each service is pointed at the store; no service is started or reloaded by these.
POSTFIX = """postconf -e "smtpd_tls_cert_file=/etc/upki/{name}/live/fullchain.pem" \\
    "smtpd_tls_key_file=/etc/upki/{name}/live/key.pem" \\
    smtpd_tls_security_level=may mynetworks=127.0.0.0/8 inet_interfaces=all myhostname={fqdn}
"""
DOVECOT_IS = """dovecot --version | grep -q '^{version}[.]'
cat >/etc/dovecot/conf.d/99-upki.conf <<END
{settings}END
"""
SLAPD = """cat >/root/tls.ldif <<END
dn: cn=config
changetype: modify
add: olcTLSCertificateFile
olcTLSCertificateFile: /etc/upki/{name}/live/fullchain.pem
-
add: olcTLSCertificateKeyFile
olcTLSCertificateKeyFile: {key}
END
adduser --quiet openldap ssl-cert
slapmodify -n 0 -F /etc/ldap/slapd.d -l /root/tls.ldif
chown -R openldap: /etc/ldap/slapd.d
"""


def name_of(host: Host, service: str) -> str:
    return f"{service}.{host.fqdn}"


LDAP_KEY = {
    MAIL12: f"/etc/upki/{name_of(MAIL12, 'ldap')}/live/key.pem",
    MAIL13: f"/etc/ssl/private/{name_of(MAIL13, 'ldap')}.key",
}


def certificate(host: Host, service: str) -> dict[str, Any]:
    """The row of upki_certificates before its server is named."""
    row: dict[str, Any] = {"name": name_of(host, service), "software": SERVICES[service][0]}
    if service == "ldap" and host is MAIL13:
        row["links"] = [
            {"path": LDAP_KEY[host], "what": "key", "copy": True, "group": "ssl-cert", "mode": "0640"},
        ]
    return row


def settings(version: str, name: str) -> str:
    """The page's block for this version of Dovecot."""
    (block,) = re.findall(rf"```ini\n(# /etc/dovecot/[^\n]* for Dovecot {re.escape(version)} .*?)```", PAGE, re.DOTALL)
    return str(block).replace("imap.example.ac.jp", name)


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(*HOSTS)
    for host in HOSTS:
        fleet.set_host(host, upki_certificates=[certificate(host, service) for service in SERVICES])
    fleet.set_host(MAIL12, upki_key_group="openldap", upki_key_mode="0640")
    return fleet, Issuer(fleet)


def test_first_certificates_go_live_before_the_services_are_configured(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    fleet.request().good()
    serials = issue(issuer)
    fleet.deploy().good()
    for host in HOSTS:
        version, imap = DOVECOT[host], name_of(host, "imap")
        script = [
            POSTFIX.format(name=name_of(host, "smtp"), fqdn=host.fqdn),
            DOVECOT_IS.format(version=version, settings=settings(version, imap)),
            SLAPD.format(name=name_of(host, "ldap"), key=LDAP_KEY[host]),
        ]
        fleet.on(host, "set -e\nsystemctl stop slapd\n" + "".join(script) + "systemctl restart postfix dovecot slapd")
    assert presented(fleet) == serials


def test_renewal_is_presented_by_every_service(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    for host in HOSTS:
        rows = [
            {
                **certificate(host, service),
                "server": server,
                "endpoint": endpoint,
                "public_endpoint": f"{host.fqdn}:{endpoint.rpartition(':')[2]}",
            }
            for service, (server, endpoint) in SERVICES.items()
        ]
        fleet.set_host(host, upki_certificates=rows)
    fleet.deploy().quiet()
    fleet.request(upki_renew_before="120d").good()
    serials = issue(issuer)
    before = fleet.trees()
    fleet.deploy("--check").good()
    assert before == fleet.trees()
    fleet.deploy().good()
    assert presented(fleet) == serials
    fleet.deploy().quiet()
    fleet.verify().quiet()


def test_a_copy_of_the_key_is_for_the_group_that_was_asked_for(story: tuple[Controller, Issuer]) -> None:
    fleet, _issuer = story
    live = f"/etc/upki/{name_of(MAIL13, 'ldap')}/live/key.pem"
    assert fleet.on(MAIL13, f"stat -L -c '%a %U:%G' {LDAP_KEY[MAIL13]} {live}").split("\n")[:2] == [
        "640 root:ssl-cert",
        "600 root:root",
    ]
    fleet.on(MAIL13, f"cmp {LDAP_KEY[MAIL13]} {live}")
    assert fleet.on(MAIL13, "ls /etc/ssl/private/").split().count(f"{name_of(MAIL13, 'ldap')}.key") == 1


def test_dovecot_does_not_take_the_names_of_the_other_version(story: tuple[Controller, Issuer]) -> None:
    """Why the page gives two blocks: the table's test refuses the wrong one, and dovecot keeps its certificate."""
    fleet, issuer = story
    before = [look(fleet, host, "imap") for host in HOSTS]
    for host, other in ((MAIL12, MAIL13), (MAIL13, MAIL12)):
        wrong = settings(DOVECOT[other], name_of(host, "imap"))
        fleet.on(host, f"cat >/etc/dovecot/conf.d/99-upki.conf <<END\n{wrong}END")
    fleet.request(upki_renew_before="120d").good()
    issue(issuer)
    run = fleet.deploy()
    assert {name: counts["failed"] for name, counts in run.recap.items()} == {host.name: 1 for host in HOSTS}
    assert "doveconf" in run.output, run.output
    assert [look(fleet, host, "imap") for host in HOSTS] == before


def issue(issuer: Issuer) -> dict[str, int]:
    names = [(host, name_of(host, service)) for host in HOSTS for service in SERVICES]
    return {name: issuer.issue(host, name=name, names=[name], start=100, end=-98)[0] for host, name in names}


def presented(fleet: Controller) -> dict[str, int]:
    """Serials of the certificates behind STARTTLS."""
    return {name_of(host, service): look(fleet, host, service) for host in HOSTS for service in SERVICES}


def look(fleet: Controller, host: Host, service: str) -> int:
    """Serial of one of them, after verifying."""
    port = int(SERVICES[service][1].rpartition(":")[2])
    return wire.serial(fleet, host, name_of(host, service), port=port, starttls=service)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail and a directory server: postfix, dovecot and slapd take a renewal by the rows of the built-in server table."""

from __future__ import annotations

import subprocess
import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import DOMAIN, Host

MAIL = Host("mail1", "bookworm", ())
# name of the certificate: (server, endpoint, what openssl calls its STARTTLS)
SERVICES = {
    f"smtp.{DOMAIN}": ("postfix", "127.0.0.1:25", "smtp"),
    f"imap.{DOMAIN}": ("dovecot", "127.0.0.1:143", "imap"),
    f"ldap.{DOMAIN}": ("slapd", "127.0.0.1:389", "ldap"),
}
SETUP = """set -e
live() {{ echo /etc/upki/$1.{domain}/live; }}
postconf -e "smtpd_tls_cert_file=$(live smtp)/fullchain.pem" "smtpd_tls_key_file=$(live smtp)/key.pem" \\
    smtpd_tls_security_level=may mynetworks=127.0.0.0/8 inet_interfaces=all myhostname=mail1.{domain}
printf 'ssl = required\\nssl_cert = <%s/fullchain.pem\\nssl_key = <%s/key.pem\\n' $(live imap) $(live imap) \\
    >/etc/dovecot/conf.d/99-upki.conf
cat >/root/tls.ldif <<END
dn: cn=config
changetype: modify
add: olcTLSCertificateFile
olcTLSCertificateFile: $(live ldap)/fullchain.pem
-
add: olcTLSCertificateKeyFile
olcTLSCertificateKeyFile: $(live ldap)/key.pem
END
systemctl stop slapd
slapmodify -n 0 -F /etc/ldap/slapd.d -l /root/tls.ldif
chown -R openldap: /etc/ldap/slapd.d
systemctl restart postfix dovecot slapd
"""


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer]:
    fleet = start(MAIL)
    issuer = Issuer(fleet)
    rows = [{"name": name, "software": row[0]} for name, row in SERVICES.items()]
    # slapd gives up root before it reads its key.
    fleet.set_host(
        MAIL, upki_certificates=rows, upki_key_group="openldap", upki_key_mode="0640", upki_nginx_manage=False
    )
    return fleet, issuer


def test_first_certificates_go_live_before_the_services_are_configured(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    fleet.request().good()
    serials = issue(issuer)
    fleet.deploy().good()
    fleet.on(MAIL, SETUP.format(domain=DOMAIN))
    assert {name: presented(fleet, name) for name in SERVICES} == serials


def test_renewal_is_presented_by_every_service(story: tuple[Controller, Issuer]) -> None:
    fleet, issuer = story
    rows = [
        {
            "name": name,
            "software": server,
            "server": server,
            "endpoint": endpoint,
            "public_endpoint": f"{MAIL.fqdn}:{port}",
        }
        for name, (server, endpoint, protocol) in SERVICES.items()
        for port in [endpoint.rpartition(":")[2]]
    ]
    fleet.set_host(MAIL, upki_certificates=rows)
    fleet.deploy().quiet()
    fleet.request(upki_renew_before="120d").good()
    serials = issue(issuer)
    before = fleet.trees()
    fleet.deploy("--check").good()
    assert before == fleet.trees()
    fleet.deploy().good()
    assert {name: presented(fleet, name) for name in SERVICES} == serials
    fleet.deploy().quiet()
    fleet.verify().quiet()


def issue(issuer: Issuer) -> dict[str, int]:
    return {name: issuer.issue(MAIL, name=name, names=[name], start=100, end=-98)[0] for name in SERVICES}


def presented(fleet: Controller, name: str) -> int:
    """Serial of the certificate behind STARTTLS, as openssl sees it after verifying."""
    _server, endpoint, protocol = SERVICES[name]
    address = f"{fleet.lab.address(MAIL.name)}:{endpoint.rpartition(':')[2]}"
    command = ["openssl", "s_client", "-connect", address, "-starttls", protocol, "-verify_hostname", name]
    command += ["-CAfile", str(fleet.trust), "-verify_return_error", "-servername", name]
    end = time.monotonic() + 10
    while True:  # a service that was started just now
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
        if "-----END CERTIFICATE-----" in done.stdout or time.monotonic() > end:
            break
        time.sleep(0.3)
    assert "-----END CERTIFICATE-----" in done.stdout, f"{name}: {done.stdout}{done.stderr}"
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    start, stop = (done.stdout.index(f"-----{word} CERTIFICATE-----") for word in ("BEGIN", "END"))
    return int(_x509.certificates_from_pem(done.stdout[start : stop + 26])[0].serial_number)

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server set up by hand years ago: OU in the subject, a readable key, the wrong intermediate, own paths."""

from __future__ import annotations

import json

import pytest
from ansible_collections.campus.upki.tests.lab import wire
from ansible_collections.campus.upki.tests.lab.conftest import Start
from ansible_collections.campus.upki.tests.lab.controller import SUBJECT, Controller, certificate, served
from ansible_collections.campus.upki.tests.lab.issuer import Issuer
from ansible_collections.campus.upki.tests.lab.lab import Host
from ansible_collections.campus.upki.tests.unit import pki

OLD = Host("old1", "bullseye")
CERTIFICATE, CHAIN, KEY = "/etc/ssl/certs/www.pem", "/etc/ssl/certs/www-chain.pem", "/etc/ssl/private/www.key"
VHOST = f"""server {{
    listen 443 ssl;
    server_name {OLD.fqdn};
    ssl_certificate {CERTIFICATE};
    ssl_certificate_key {KEY};
    root /var/www/html;
}}
"""


@pytest.fixture(scope="module")
def story(start: Start) -> tuple[Controller, Issuer, int]:
    fleet = start(OLD)
    issuer = Issuer(fleet)
    return fleet, issuer, set_up_by_hand(fleet, issuer)


def set_up_by_hand(fleet: Controller, issuer: Issuer) -> int:
    """The serial of what the old host serves. The right chain lies beside it, in a file that no configuration names."""
    wrong = pki.CA("NII Open Domain CA - G0", issuer.root)
    key = pki.new_key("rsa2048")
    fields = {"C": "JP", "ST": "tokyo", "L": "chofu", "O": SUBJECT["organization"], "OU": "Lab", "CN": OLD.fqdn}
    leaf = issuer.by_hand(key, **fields)
    root = fleet.lab.root(OLD.name)
    files = {
        CERTIFICATE: pki.pem(leaf, wrong.certificate),
        CHAIN: pki.pem(issuer.inter.certificate),
        KEY: pki.traditional_pem(key).decode(),
        "/etc/nginx/conf.d/www.conf": VHOST,
    }
    for name, text in files.items():
        (root / name.lstrip("/")).write_text(text)
        (root / name.lstrip("/")).chmod(0o644)
    fleet.on(OLD, "nginx -t && systemctl reload nginx")
    fleet.set_host(
        OLD,
        upki_nginx_manage=False,
        upki_certificates=[certificate(OLD, dns_names=[], current_certificate=CERTIFICATE)],
    )
    return int(leaf.serial_number)


def test_the_old_certificate_is_judged_by_what_its_server_presents(story: tuple[Controller, Issuer, int]) -> None:
    fleet, _issuer, _serial = story
    report = fleet.path / "report.json"
    run = fleet.verify(upki_verify_compare_store=False, upki_verify_reports=[{"format": "json", "path": str(report)}])
    assert run.status == 2
    (endpoint,) = json.loads(report.read_text())["results"]
    assert [one["code"] for one in endpoint["findings"] if one["severity"] == "error"] == ["wrong_intermediate"]


def test_an_old_certificate_with_ou_is_applied_for_as_a_new_one(story: tuple[Controller, Issuer, int]) -> None:
    fleet, _issuer, _serial = story
    fleet.request("--check").good()
    fleet.request().good()
    (file,) = fleet.outbox.glob("*.tsv")
    assert "server_issue" in file.name
    assert "OU=" not in file.read_bytes().decode("shift_jis")


def test_fixed_paths_are_switched_and_the_old_files_kept(story: tuple[Controller, Issuer, int]) -> None:
    fleet, issuer, old = story
    links = [{"path": CERTIFICATE, "what": "fullchain"}, {"path": KEY, "what": "key"}]
    adopt = {"certificate": CERTIFICATE, "key": KEY, "chain": CHAIN}
    fleet.set_host(OLD, upki_certificates=[certificate(OLD, dns_names=[], links=links, adopt=adopt)])
    new, _path = issuer.issue(OLD, names=[OLD.fqdn])
    before = fleet.trees()
    fleet.deploy("--check").good()
    assert before == fleet.trees()
    key = fleet.on(OLD, f"sha256sum <{KEY}").split()[0]
    assert fleet.on(OLD, f"stat -c %a {KEY}").strip() == "644"
    fleet.deploy().good()
    assert served(fleet.lab.address(OLD.name), 443, OLD.fqdn, fleet.trust) == new
    assert fleet.on(OLD, f"readlink {CERTIFICATE} {KEY}").split() == [
        f"/etc/upki/{OLD.fqdn}/live/fullchain.pem",
        f"/etc/upki/{OLD.fqdn}/live/key.pem",
    ]
    assert fleet.on(OLD, f"openssl x509 -noout -serial -in {CERTIFICATE}.before-upki").strip().endswith(f"{old:X}")
    # Both keys are in the store, for root alone, and the copy that everybody could read is gone.
    assert fleet.on(OLD, "find /etc/upki -name key.pem -printf '%m %u:%g\\n'").split("\n") == ["600 root:root"] * 2 + [
        ""
    ]
    assert key in fleet.on(OLD, "sha256sum /etc/upki/*/generations/*/key.pem")
    assert key not in fleet.on(OLD, "find /etc/ssl -type f -exec sha256sum {} +")
    fleet.deploy().quiet()
    fleet.verify().quiet()


def test_the_way_back_leads_to_the_hand_made_certificate(story: tuple[Controller, Issuer, int]) -> None:
    fleet, _issuer, old = story
    fleet.deploy(upki_rollback=[OLD.fqdn], again=False).good()
    # Served with the intermediate that did sign it, which was on the host all the time.
    assert fleet.served(OLD) == wire.serial(fleet, OLD) == old
    assert wire.above(fleet, OLD) == ["NII Open Domain CA - Lab by Lab Root"]
    assert int(fleet.on(OLD, f"openssl x509 -noout -serial -in {CERTIFICATE}").partition("=")[2], 16) == old
    fleet.deploy().quiet()
    assert fleet.served(OLD) == old

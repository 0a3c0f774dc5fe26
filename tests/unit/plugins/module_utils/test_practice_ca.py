# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The practice CA's hierarchy, judged by the openssl command and not by the code that made it."""

import datetime
import os
import pathlib
import shutil
import subprocess

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_ca as ca
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import applications as make

# The openssl command looks at the real clock, so the hierarchy is made now.
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
SUBJECT = make.subject()
NAMES = [make.WWW, "b.example.ac.jp"]

openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="the openssl command is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("ca"))
    ca.create(path, NOW)
    return path


def public_key(kind):
    return make.key(kind, "rsa2048" if kind == "rsa" else "p384").public_key()


def leaf(folder, generation, kind, **changes):
    options = dict({"lifetime": 198, "backdate": 0, "now": NOW}, **changes)
    issuer = ca.Issuer(folder, generation, options["lifetime"], options["backdate"], options["now"])
    return issuer.issue(SUBJECT, NAMES, public_key(kind))


def certificate(folder, name):
    with open(os.path.join(folder, "repository", name), "rb") as stream:
        data = stream.read()
    if data.startswith(b"-----BEGIN"):
        return _x509.certificates_from_pem(data.decode("ascii"))[0]
    return _x509.certificate_from_der(data)


G7 = {"rsa": ["practice-nii-odca4g7rsa.cer"], "ecc": ["practice-nii-odca4g7ecc.cer"]}
G8 = {
    "rsa": ["practice-nii-odca4g8rsa-pem.cer", "practice-tlsrsarootca2024cross-pem.cer"],
    "ecc": ["practice-nii-odca4g8ecc.cer", "practice-tlseccrootca2024cross.cer"],
}


def verifies(folder, tmp_path, leaf_certificate, chain, trusted):
    (tmp_path / "leaf.pem").write_text(_x509.pem(leaf_certificate))
    (tmp_path / "chain.pem").write_text("".join(_x509.pem(certificate(folder, name)) for name in chain))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", os.path.join(folder, trusted)]
    command += ["-verify_hostname", "b.example.ac.jp", "-untrusted", str(tmp_path / "chain.pem")]
    environment = dict(os.environ, SSL_CERT_DIR=str(tmp_path / "none"), SSL_CERT_FILE=str(tmp_path / "none"))
    result = subprocess.run(
        command + [str(tmp_path / "leaf.pem")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        check=False,
    )
    return result.returncode == 0, result.stdout.decode()


WIDELY = "roots/widely-trusted.pem"


@openssl
@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_g8_with_the_cross_certificate_leads_to_a_widely_trusted_root(folder, tmp_path, kind):
    ok, text = verifies(folder, tmp_path, leaf(folder, "g8", kind), G8[kind], WIDELY)
    assert ok, text


@openssl
@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_g8_without_the_cross_certificate_does_not(folder, tmp_path, kind):
    ok, text = verifies(folder, tmp_path, leaf(folder, "g8", kind), G8[kind][:1], WIDELY)
    assert not ok
    assert "unable to get" in text


@openssl
@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_g7_needs_no_cross_certificate(folder, tmp_path, kind):
    ok, text = verifies(folder, tmp_path, leaf(folder, "g7", kind), G7[kind], WIDELY)
    assert ok, text


@openssl
@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_the_wrong_generation_does_not_verify(folder, tmp_path, kind):
    assert not verifies(folder, tmp_path, leaf(folder, "g8", kind), G7[kind], WIDELY)[0]
    assert not verifies(folder, tmp_path, leaf(folder, "g7", kind), G8[kind], WIDELY)[0]


@openssl
@pytest.mark.parametrize(
    "kind, root", [("rsa", "practice-tlsrsarootca2024.pem"), ("ecc", "practice-tlseccrootca2024.pem")]
)
def test_a_system_with_the_new_root_needs_no_cross(folder, tmp_path, kind, root):
    ok, text = verifies(folder, tmp_path, leaf(folder, "g8", kind), G8[kind][:1], "roots/" + root)
    assert ok, text


def test_the_repository_has_no_root_and_mixes_pem_and_der(folder):
    names = sorted(os.listdir(os.path.join(folder, "repository")))
    assert names == sorted(G7["rsa"] + G7["ecc"] + G8["rsa"] + G8["ecc"])
    assert not any(_x509.is_self_signed(certificate(folder, name)) for name in names)
    first = [pathlib.Path(folder, "repository", name).read_bytes()[:10] for name in names]
    assert {head == b"-----BEGIN" for head in first} == {True, False}


def test_names_say_practice_and_addresses_are_reserved(folder):
    for name in os.listdir(os.path.join(folder, "repository")):
        found = certificate(folder, name)
        assert "Practice" in _x509.name_text(found.subject)
        for url in _x509.access_urls(found, "caIssuers") + _x509.access_urls(found, "ocsp"):
            assert ".practice.example/" in url


def test_intermediates_have_the_shape_of_the_real_ones(folder):
    g8, g7 = certificate(folder, G8["rsa"][0]), certificate(folder, G7["rsa"][0])
    assert _x509.name_value(g8.subject, "CN") == "NII Open Domain CA - G8 RSA (Practice)"
    assert len(_x509.usages(g8)) == 1
    assert len(_x509.usages(g7)) == 2
    cross = certificate(folder, G8["rsa"][1])
    assert _x509.subject_key_id(cross) == _x509.authority_key_id(g8)
    assert _x509.name_value(cross.issuer, "OU") == "Practice Communication RootCA2"
    assert _x509.not_after(cross) == _x509.not_after(g7)  # both end with the old root


def test_the_oldest_root_is_rootca2(folder):
    starts = {}
    for row in ca.CERTIFICATES:
        data = pathlib.Path(folder, row[0]).read_bytes()
        found = _x509.certificate_from_der(data) if row[7] == "der" else _x509.certificates_from_pem(data.decode())[0]
        starts[row[0]] = _x509.not_before(found)
    assert min(starts, key=starts.get) == "roots/practice-rootca2.pem"
    assert len(starts) == 10


def test_rights(folder):
    private = os.path.join(folder, "private")
    assert os.stat(private).st_mode & 0o777 == 0o700
    assert {os.stat(os.path.join(private, name)).st_mode & 0o777 for name in os.listdir(private)} == {0o600}
    assert len(os.listdir(private)) == len(ca.AUTHORITIES)


@pytest.mark.parametrize("generation, usages", [("g7", 2), ("g8", 1)])
def test_a_leaf(folder, generation, usages):
    found = leaf(folder, generation, "rsa")
    assert _x509.name_fields(found.subject) == SUBJECT
    assert _x509.dns_names(found) == NAMES
    assert len(_x509.usages(found)) == usages
    assert _x509.allows_server_auth(found)
    assert not _x509.is_ca(found)
    assert _x509.not_after(found) - _x509.not_before(found) == datetime.timedelta(days=198)
    assert datetime.timedelta(0) < NOW - _x509.not_before(found) < datetime.timedelta(minutes=10)
    assert _x509.spki_sha256(found.public_key()) == _x509.spki_sha256(public_key("rsa"))


def test_serials_are_positive_random_and_128_bit():
    serials = [ca.new_serial() for dummy in range(100)]
    assert len(set(serials)) == 100
    assert {serial.bit_length() for serial in serials} == {127}  # 16 octets, and positive


def test_an_old_certificate_for_rehearsing(folder):
    found = leaf(folder, "g8", "rsa", backdate=250)
    assert _x509.not_after(found) < NOW


@pytest.mark.parametrize("change", [{"lifetime": 4000}, {"backdate": 400}])
def test_longer_than_the_intermediate_is_an_error(folder, change):
    with pytest.raises(UpkiError) as caught:
        leaf(folder, "g8", "ecc", **change)
    assert caught.value.code == "practice_validity"
    assert "G8 ECC" in caught.value.message


def test_the_plan_before_the_hierarchy_exists_is_that_of_afterwards(folder, tmp_path):
    for kind in ("rsa", "ecc"):
        plans = [ca.Issuer(str(path), "g8", 198, 0, NOW).plan(public_key(kind)) for path in (folder, tmp_path)]
        assert plans[0] == plans[1]


def test_a_half_made_hierarchy_is_made_anew(tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "rootca2.pem").write_text("half")
    assert not ca.exists(str(tmp_path))
    ca.refuse_remains(str(tmp_path))
    ca.create(str(tmp_path), NOW)
    assert ca.exists(str(tmp_path))


def test_a_register_without_hierarchy_is_an_error(tmp_path):
    (tmp_path / "register.json").write_text("{}")
    with pytest.raises(UpkiError) as caught:
        ca.refuse_remains(str(tmp_path))
    assert caught.value.code == "practice_ca_incomplete"

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRLs and OCSP answers: judged as bytes, fetched over HTTP on loopback, and x509-limbo's cases."""

import contextlib
import datetime
import http.server
import json
import lzma
import pathlib
import threading
import time
import urllib.error
import urllib.request

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _cards, _revocation, _x509
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root")
SUB = pki.CA("Sub", issuer=ROOT)
OTHER = pki.CA("Other", issuer=ROOT)
LEAF = SUB.issue(NAME)


def naive(moment):
    return moment.replace(tzinfo=None)


def crl(issuer=SUB, serials=(), start=None, end=None, extensions=(), number=7, reason=x509.ReasonFlags.superseded):
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(naive(start or pki.NOW - pki.days(1)))
        .next_update(naive(end or pki.NOW + pki.days(6)))
    )
    if number:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for serial in serials:
        row = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(naive(pki.NOW - pki.days(3)))
        if reason:
            row = row.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(row.build(default_backend()))
    made = builder.sign(issuer.key, hashes.SHA256(), default_backend())
    return made.public_bytes(serialization.Encoding.DER)


def verdict(*crls):
    return _revocation.judge_crls(LEAF, SUB.certificate, crls, pki.NOW)


# --- CRLs ----------------------------------------------------------------------------------------------------


def test_good_and_revoked():
    assert verdict(crl()) == ("good", "not on the CRL of 2026-11-21")
    assert verdict(crl(serials=[1, 2])) == ("good", "not on the CRL of 2026-11-21")
    assert verdict(crl(serials=[LEAF.serial_number])) == ("revoked", "on 2026-11-19, reason superseded, by CRL")
    assert "unspecified" in verdict(crl(serials=[LEAF.serial_number], reason=None))[1]


def test_pem_is_read_too():
    loaded = x509.load_der_x509_crl(crl(serials=[LEAF.serial_number]), default_backend())
    assert verdict(loaded.public_bytes(serialization.Encoding.PEM))[0] == "revoked"


def distribution_point(**flags):
    names = (
        "only_contains_user_certs only_contains_ca_certs only_some_reasons indirect_crl only_contains_attribute_certs"
    )
    values = dict.fromkeys(names.split(), False)
    values.update(full_name=None, relative_name=None, only_some_reasons=None)
    return x509.IssuingDistributionPoint(**dict(values, **flags)), True


@pytest.mark.parametrize(
    "data, word",
    [
        (b"", "not a valid CRL"),
        (b"<html>", "not a valid CRL"),
        (crl(issuer=OTHER, serials=[LEAF.serial_number]), "not signed"),
        (crl(start=pki.NOW + pki.days(1)), "of the future"),
        (crl(end=pki.NOW - datetime.timedelta(hours=1)), "has ended"),
        (crl(number=None), "CRL number"),
        (crl(extensions=[(x509.DeltaCRLIndicator(3), True)]), "delta"),
        (crl(extensions=[distribution_point(only_contains_ca_certs=True)]), "other kinds"),
    ],
)
def test_a_crl_that_says_nothing_is_never_taken_for_good(data, word):
    status, text = verdict(data)
    assert status == "unknown" and word in text


def test_a_crl_about_servers_serves():
    assert verdict(crl(extensions=[distribution_point(only_contains_user_certs=True)]))[0] == "good"


def test_a_namesake_s_signature_is_not_the_issuer_s():
    impostor = pki.CA("Sub", issuer=ROOT, label="impostor")
    assert verdict(crl(issuer=impostor))[0] == "unknown"


def delta(base=7, number=9, **shape):
    return crl(number=number, extensions=[(x509.DeltaCRLIndicator(base), True)], **shape)


LISTED = {"serials": [LEAF.serial_number]}


@pytest.mark.parametrize(
    "crls, status",
    [
        ([crl(), delta()], "good"),
        ([crl(), delta(**LISTED)], "revoked"),
        ([delta(**LISTED), crl()], "revoked"),
        ([crl(**LISTED), delta()], "revoked"),
        ([crl(**LISTED), delta(reason=x509.ReasonFlags.remove_from_crl, **LISTED)], "good"),
        ([crl(), delta(base=5, number=6, **LISTED)], "good"),  # older than the complete one
        ([crl(), delta(base=8, **LISTED)], "unknown"),  # of a complete one that is not here
        ([crl(), delta(end=pki.NOW - datetime.timedelta(hours=1))], "unknown"),
        ([crl(), delta(issuer=OTHER, **LISTED)], "good"),  # another CA's
        ([crl(), delta(issuer=pki.CA("Sub", issuer=ROOT, label="impostor"), **LISTED)], "unknown"),
        ([crl(**LISTED), delta(end=pki.NOW - datetime.timedelta(hours=1))], "revoked"),
        ([crl(), delta(), delta(number=10, **LISTED)], "revoked"),
        ([delta()], "unknown"),
    ],
)
def test_deltas(crls, status):
    assert verdict(*crls)[0] == status


def test_the_first_crl_that_answers_counts():
    assert verdict(b"", crl(serials=[LEAF.serial_number]))[0] == "revoked"
    assert verdict() == ("unknown", "no CRL was found")


# --- OCSP ----------------------------------------------------------------------------------------------------


def answer(leaf=LEAF, issuer=SUB, status=ocsp.OCSPCertStatus.GOOD, signer=None, start=None, end=None):
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    certificate, key = signer or (issuer.certificate, issuer.key)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=issuer.certificate,
        algorithm=hashes.SHA1(),
        cert_status=status,
        this_update=naive(start or pki.NOW - pki.days(1)),
        next_update=naive(end or pki.NOW + pki.days(6)),
        revocation_time=naive(pki.NOW - pki.days(3)) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
    if signer:
        builder = builder.certificates([certificate])
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def responder(issuer, usage=ExtendedKeyUsageOID.OCSP_SIGNING):
    key = pki.key("responder")
    return issuer.issue("responder.example", public_key=key.public_key(), usages=(usage,)), key


def ocsp_verdict(data):
    return _revocation.judge_ocsp(LEAF, SUB.certificate, data, pki.NOW)


def test_ocsp_good_and_revoked():
    assert ocsp_verdict(answer()) == ("good", "OCSP of 2026-11-21")
    status, text = ocsp_verdict(answer(status=ocsp.OCSPCertStatus.REVOKED))
    assert status == "revoked" and text == "on 2026-11-19, reason keyCompromise, by OCSP"


def test_ocsp_by_a_responder_of_the_issuer():
    assert ocsp_verdict(answer(signer=responder(SUB)))[0] == "good"


@pytest.mark.parametrize(
    "data, word",
    [
        (b"", "not a valid OCSP answer"),
        (b"<html>", "not a valid OCSP answer"),
        (answer(status=ocsp.OCSPCertStatus.UNKNOWN), "does not know"),
        (answer(signer=responder(OTHER)), "not signed"),
        (answer(signer=responder(SUB, pki.SERVER)), "not signed"),
        (answer(leaf=SUB.issue("b.example")), "another certificate"),
        (answer(start=pki.NOW + pki.days(1)), "not of this time"),
        (answer(end=pki.NOW - datetime.timedelta(hours=1)), "not of this time"),
        (
            ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
                serialization.Encoding.DER
            ),
            "try_later",
        ),
    ],
)
def test_an_ocsp_answer_that_says_nothing_is_never_taken_for_good(data, word):
    status, text = ocsp_verdict(data)
    assert status == "unknown" and word in text


# --- over HTTP -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def web(pages):
    """(address, paths asked for) of an HTTP server on loopback. POST and GET give pages[path]; text: it moved there."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = pages.get(self.path)
            moved = isinstance(body, str)
            self.send_response(301 if moved else 404 if body is None else 200)
            if moved:
                self.send_header("Location", body)
                body = None
            self.end_headers()
            self.wfile.write(body or b"")

        do_POST = do_GET

        def log_message(self, *_arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield "http://127.0.0.1:{0}".format(server.server_port), asked
    finally:
        server.shutdown()
        server.server_close()


def named(base, crl_path="/crl", ocsp_path="/ocsp"):
    """A leaf that names these addresses."""
    key = pki.key("any")
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.name(NAME))
        .issuer_name(SUB.subject)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(naive(pki.NOW - pki.days(1)))
        .not_valid_after(naive(pki.NOW + pki.days(90)))
    )
    if crl_path:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(base + crl_path)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if ocsp_path:
        place = x509.UniformResourceIdentifier(base + ocsp_path)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return builder.sign(SUB.key, hashes.SHA256(), default_backend())


class Unredirected(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments):
        return None


def opener(url, data=None, headers=None, timeout=None, follow_redirects=None):
    """Ansible's open_url in the small: these tests also run where Ansible is not installed."""
    assert follow_redirects == "none"
    request = urllib.request.Request(url, data=data, headers=headers or {})
    return urllib.request.build_opener(Unredirected).open(request, timeout=timeout)


def new_network(seconds=3):
    return _revocation.Network(seconds, opener)


def found(leaf, mode, network=None):
    pairs = [(_cards.card(leaf), _cards.card(SUB.certificate))]
    rows = _revocation.check(pairs, mode, network or new_network(), pki.NOW)
    return [(row["code"], row["message"]) for row in rows]


@pytest.mark.parametrize("mode", ["crl", "ocsp", "both"])
def test_check_over_http(mode):
    pages = {}
    with web(pages) as (base, _asked):
        leaf = named(base)
        pages.update({"/crl": crl(), "/ocsp": answer(leaf)})
        assert found(leaf, mode) == []
        pages.update({"/crl": crl(serials=[77]), "/ocsp": answer(leaf, status=ocsp.OCSPCertStatus.REVOKED)})
        ((code, message),) = found(leaf, mode)
    assert code == "revoked" and NAME in message and "2026-11-19" in message


def test_one_revocation_is_enough_and_one_good_answer_suffices():
    pages = {}
    with web(pages) as (base, _asked):
        leaf = named(base)
        pages.update({"/crl": crl(serials=[77]), "/ocsp": answer(leaf)})
        assert [code for code, _message in found(leaf, "both")] == ["revoked"]
        pages.update({"/crl": b"junk", "/ocsp": answer(leaf)})
        assert found(leaf, "both") == []


@pytest.mark.parametrize("mode", ["crl", "ocsp", "both"])
def test_what_cannot_be_reached_is_a_warning(mode):
    with web({}) as (base, _asked):
        leaf = named(base)
        ((code, message),) = found(leaf, mode)
        assert code == "revocation_unknown" and "404" in message
    ((code, message),) = found(leaf, mode)
    assert code == "revocation_unknown" and "refused" in message


def test_certificates_that_name_nothing_and_other_schemes():
    assert "names no CRL" in found(named("x", None, None), "crl")[0][1]
    assert "names no OCSP" in found(named("x", None, None), "ocsp")[0][1]
    assert "no http address" in found(named("ldap://x"), "crl")[0][1]
    assert "no http address" in found(named("file:///etc/passwd#"), "crl")[0][1]


def test_the_delta_that_a_crl_names_is_fetched():
    pages = {}
    with web(pages) as (base, asked):
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(base + "/delta")], None, None, None)
        pages["/crl"] = crl(extensions=[(x509.FreshestCRL([point]), False)])
        ((code, message),) = found(named(base), "crl")
        assert code == "revocation_unknown" and "delta CRL is missing" in message and "404" in message
        pages["/delta"] = delta()
        assert found(named(base), "crl") == []
        pages["/delta"] = delta(serials=[77])
        assert [code for code, _message in found(named(base), "crl")] == ["revoked"]
    assert asked == ["/crl", "/delta"] * 3


def test_a_crl_is_fetched_once():
    with web({"/crl": crl()}) as (base, asked):
        network = new_network()
        for _time in range(3):
            assert found(named(base), "crl", network) == []
    assert asked == ["/crl"]


def test_a_server_that_speaks_no_http():
    with tls_zoo.says(b"\x00\x01junk\r\n\r\n") as port:
        ((code, _message),) = found(named("http://127.0.0.1:{0}".format(port)), "crl")
    assert code == "revocation_unknown"


def test_ansible_s_own_client_can_be_the_opener():
    urls = pytest.importorskip("ansible.module_utils.urls", reason="ansible-core is not installed for this Python")
    pages = {"/moved": "/crl"}
    with web(pages) as (base, asked):
        leaf = named(base, "/moved")
        pages.update({"/crl": crl(serials=[77]), "/ocsp": answer(leaf)})
        network = _revocation.Network(3, urls.open_url)
        assert [code for code, _message in found(leaf, "crl", network)] == ["revoked"]
        assert found(leaf, "ocsp", network) == []
        assert "404" in found(named(base, "/none"), "crl", network)[0][1]
    assert asked == ["/moved", "/crl", "/ocsp", "/none"]


@pytest.mark.parametrize(
    "target, word",
    [("ftp://127.0.0.1/x", "no http address"), ("file:///etc/passwd", "no http address"), ("/moved", "redirections")],
)
def test_redirections_lead_to_http_only_and_end(target, word):
    with web({"/moved": target}) as (base, asked):
        ((code, message),) = found(named(base, "/moved"), "crl")
    assert code == "revocation_unknown" and word in message and len(asked) <= 4


def test_a_moved_crl_is_found_and_a_moved_responder_is_not_followed():
    with web({"/moved": "/crl", "/crl": crl()}) as (base, _asked):
        assert found(named(base, "/moved", "/moved"), "crl") == []
        assert "301" in found(named(base, "/moved", "/moved"), "ocsp")[0][1]


def test_a_server_that_trickles_is_given_up():
    def drip(connection):
        connection.recv(4096)
        for _byte in range(100):
            connection.sendall(b"H")
            time.sleep(0.05)

    with tls_zoo.listening(drip) as port:
        begun = time.time()
        ((code, message),) = found(named("http://127.0.0.1:{0}".format(port)), "crl", new_network(0.2))
    assert code == "revocation_unknown" and "in time" in message and time.time() - begun < 3


def test_a_crl_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(_revocation, "LARGEST", 100)
    with web({"/crl": b"0" * 1000}) as (base, _asked):
        assert "more than 100 bytes" in found(named(base), "crl")[0][1]


def test_intermediates_are_looked_up_in_crls_only():
    with web({}) as (base, asked):
        network = new_network()
        card = dict(_cards.card(named(base)), ca=True)
        _revocation.check([(card, _cards.card(SUB.certificate))], "ocsp", network, pki.NOW)
    assert asked == ["/crl"]


NO_USAGE = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
NO_USAGE += ("key_cert_sign", "encipher_only", "decipher_only")


class KeyForCrls(object):
    """A second key of the CA Sub, for CRLs alone; `upper` gave it its certificate."""

    def __init__(self, base, upper=ROOT, crl_sign=True, end=None):
        self.key, self.subject = pki.key("sub's for CRLs"), SUB.subject
        usage = dict.fromkeys(NO_USAGE, False)
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(base + "/root")], None, None, None)
        builder = (
            x509.CertificateBuilder()
            .subject_name(SUB.subject)
            .issuer_name(upper.subject)
            .public_key(self.key.public_key())
            .serial_number(91)
            .not_valid_before(naive(pki.NOW - pki.days(9)))
            .not_valid_after(naive(end or pki.NOW + pki.days(90)))
            .add_extension(x509.KeyUsage(crl_sign=crl_sign, **usage), critical=True)
            .add_extension(x509.CRLDistributionPoints([point]), critical=False)
        )
        self.certificate = builder.sign(upper.key, hashes.SHA256(), default_backend())


@pytest.mark.parametrize(
    "serials, revoked, shape, code",
    [
        ([], [], {}, None),
        ([77], [], {}, "revoked"),
        ([], [91], {}, "revocation_unknown"),
        ([], [], {"upper": OTHER}, "revocation_unknown"),
        ([], [], {"crl_sign": False}, "revocation_unknown"),
        ([], [], {"end": pki.NOW - pki.days(1)}, "revocation_unknown"),
    ],
    ids=["good", "revoked", "its key revoked", "another CA's", "not for CRLs", "ended"],
)
def test_a_ca_with_a_key_of_its_own_for_crls(serials, revoked, shape, code):
    """As in PKITS 4.4.19 to 4.4.21: the certificate of that key is found among those at hand."""
    pages = {}
    with web(pages) as (base, _asked):
        signer = KeyForCrls(base, **shape)
        pages.update({"/crl": crl(signer, serials), "/root": crl(ROOT, revoked)})
        cards = [_cards.card(one) for one in (named(base), SUB.certificate, ROOT.certificate)]
        pairs = list(zip(cards, cards[1:]))
        findings = []
        for others in ([], [_cards.card(signer.certificate)]):
            rows = _revocation.check(pairs, "crl", new_network(), pki.NOW, (), others)
            findings.append([row["code"] for row in rows if NAME in row["message"]])
    assert findings == [["revocation_unknown"], [code] if code else []]


# --- x509-limbo ----------------------------------------------------------------------------------------------


def test_x509_limbo(shared):
    path = shared.parent / "suites" / "limbo.json.xz"
    if not path.is_file():
        pytest.skip("x509-limbo is not at {0}".format(path))
    with lzma.open(str(path)) as stream:
        cases = [one for one in json.loads(stream.read().decode("utf-8"))["testcases"] if "has-crl" in one["features"]]
    assert len(cases) == 8
    wrong = []
    for case in cases:
        (leaf,) = _x509.certificates_from_pem(case["peer_certificate"])
        issuers = [one for pem in case["trusted_certs"] for one in _x509.certificates_from_pem(pem)]
        (issuer,) = [one for one in issuers if one.subject == leaf.issuer]
        now = datetime.datetime.strptime(case["validation_time"][:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=pki.UTC)
        status, _text = _revocation.judge_crls(leaf, issuer, [one.encode("ascii") for one in case["crls"]], now)
        if (status == "good") is not (case["expected_result"] == "SUCCESS"):
            wrong.append(case["id"])
    assert wrong == []


# --- NIST PKITS ----------------------------------------------------------------------------------------------


def test_pkits(shared):
    """Sections 4.4 and 4.15: basic CRLs and delta CRLs."""
    vectors = pytest.importorskip("cryptography_vectors", reason="cryptography_vectors is not installed")
    path = shared.parent / "suites" / "pkits-manifest.json"
    if not path.is_file():
        pytest.skip("the list of PKITS runs is not at {0}".format(path))
    data = pathlib.Path(vectors.__file__).parent / "x509" / "PKITS_data"
    now = datetime.datetime(2012, 1, 1, tzinfo=pki.UTC)
    runs = json.loads(path.read_text(encoding="utf-8"))
    runs = [one for one in runs if one["number"].startswith(("4.4.", "4.15."))]
    assert len(runs) == 31
    wrong = {}
    for run in runs:
        chain = [_x509.certificate_from_der((data / "certs" / (one + ".crt")).read_bytes()) for one in run["certs"]]
        crls = [(data / "crls" / (one + ".crl")).read_bytes() for one in run["crls"]]
        verdicts = [pkits_verdict(child, chain, crls, now) for child in chain[1:]]
        if all(status == "good" for status, _text in verdicts) is not run["should_validate"]:
            wrong[run["number"]] = verdicts
    assert wrong == {}


def pkits_verdict(child, chain, crls, now):
    """Of one certificate of a run; a CA with a key of its own for CRLs (4.4.19 to 21) has two certificates there."""
    cards = [_cards.card(one) for one in chain]
    row = cards[chain.index(child)]
    issuer = next(one for one in cards if _cards.issues(one, row))
    upper = next((one for one in cards if one is not issuer and _cards.issues(one, issuer)), None)

    def is_good(certificate):
        return _revocation.judge_crls(certificate, upper["certificate"], crls, now)[0] == "good"

    signers = _revocation.crl_signers(issuer, upper, cards, now, is_good)
    return _revocation.judge_crls(child, issuer["certificate"], crls, now, signers)

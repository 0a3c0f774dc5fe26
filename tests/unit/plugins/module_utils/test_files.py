# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files judged without a connection: the same rules, stores, unreadable ones, and x509-limbo."""

import datetime
import json
import lzma
import os
import warnings

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _files, _judge, _lifecycle, _verify, _x509
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root")
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME)
CHAIN = pki.pem(LEAF, SUB.certificate)
HALF_A_MONTH = _lifecycle.parse_renew_before("15d")


def around(roots=None, now=pki.NOW, warn_before="1/3"):
    pem = pki.pem(ROOT.certificate) if roots is None else roots
    return _judge.Surroundings(_verify.Anchors(pem), "roots.pem", [], now, _lifecycle.parse_renew_before(warn_before))


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(str(tmp_path / "pipe.pem"))
    (result,) = run(tmp_path / "pipe.pem")
    assert [row["code"] for row in result["findings"]] == ["file_unreadable"]
    assert "a pipe" in result["findings"][0]["message"]
    assert _verify.known_cards([str(tmp_path)]) == _verify.known_cards([])


def run(path, **options):
    return _files.run([dict(options, path=str(path))], around())


def codes(path, **options):
    (result,) = run(path, **options)
    return [row["code"] for row in result["findings"]]


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "fullchain.pem"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("ascii"))
        return path

    return write


def test_a_right_file_has_no_finding(file):
    (result,) = run(file(CHAIN), server_name=NAME)
    assert result["findings"] == [] and result["ok"] is True
    assert result["file"].endswith("fullchain.pem") and result["host"] is None and result["days_left"] == 197


def test_the_summary_names_the_file(file):
    path = file(CHAIN)
    assert _verify.summary(run(path))[0].startswith("{0}: well, 197 days left".format(path))


def test_a_key_in_the_file_is_passed_over(file):
    assert codes(file(pki.key_pem(pki.key("any")).decode("ascii") + CHAIN)) == []


def test_windows_line_ends_and_a_byte_order_mark(file):
    assert codes(file(b"\xef\xbb\xbf" + CHAIN.replace("\n", "\r\n").encode("ascii"))) == []


def test_the_same_rules_as_for_endpoints(file):
    path = file(pki.pem(LEAF))
    assert codes(path) == ["chain_incomplete"]
    assert codes(path, server_name="other.example.ac.jp") == ["name_mismatch", "chain_incomplete"]
    assert codes(path, dns_names=["x.example.ac.jp"]) == ["names_missing", "chain_incomplete"]
    assert codes(path, certificate_sha256=_x509.sha256(LEAF).upper()) == ["chain_incomplete"]
    assert codes(path, certificate_sha256="0" * 64) == ["unexpected_certificate", "chain_incomplete"]


def test_der(file):
    assert codes(file(pki.der(LEAF))) == ["chain_incomplete"]


def test_a_store(tmp_path):
    for name in ("b.example.ac.jp", NAME):
        folder = tmp_path / name / "live"
        folder.mkdir(parents=True)
        (folder / "fullchain.pem").write_text(CHAIN, encoding="ascii")
    (tmp_path / "pending-only").mkdir()
    results = run(tmp_path)
    assert [(row["server_name"], [one["code"] for one in row["findings"]]) for row in results] == [
        ("b.example.ac.jp", ["name_mismatch"]),
        (NAME, []),
    ]


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "neither in PEM nor in DER"),
        (b"<!DOCTYPE html><html>", "neither in PEM nor in DER"),
        (b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "base64"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "no certificate"),
        (b"\x30" * (4 * 1024 * 1024 + 1), "larger than 4 MB"),
    ],
    ids=["empty", "html", "base64", "request", "huge"],
)
def test_files_that_hold_no_certificate(file, content, word):
    (result,) = run(file(content))
    assert [row["code"] for row in result["findings"]] == ["file_unreadable"]
    assert word in result["findings"][0]["message"] and result["ok"] is False and result["certificate"] is None


def test_an_absent_file_and_an_empty_folder(tmp_path):
    assert codes(tmp_path / "absent.pem") == ["file_unreadable"]
    assert codes(tmp_path) == ["file_unreadable"]


@pytest.mark.parametrize("place", [1, 100, 200, 400])
def test_a_damaged_certificate_is_a_finding(file, place):
    der = bytearray(pki.der(LEAF))
    der[place] ^= 0xFF
    assert codes(file(bytes(der))) != []


def test_thousands_of_names(file):
    leaf = SUB.issue(NAME, names=["n{0}.example.ac.jp".format(number) for number in range(5000)])
    (result,) = run(file(pki.pem(leaf, SUB.certificate)), server_name=NAME)
    assert [row["code"] for row in result["findings"]] == ["name_mismatch"]
    assert len(result["findings"][0]["message"]) < 1500


def test_a_nul_in_a_name_does_not_match(file):
    leaf = SUB.issue("x.example.ac.jp", names=[NAME + "\0.evil.example"])
    assert "name_mismatch" in codes(file(pki.pem(leaf, SUB.certificate)), server_name=NAME)


# --- the real certificates -----------------------------------------------------------------------------------

LEAVES = "shibbi-pki-itc-u-tokyo-ac-jp-{0}-rsa.pem"
SERVICE = "nii-open-domain-ca-{0}-rsa.pem"
CROSS = "secom-tls-rsa-root-ca-2024-cross-by-security-communication-rootca2.pem"


@pytest.mark.parametrize(
    "leaf, chain, generation, expected",
    [
        ("g8", ["g8", "cross"], "G8", []),
        ("g7", ["g7"], "G7", []),
        ("g8", ["g8"], "G8", ["cross_missing"]),
        ("g8", ["g7"], "G8", ["wrong_intermediate", "cross_missing"]),
        ("g7", ["g8", "cross"], "G7", ["wrong_intermediate"]),
    ],
)
def test_real_files(shared, tmp_path, leaf, chain, generation, expected):
    certs = shared / "certs"
    tail = [certs / "ca" / (CROSS if name == "cross" else SERVICE.format(name)) for name in chain]
    path = tmp_path / "fullchain.pem"
    path.write_text(
        "".join(one.read_text(encoding="ascii") for one in [certs / "leaf" / LEAVES.format(leaf)] + tail),
        encoding="ascii",
    )
    root = (certs / "ca" / "security-communication-rootca2-root.pem").read_text(encoding="ascii")
    march = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    wanted = {"path": str(path), "server_name": "shibbi.pki.itc.u-tokyo.ac.jp"}
    around = _judge.Surroundings(_verify.Anchors(root), "roots.pem", _verify.known_cards([]), march, HALF_A_MONTH)
    (result,) = _files.run([wanted], around)
    # Both leaves are from the time of longer validities, the G8 one from before the limit of 198 days.
    assert [row["code"] for row in result["findings"]] == expected
    assert result["certificate"]["generation"] == generation


# --- x509-limbo ----------------------------------------------------------------------------------------------

# Where this judgement differs from the suite's. Each was held against what clients do. What `openssl verify` refuses
# with its usual settings is an error here too, what only some clients refuse a warning of the code named; on the rest
# OpenSSL, also with X509_STRICT, and what browser makers write agree with the verdict here.
WARNED = {
    "rfc5280::aki::intermediate-missing-aki": "strict_clients",
    "rfc5280::aki::leaf-missing-aki": "strict_clients",
    "rfc5280::root-non-critical-basic-constraints": "strict_clients",
    "rfc5280::san::noncritical-with-empty-subject": "strict_clients",
    "rfc5280::ski::intermediate-missing-ski": "strict_clients",
    "rfc5280::ski::root-missing-ski": "strict_clients",
    "rfc5280::serial::negative": "ca_certificate",  # a CA for a server; no client looks at the sign
    "webpki::ee-basicconstraints-ca": "ca_certificate",
}
ACCEPTED = {
    "rfc5280::aki::cross-signed-root-missing-aki": "the store holds a CA that is not self-signed: browsers, curl and "
    "Python 3.13 end a chain there, and on a connection OpenSSL's own verdict is said as well",
    "rfc5280::nc::permitted-dns-match-noncritical": "name constraints count whether they are critical or not",
    "rfc5280::pc::ica-noncritical-pc": "no client asks for a policy, so policy constraints forbid nothing",
    "rfc5280::san::underscore-dns": "names with an underscore are resolved and accepted by all clients",
    "rfc5280::serial::too-long": "clients compare serial numbers, however long",
    "rfc5280::serial::zero": "Security Communication RootCA2, of which UPKI's chains hang, has the serial number zero",
    "webpki::aki::root-with-aki-missing-keyidentifier": "an empty identifier names nobody, and clients pass it over",
    "webpki::cn::case-mismatch": "the CN does not count; the names do, and they fit",
    "webpki::cn::ipv4-hex-mismatch": "the CN does not count",
    "webpki::cn::ipv4-leading-zeros-mismatch": "the CN does not count",
    "webpki::cn::ipv6-non-rfc5952-mismatch": "the CN does not count",
    "webpki::cn::ipv6-uncompressed-mismatch": "the CN does not count",
    "webpki::cn::ipv6-uppercase-mismatch": "the CN does not count",
    "webpki::cn::not-in-san": "the CN does not count",
    "webpki::cn::punycode-not-in-san": "the CN does not count",
    "webpki::cn::utf8-vs-punycode-mismatch": "the CN does not count",
    "webpki::eku::ee-anyeku": "clients take it; for one issued since 2019-07-01 there is a warning (Apple)",
    "webpki::eku::ee-critical-eku": "clients obey it in either form",
    "webpki::eku::ee-without-eku": "of 1970; for one issued since 2019-07-01 there is a warning (Apple)",
    "webpki::eku::root-has-eku": "a root's usages are the trust store's business",
    "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf": "RSA 2052 bit: clients take any size",
    "webpki::forbidden-rsa-not-divisible-by-8-in-root": "RSA 2052 bit: as above",
    "webpki::san::public-suffix-multi-label-wildcard-san": "needs the list of public suffixes, which changes weekly; "
    "no CA may issue it",
    "webpki::san::public-suffix-private-namespace-wildcard-san": "as above",
    "webpki::san::san-critical-with-nonempty-subject": "clients obey it in either form",
}
# Valid as certificates by the suite, but with keyCertSign as the only key usage no client accepts them from a server.
STRICTER = {"rfc5280::ca-as-leaf", "pathlen::validation-ignores-pathlen-in-leaf"}
UNSUPPORTED = {"has-crl", "max-chain-depth"}


@pytest.fixture(scope="module")
def limbo(shared):
    path = shared.parent / "suites" / "limbo.json.xz"
    if not path.is_file():
        pytest.skip("x509-limbo is not at {0}".format(path))
    with lzma.open(str(path)) as stream:
        return json.loads(stream.read().decode("utf-8"))["testcases"]


def moment(text):
    if not text:
        return datetime.datetime.now(datetime.timezone.utc)
    text = text.replace("+00:00", "").replace("Z", "").split(".")[0]
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)


def judged(case, folder):
    """(whether the chain is refused, all codes)"""
    path = folder / "limbo.pem"
    path.write_text("".join([case["peer_certificate"]] + case["untrusted_intermediates"]), encoding="ascii")
    name = (case["expected_peer_name"] or {}).get("value")
    surroundings = around("".join(case["trusted_certs"]), moment(case["validation_time"]), "1/1000")
    (result,) = _files.run([{"path": str(path), "server_name": name}], surroundings)
    return not result["ok"], [row["code"] for row in result["findings"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_x509_limbo(limbo, tmp_path):
    cases = [one for one in limbo if one["validation_kind"] == "SERVER" and not UNSUPPORTED & set(one["features"])]
    assert len(cases) > 180
    verdicts = {one["id"]: judged(one, tmp_path) for one in cases}
    wrong = {one["id"]: one for one in cases if verdicts[one["id"]][0] is (one["expected_result"] == "SUCCESS")}
    assert sorted(set(wrong) - set(ACCEPTED) - set(WARNED) - STRICTER) == []
    assert [name for name, code in WARNED.items() if verdicts[name][0] or code not in verdicts[name][1]] == []
    assert [name for name, one in wrong.items() if one["importance"] in ("critical", "high")] == []
    # What the suite holds to be right is neither called wrong here nor warned of.
    right = [one["id"] for one in cases if one["expected_result"] == "SUCCESS" and one["id"] not in STRICTER]
    assert [name for name in right if verdicts[name][0] or "strict_clients" in verdicts[name][1]] == []


def test_the_accepted_differences_are_still_differences(limbo, tmp_path):
    """So that the list holds nothing that was mended long since."""
    listed = {one["id"]: one for one in limbo if one["id"] in set(ACCEPTED) | set(WARNED) | STRICTER}
    assert set(listed) == set(ACCEPTED) | set(WARNED) | STRICTER
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused = {name for name, one in listed.items() if judged(one, tmp_path)[0]}
    assert refused == STRICTER

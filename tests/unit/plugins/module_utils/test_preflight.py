# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may not go live."""

import os
import ssl

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _asked, _preflight, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki
from cryptography.hazmat.primitives.asymmetric import x25519

NAME = "www.example.ac.jp"
ROOT = pki.CA("Preflight Root")
INTER = pki.CA("Preflight Inter", ROOT)
KEY = pki.key("leaf " + NAME)
SPKI = _x509.spki_sha256(KEY.public_key())


def candidate(leaf, chain=None):
    return _asked.Candidate(leaf, [INTER.certificate] if chain is None else chain, "inbox/x.cer", None, [])


def refused(code, leaf, wanted=(NAME,), chain=None, spki=SPKI):
    with pytest.raises(UpkiError) as caught:
        _preflight.check(candidate(leaf, chain), list(wanted), spki, pki.NOW)
    assert caught.value.code == code, str(caught.value)
    assert "inbox/x.cer" in caught.value.message
    return caught.value


def test_a_good_certificate_passes():
    _preflight.check(candidate(INTER.issue(NAME)), [NAME], SPKI, pki.NOW)


def test_another_key_names_both():
    leaf = INTER.issue(NAME, pki.key("other").public_key())
    error = refused("other_key", leaf)
    assert SPKI in error.message
    assert _x509.spki_sha256(leaf.public_key()) in error.message


def test_a_name_that_the_certificate_lacks_is_named():
    error = refused("names_missing", INTER.issue(NAME), [NAME, "example.ac.jp"])
    assert "lacks the name example.ac.jp" in error.message


@pytest.mark.parametrize("wanted", ["WWW.Example.AC.jp", "www.example.ac.jp.", " www.example.ac.jp"])
def test_upper_case_and_a_final_dot_are_the_same_name(wanted):
    _preflight.check(candidate(INTER.issue(NAME)), [wanted], SPKI, pki.NOW)


def test_upper_case_in_the_certificate_is_the_same_name():
    leaf = INTER.issue(NAME, names=["WWW.EXAMPLE.AC.JP"])
    _preflight.check(candidate(leaf), [NAME], SPKI, pki.NOW)


@pytest.mark.parametrize(
    "names, wanted, good",
    [
        (["*.example.ac.jp"], NAME, True),
        (["*.example.ac.jp"], "a.b.example.ac.jp", False),
        (["*.example.ac.jp"], "example.ac.jp", False),
        ([], NAME, True),  # no SAN at all: the CN counts
        (["other.example.ac.jp"], NAME, False),  # with a SAN the CN does not
    ],
)
def test_names_are_covered_as_clients_see_it(names, wanted, good):
    leaf = INTER.issue(NAME, names=names)
    assert _preflight.covers(_preflight.names_of(leaf), wanted) is good


def test_an_expired_certificate_is_refused():
    leaf = INTER.issue(NAME, start=pki.NOW - pki.days(100), end=pki.NOW - pki.days(1))
    error = refused("expired", leaf)
    assert "2026-11-21" in error.message
    # The cause may be a clock that is ahead.
    assert "{0:%Y-%m-%d} ".format(pki.NOW) in error.message
    assert "clock" in error.fix


def test_one_from_the_future_is_refused_but_a_slow_clock_is_forgiven():
    assert "valid only from" in refused("not_yet_valid", INTER.issue(NAME, start=pki.NOW + pki.days(1))).message
    leaf = INTER.issue(NAME, start=pki.NOW + _preflight.CLOCK)
    _preflight.check(candidate(leaf), [NAME], SPKI, pki.NOW)


def test_a_client_certificate_is_refused():
    refused("not_for_servers", INTER.issue(NAME, usages=[pki.CLIENT]))


def test_a_ca_certificate_is_refused():
    refused("is_a_ca", INTER.issue(NAME, ca=True))


def test_a_chain_in_the_wrong_order_or_of_another_ca_is_refused():
    above = pki.CA("Preflight Low", INTER)
    leaf = above.issue(NAME)
    _preflight.check(candidate(leaf, [above.certificate, INTER.certificate]), [NAME], SPKI, pki.NOW)
    refused("chain_broken", leaf, chain=[INTER.certificate, above.certificate])
    same_name = pki.CA("Preflight Inter", ROOT, label="another key")
    refused("chain_broken", INTER.issue(NAME), chain=[same_name.certificate])


def test_an_expired_intermediate_is_refused():
    ended = pki.CA("Preflight Inter", ROOT, label="Preflight Inter", end=pki.NOW - pki.days(1))
    refused("issuer_expired", INTER.issue(NAME), chain=[ended.certificate])


def test_all_faults_are_told_at_once():
    leaf = INTER.issue(NAME, pki.key("other").public_key(), usages=[pki.CLIENT], names=["x.example.ac.jp"])
    error = refused("other_key", leaf)
    assert [fault["code"] for fault in error.details["faults"]] == ["other_key", "names_missing", "not_for_servers"]
    places = [error.fix.index(words) for words in ("issued for this request", "IT centre", "サーバ証明書")]
    assert places == sorted(places)


# --- loading ---------------------------------------------------------------------------------------------------


def key_file(tmp_path, data):
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    return str(path)


def load_fails(code, tmp_path, key_data, pem=None):
    before = set(os.listdir(str(tmp_path)))
    with pytest.raises(UpkiError) as caught:
        _preflight.load(pem or pki.pem(INTER.issue(NAME), INTER.certificate), key_file(tmp_path, key_data))
    assert caught.value.code == code, str(caught.value)
    assert set(os.listdir(str(tmp_path))) <= before | {"key.pem"}
    return caught.value


@pytest.mark.parametrize("write", [pki.key_pem, pki.traditional_pem])
def test_the_files_load_with_their_key(tmp_path, write):
    _preflight.load(pki.pem(INTER.issue(NAME), INTER.certificate), key_file(tmp_path, write(KEY)))


def test_a_key_that_does_not_belong_is_refused(tmp_path):
    load_fails("key_mismatch", tmp_path, pki.key_pem(pki.key("other")))


@pytest.mark.parametrize("write", [pki.key_pem, pki.traditional_pem])
def test_a_key_with_a_passphrase_is_refused_without_a_prompt(tmp_path, write):
    error = load_fails("key_encrypted", tmp_path, write(KEY, b"secret"))
    assert "openssl pkey" in error.fix


@pytest.mark.parametrize("data", [b"", b"garbage", pki.key_pem(KEY)[:80]], ids=["empty", "garbage", "cut"])
def test_a_key_that_is_none_is_refused(tmp_path, data):
    load_fails("preflight_failed", tmp_path, data)


def test_a_kind_of_key_that_this_openssl_does_not_know_is_named(tmp_path):
    try:
        leaf = INTER.issue(NAME, x25519.X25519PrivateKey.generate().public_key())
    except TypeError:
        pytest.skip("this cryptography cannot make such a certificate")
    error = load_fails("key_type_refused", tmp_path, pki.key_pem(KEY), pki.pem(leaf))
    assert "x25519" in error.message
    assert ssl.OPENSSL_VERSION in error.message
    assert "key_type" in error.fix


def test_a_key_that_the_hosts_policy_forbids_is_named(tmp_path, monkeypatch):
    real = _preflight._context

    def strict():
        context = real()
        context.set_ciphers("ALL:@SECLEVEL=5")
        return context

    monkeypatch.setattr(_preflight, "_context", strict)
    error = load_fails("key_type_refused", tmp_path, pki.key_pem(KEY))
    assert "_KEY_TOO_SMALL" in error.message
    assert _x509.key_type(KEY.public_key()) in error.message


@pytest.mark.parametrize("reason", ["UNKNOWN_GROUP", "UNSUPPORTED_ALGORITHM", "X509_LIB"])
def test_what_older_openssl_says_of_a_key_it_lacks(tmp_path, monkeypatch, reason):
    class Lacking(object):
        def load_cert_chain(self, _fullchain, _key, _password):
            error = ssl.SSLError(1, "it does not load")
            error.reason = reason
            raise error

    monkeypatch.setattr(_preflight, "_context", Lacking)
    error = load_fails("key_type_refused", tmp_path, pki.key_pem(KEY), "no certificate\n")
    assert reason in error.message
    assert "unknown" in error.message


def test_a_missing_key_is_refused(tmp_path):
    with pytest.raises(UpkiError) as caught:
        _preflight.load(pki.pem(INTER.issue(NAME)), str(tmp_path / "nowhere.pem"))
    assert caught.value.code == "preflight_failed"
    assert "No such file" in caught.value.message


def test_a_certificate_that_openssl_cannot_read_is_refused(tmp_path):
    load_fails("preflight_failed", tmp_path, pki.key_pem(KEY), "no certificate\n")

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which chain is chosen, and what is said when none can be."""

import datetime
import random
import shutil
import subprocess

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _chain, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

UTC = datetime.timezone.utc
MARCH = datetime.datetime(2026, 3, 22, tzinfo=UTC)  # both real leaves are valid
G8 = "nii-open-domain-ca-g8-rsa.pem"
G7 = "nii-open-domain-ca-g7-rsa.pem"
CROSS = "secom-tls-rsa-root-ca-2024-cross-by-security-communication-rootca2.pem"
ROOT2 = "security-communication-rootca2-root.pem"
ROOT2024 = "secom-tls-rsa-root-ca-2024-root.pem"


def subjects(chain):
    return [_x509.name_value(certificate.subject, "CN") for certificate in chain.certificates]


def fails(code, *arguments):
    with pytest.raises(UpkiError) as caught:
        _chain.build(*arguments)
    assert caught.value.code == code, str(caught.value)
    return caught.value


# --- the real certificates -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared):
    """{file name: certificate}, CAs and leaves ('g7', 'g8')."""
    found = {}
    for path in (shared / "certs" / "ca").iterdir():
        found[path.name] = _x509.certificates_from_pem(path.read_text(encoding="ascii"))[0]
    for generation in ("g7", "g8"):
        (path,) = (shared / "certs" / "leaf").glob("*-{0}-rsa.pem".format(generation))
        found[generation] = _x509.certificates_from_pem(path.read_text(encoding="ascii"))[0]
    return found


def cas(real):
    return [certificate for name, certificate in sorted(real.items()) if name.endswith(".pem")]


@pytest.mark.parametrize("seed", range(4))
def test_the_g8_leaf_gets_g8_and_the_cross_whatever_else_lies_there(real, seed):
    pool = cas(real)
    random.Random(seed).shuffle(pool)
    chain = _chain.build(real["g8"], pool, [], MARCH)
    assert chain.certificates == [real[G8], real[CROSS]]
    assert chain.anchor["subject"].endswith("Security Communication RootCA2")
    assert chain.notices == []


def test_the_g7_leaf_gets_g7_alone(real):
    assert _chain.build(real["g7"], cas(real), [], MARCH).certificates == [real[G7]]


def test_a_g7_ecc_leaf_gets_g7_ecc_alone_and_a_g8_ecc_leaf_also_its_cross(real):
    # There is no real ECC leaf here: the intermediate stands for one, so it is not in the result itself.
    later = MARCH.replace(month=12)
    assert _chain.build(real["nii-open-domain-ca-g7-ecc.pem"], cas(real), [], later).certificates == []
    chain = _chain.build(real["nii-open-domain-ca-g8-ecc.pem"], cas(real), [], later)
    assert chain.certificates == [real["secom-tls-ecc-root-ca-2024-cross-by-security-communication-ecc-rootca1.pem"]]
    assert "Security Communication ECC RootCA1" in chain.anchor["subject"]


def test_given_roots_change_nothing_for_upki(real):
    roots = [real[ROOT2], real[ROOT2024]]
    assert _chain.build(real["g8"], cas(real), roots, MARCH).certificates == [real[G8], real[CROSS]]


def test_the_cross_is_left_out_once_it_has_expired(real):
    chain = _chain.build(real["g8"], cas(real), [], datetime.datetime(2029, 6, 1, tzinfo=UTC))
    assert chain.certificates == [real[G8]]
    assert "2024" in chain.anchor["subject"]


def test_a_leaf_of_the_time_before_2018_gets_the_g4_of_that_time(real):
    # G4 signs nothing any more; its first issue served until 2024 and the second may not sign servers.
    moment = datetime.datetime(2022, 1, 1, tzinfo=UTC)
    for name, expected in (("20141225", ""), ("20210712", "not_for_servers")):
        issuer = real["nii-open-domain-ca-g4-{0}.pem".format(name)]
        assert _chain.unfit(issuer, 0, moment) == expected


@pytest.mark.parametrize("generation", ["g7", "g8"])
def test_openssl_agrees_with_only_the_old_root_trusted(real, shared, tmp_path, generation):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command here")
    chain = _chain.build(real[generation], cas(real), [], MARCH)
    (tmp_path / "leaf.pem").write_text(_x509.pem(real[generation]))
    (tmp_path / "chain.pem").write_text("".join(_x509.pem(one) for one in chain.certificates))
    command = [openssl, "verify", "-attime", str(int(MARCH.timestamp())), "-purpose", "sslserver", "-no-CApath"]
    command += ["-CAfile", str(shared / "certs" / "ca" / ROOT2), "-untrusted", str(tmp_path / "chain.pem")]
    answer = subprocess.run(
        command + [str(tmp_path / "leaf.pem")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_no_intermediate_names_file_address_fingerprint_and_the_cross_as_well(real):
    error = fails("intermediate_missing", real["g8"], [], [], MARCH)
    assert "nii-odca4g8rsa-pem.cer" in error.fix
    assert _x509.sha256(real[G8]) in error.fix
    assert "tlsrsarootca2024cross-pem.cer" in error.fix
    assert error.details["missing"]["url"].startswith("https://repo1.secomtrust.net/")


def test_another_generation_is_named_with_the_dates(real):
    error = fails("wrong_generation", real["g8"], [real[G7]], [], MARCH)
    assert "G8" in error.message and "G7" in error.message and "2025-12-17" in error.message
    error = fails("wrong_generation", real["g7"], [real[G8], real[CROSS]], [], MARCH)
    assert "nii-odca4g7rsa.cer" in error.fix


def test_the_missing_cross_is_named(real):
    error = fails("cross_missing", real["g8"], [real[G8]], [], MARCH)
    assert "tlsrsarootca2024cross-pem.cer" in error.fix
    assert _x509.sha256(real[CROSS]) in error.fix


def test_the_new_root_in_place_of_the_cross_is_not_served_and_not_enough(real):
    fails("cross_missing", real["g8"], [real[G8], real[ROOT2024]], [], MARCH)


def stray(issuer):
    """A leaf that bears the name of a real issuer, whose key nobody here has: only what is said of it can be shown."""
    ca = pki.CA("Stand-in")
    ca.subject = issuer.subject
    return ca.issue("www.example.ac.jp")


@pytest.mark.parametrize(
    "issued_by, lying_there, words",
    [
        ("g4-20141225", "g5-20180322", ["G4, in use until 2018-03-26", "generation G5"]),
        ("g5-20180322", "g4-20141225", ["G5, in use from 2018-03-26 to 2020-12-24", "generation G4"]),
    ],
)
def test_the_switch_of_2018_has_its_own_message(real, monkeypatch, issued_by, lying_there, words):
    issuer, other = (real["nii-open-domain-ca-{0}.pem".format(name)] for name in (issued_by, lying_there))
    key = _x509.subject_key_id(issuer)
    found = _x509.authority_key_id
    leaf = stray(issuer)
    monkeypatch.setattr(_x509, "authority_key_id", lambda one: key if one == leaf else found(one))
    moment = datetime.datetime(2018, 5, 1, tzinfo=UTC)
    error = fails("wrong_generation", leaf, [other], [], moment)
    assert all(text in error.message for text in words), error.message


def test_a_generation_of_which_nothing_serves_any_more_is_called_so(real, monkeypatch):
    issuer = real["nii-open-domain-ca-g4-20141225.pem"]
    key, found = _x509.subject_key_id(issuer), _x509.authority_key_id
    leaf = stray(issuer)
    monkeypatch.setattr(_x509, "authority_key_id", lambda one: key if one == leaf else found(one))
    error = fails("generation_ended", leaf, [], [], MARCH)
    assert "G4, in use until 2018-03-26" in error.message and "campus.upki.request" in error.fix


def test_a_generation_that_the_catalogue_does_not_know_works_with_its_root_and_says_what_lacks_without():
    root = pki.CA("Some Root")
    for generation in ("G2", "G9"):
        inter = pki.CA("NII Open Domain CA - {0}".format(generation), root)
        leaf = inter.issue("www.example.ac.jp")
        error = fails("intermediate_missing", leaf, [], [], pki.NOW)
        assert "update the collection" in error.fix and "upki_roots" in error.fix
        chain = _chain.build(leaf, [inter.certificate], [root.certificate], pki.NOW)
        assert chain.certificates == [inter.certificate]
        assert [notice["code"] for notice in chain.notices] == ["unknown_ca"]


def flipped(certificate):
    """The certificate with a bit of its signature turned."""
    data = bytearray(pki.der(certificate))
    data[-5] ^= 1
    return _x509.certificate_from_der(bytes(data))


def test_a_damaged_leaf_is_called_damaged_and_not_of_another_key(real):
    error = fails("certificate_damaged", flipped(real["g8"]), cas(real), [], MARCH)
    assert str(real["g8"].serial_number) in error.message and "Save both again" in error.fix


def test_a_damaged_intermediate_is_called_damaged(real, lab):
    pool = [flipped(real[G8]), real[CROSS]]
    assert "G8 RSA" in fails("certificate_damaged", real["g8"], pool, [], MARCH).message
    pool = [flipped(lab["inter"].certificate)]
    error = fails("certificate_damaged", lab["leaf"], pool, certificates(lab, "new"), pki.NOW)
    assert "'C=JP, O=Example CA, Ltd., CN=Inter'" in error.message and "CN=New Root" in error.message


def test_a_damaged_one_beside_a_good_one_does_no_harm(real):
    pool = [flipped(real[G8]), flipped(real[CROSS])] + cas(real)
    assert _chain.build(real["g8"], pool, [], MARCH).certificates == [real[G8], real[CROSS]]


def test_of_two_that_serve_equally_the_one_that_comes_first_is_taken(lab):
    twin = pki.CA("Inter", lab["new"], label="Inter", end=pki.NOW + pki.days(77)).certificate
    for pool in ([twin] + certificates(lab, "inter"), certificates(lab, "inter") + [twin]):
        assert _chain.build(lab["leaf"], pool, certificates(lab, "new"), pki.NOW).certificates == pool[:1]


# --- any CA -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab():
    """leaf <- inter <- new root; cross: the new root's key signed by the old root."""
    old = pki.CA("Old Root", start=pki.NOW - pki.days(4000))
    new = pki.CA("New Root")
    cross = pki.CA("New Root", old, label="New Root")
    inter = pki.CA("Inter", new)
    return {"old": old, "new": new, "cross": cross, "inter": inter, "leaf": inter.issue("www.example.ac.jp")}


def certificates(lab, *names):
    return [lab[name].certificate for name in names]


def test_any_ca_works_with_its_root_given(lab):
    chain = _chain.build(lab["leaf"], certificates(lab, "inter"), certificates(lab, "new"), pki.NOW)
    assert subjects(chain) == ["Inter"]
    assert [notice["code"] for notice in chain.notices] == ["unknown_ca"]


def test_of_two_unknown_roots_the_older_one_wins_over_the_cross(lab):
    chain = _chain.build(lab["leaf"], certificates(lab, "inter", "cross"), certificates(lab, "new", "old"), pki.NOW)
    assert chain.certificates == certificates(lab, "inter", "cross")


def test_an_expired_cross_is_left_out(lab):
    cross = pki.CA("New Root", lab["old"], label="New Root", end=pki.NOW - pki.days(1))
    pool = certificates(lab, "inter") + [cross.certificate]
    chain = _chain.build(lab["leaf"], pool, certificates(lab, "new", "old"), pki.NOW)
    assert chain.certificates == certificates(lab, "inter")


def test_the_root_is_never_served_even_when_it_lies_among_the_intermediates(lab):
    pool = certificates(lab, "inter", "new", "cross", "old")
    chain = _chain.build(lab["leaf"], pool, certificates(lab, "new"), pki.NOW)
    assert chain.certificates == certificates(lab, "inter")


def test_a_root_among_the_intermediates_is_not_trusted(lab):
    error = fails("untrusted_chain", lab["leaf"], certificates(lab, "inter", "new"), [], pki.NOW)
    assert "New Root" in error.message


def test_nothing_at_hand_names_the_issuer_and_its_key(lab):
    error = fails("intermediate_missing", lab["leaf"], [], certificates(lab, "new"), pki.NOW)
    assert "CN=Inter" in error.message
    assert _x509.subject_key_id(lab["inter"].certificate) in error.message


def test_cas_that_signed_each_other_many_times_over_are_refused_and_not_tried_for_ever():
    a, b = pki.CA("Mesh A"), pki.CA("Mesh B")
    pool = []
    for number in range(12):  # 12 to the power of 8 paths
        end = pki.NOW + pki.days(1000 + number)
        pool += [pki.CA("Mesh A", b, end=end).certificate, pki.CA("Mesh B", a, end=end).certificate]
    error = fails("chain_endless", a.issue("www.example.ac.jp"), pool, [], pki.NOW)
    assert "CN=Mesh" in error.message


def test_a_missing_step_above_is_named(lab):
    error = fails("untrusted_chain", lab["leaf"], certificates(lab, "inter"), certificates(lab, "old"), pki.NOW)
    assert "CN=New Root" in error.message


@pytest.mark.parametrize(
    "shape, code, words",
    [
        ({"end": pki.NOW - pki.days(1)}, "issuer_expired", "has expired"),
        ({"start": pki.NOW + pki.days(1)}, "issuer_unfit", "not valid yet"),
        ({"usages": [pki.CLIENT]}, "issuer_unfit", "lacks serverAuth"),
        ({"ca": False}, "issuer_unfit", "no CA certificate"),
        ({"label": "Inter, another key"}, "issuer_unfit", "another key"),
    ],
)
def test_an_issuer_that_does_not_serve_is_refused_with_the_reason(lab, shape, code, words):
    bad = pki.CA("Inter", lab["new"], **dict({"label": "Inter"}, **shape))
    error = fails(code, lab["leaf"], [bad.certificate], certificates(lab, "new"), pki.NOW)
    assert words in error.message


def test_of_several_issues_of_one_ca_the_fit_one_is_taken(lab):
    pool = [
        pki.CA("Inter", lab["new"], label="Inter", end=pki.NOW - pki.days(1)).certificate,
        pki.CA("Inter", lab["new"], label="Inter", usages=[pki.CLIENT]).certificate,
        pki.CA("Inter", lab["new"], label="Inter, another key").certificate,
    ]
    chain = _chain.build(lab["leaf"], pool + certificates(lab, "inter"), certificates(lab, "new"), pki.NOW)
    assert chain.certificates == certificates(lab, "inter")


def test_a_path_length_of_the_ca_is_kept(lab):
    short = pki.CA("Short", lab["new"], path_length=0)
    below = pki.CA("Below", short)
    leaf = below.issue("www.example.ac.jp")
    pool = [short.certificate, below.certificate]
    error = fails("issuer_unfit", leaf, pool, certificates(lab, "new"), pki.NOW)
    assert "allows fewer" in error.message
    assert subjects(_chain.build(short.issue("a.example.ac.jp"), pool, certificates(lab, "new"), pki.NOW)) == ["Short"]


def test_an_expired_root_ends_no_chain(lab):
    ended = pki.CA("Ended Root", end=pki.NOW - pki.days(1))
    leaf = ended.issue("www.example.ac.jp")
    error = fails("issuer_expired", leaf, [], [ended.certificate], pki.NOW)
    assert "Ended Root" in error.message


def test_a_self_signed_leaf_is_refused(lab):
    lonely = pki.CA("www.example.ac.jp", ca=False)
    error = fails("untrusted_chain", lonely.certificate, certificates(lab, "inter"), [], pki.NOW)
    assert "self-signed" in error.message


def test_a_certificate_whose_name_alone_is_upkis_is_not_trusted():
    # The catalogue trusts by SHA-256; a CA that only bears the subject and its leaf get nowhere.
    false_g8 = pki.CA("NII Open Domain CA - G8 RSA")
    fails("intermediate_missing", false_g8.issue("www.example.ac.jp"), [false_g8.certificate], [], pki.NOW)


def test_two_cas_that_sign_each_other_end_the_search(lab):
    one = pki.CA("Ring A", pki.CA("Ring B"))
    two = pki.CA("Ring B", pki.CA("Ring A"))
    leaf = pki.CA("Ring A").issue("www.example.ac.jp")
    fails("untrusted_chain", leaf, [one.certificate, two.certificate], certificates(lab, "new"), pki.NOW)

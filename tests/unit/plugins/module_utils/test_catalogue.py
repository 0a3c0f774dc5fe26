# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue says what the certificates say."""

import datetime

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _catalogue, _x509

UTC = datetime.timezone.utc
TEXT = "%Y-%m-%dT%H:%M:%SZ"


@pytest.fixture(scope="module")
def real(shared):
    files = sorted((shared / "certs" / "ca").iterdir())
    return [_x509.certificates_from_pem(path.read_text(encoding="ascii"))[0] for path in files]


def recomputed(certificate):
    return {
        "key": _x509.key_type(certificate.public_key()),
        "subject": _x509.name_text(certificate.subject),
        "issuer": _x509.name_text(certificate.issuer),
        "subject_key_id": _x509.subject_key_id(certificate),
        "authority_key_id": _x509.authority_key_id(certificate),
        "sha256": _x509.sha256(certificate),
        "not_before": _x509.not_before(certificate).strftime(TEXT),
        "not_after": _x509.not_after(certificate).strftime(TEXT),
        "server_auth": _x509.allows_server_auth(certificate),
    }


def test_every_published_ca_certificate_has_a_row_and_each_row_is_true(real):
    assert {_x509.sha256(certificate) for certificate in real} == {row["sha256"] for row in _catalogue.ROWS}
    for certificate in real:
        row = _catalogue.pinned(_x509.sha256(certificate))
        assert {key: row[key] for key in recomputed(certificate)} == recomputed(certificate)
        assert (row["role"] == "root") == _x509.is_self_signed(certificate)


def test_every_intermediate_and_cross_leads_to_a_root_of_the_catalogue():
    for row in _catalogue.ROWS:
        if row["role"] != "root":
            root = _catalogue.root_of(row)
            assert root is not None, row["subject"]
            assert root["role"] == "root"


def test_the_new_roots_are_not_widely_trusted_and_have_a_cross_certificate():
    for row in _catalogue.ROWS:
        if row["role"] == "root" and "2024" in row["subject"]:
            assert not row["widely_trusted"]
            crosses = _catalogue.by_key(row["subject"], row["subject_key_id"], ("cross",))
            assert [_catalogue.root_of(cross)["widely_trusted"] for cross in crosses] == [True]


def test_a_url_names_a_file_and_where_tells_file_address_and_fingerprint():
    for row in _catalogue.ROWS:
        if row["url"]:
            assert row["url"].startswith("https://")
            assert _catalogue.file_name(row).endswith(".cer")
            assert _catalogue.file_name(row) in _catalogue.where(row)
        assert row["sha256"] in _catalogue.where(row)


@pytest.mark.parametrize(
    "generation, key, words",
    [
        ("G4", "rsa2048", "2018-03-26"),
        ("G5", "rsa2048", "2018-03-26"),
        ("G7", "rsa2048", "2025-12-16"),
        ("G7", "p384", "2026-08-05"),
        ("G8", "rsa2048", "2025-12-17"),
        ("G9", "rsa2048", ""),
    ],
)
def test_the_switch_dates_explain_a_generation(generation, key, words):
    said = _catalogue.period({"generation": generation, "key": key})
    assert words in said
    assert bool(said) == bool(words)


def test_every_intermediate_has_its_period():
    assert all(_catalogue.period(row) for row in _catalogue.ROWS if row["role"] == "intermediate")


def test_a_root_without_cn_is_named_by_its_whole_subject():
    names = {_catalogue.common_name(row) for row in _catalogue.ROWS}
    assert "NII Open Domain CA - G8 RSA" in names
    assert "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2" in names


def test_a_client_only_reissue_and_an_ended_certificate_are_not_usable():
    now = datetime.datetime(2026, 11, 22, tzinfo=UTC)
    fourth = [row for row in _catalogue.ROWS if row["generation"] == "G4"]
    assert [_catalogue.usable(row, now) for row in fourth] == [False, False]
    assert _catalogue.valid(fourth[1], now)
    assert not _catalogue.valid(fourth[0], now)
    assert _catalogue.usable(fourth[0], now.replace(year=2017))


def test_nothing_is_pinned_for_a_stranger():
    assert _catalogue.pinned("0" * 64) is None

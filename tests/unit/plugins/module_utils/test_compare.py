# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings that need more than one endpoint."""

import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _compare


def result(host, sha256, spki="k1", not_before="2026-10-01T00:00:00Z", **changes):
    leaf = {"sha256": sha256, "spki_sha256": spki, "not_before": not_before}
    made = {"host": host, "port": 443, "server_name": host, "address": None, "certificate": leaf, "findings": []}
    return dict(made, **changes)


def codes(*results):
    return [[row["code"] for row in one["findings"]] for one in _compare.together(list(results))]


def test_one_certificate_at_several_endpoints_is_well():
    assert codes(result("a", "c1"), result("b", "c1")) == [[], []]


def test_different_keys_are_well():
    assert codes(result("a", "c1"), result("b", "c2", "k2")) == [[], []]


def test_key_reused():
    assert codes(result("a", "c1"), result("b", "c2"), result("c", "c3", "k3")) == [["key_reused"], ["key_reused"], []]


def test_key_reused_names_the_others_and_not_a_thousand():
    rows = [result("h{0:03d}".format(number), "c{0}".format(number)) for number in range(20)]
    _compare.together(rows)
    assert "h001:443, h002:443, h003:443, h004:443, h005:443 and 14 more" in rows[0]["findings"][0]["message"]


def test_mixed_certificates_are_told_of_the_older_one():
    old = result("a", "c1", "k1", "2026-04-01T00:00:00Z", address="192.0.2.1")
    new = result("a", "c2", "k2", "2026-10-01T00:00:00Z", address="192.0.2.2")
    assert codes(old, new) == [["mixed_certificates"], []]
    assert "a:443 [192.0.2.2]" in old["findings"][0]["message"] and "2026-10-01" in old["findings"][0]["message"]


def test_another_port_is_another_service():
    old = result("a", "c1", "k1", "2026-04-01T00:00:00Z")
    assert codes(old, dict(result("a", "c2", "k2"), port=8443)) == [[], []]


def test_endpoints_without_a_certificate_are_passed_over():
    assert codes(result("a", "c1"), result("b", "c2", certificate=None)) == [[], []]


@pytest.mark.parametrize("certificates", [1, 3000], ids=["one", "different"])
def test_thousands_that_share_a_key_take_no_minutes(certificates):
    rows = [result("h{0}".format(number), "c{0}".format(number % certificates)) for number in range(3000)]
    started = time.process_time()
    _compare.together(rows)
    assert time.process_time() - started < 30  # each with each took minutes once
    assert len(rows[0]["findings"]) == (certificates > 1)


# --- with the store ------------------------------------------------------------------------------------------


def stored(*generations):
    return [{"name": "a", "generations": generations}]


@pytest.mark.parametrize(
    "expected, found",
    [
        (None, []),
        (stored(), []),
        (stored({"serial": "1", "spki_sha256": "k1"}), ["key_reused"]),
        (stored({"serial": "2", "spki_sha256": "k1"}), []),  # the certificate itself
        (stored({"serial": "1", "spki_sha256": "k2"}, {"serial": None, "spki_sha256": None}), []),
        ([{"name": "a", "generations": None}, {"name": "b"}], []),
    ],
)
def test_keys_of_old_generations(expected, found):
    one = result("a", "c1")
    one["certificate"]["serial"] = "2"
    _compare.with_store([one, result("b", "", certificate=None)], expected)
    assert [row["code"] for row in one["findings"]] == found
    assert all("serial 1" in row["message"] and "UPKI refuses" in row["fix"] for row in one["findings"])

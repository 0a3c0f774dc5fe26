# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments, thresholds, and when a certificate of any lifetime is due."""

import datetime
import fractions

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _validity
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.lifecycle_helpers import (
    DAY,
    UTC,
    codes,
    decide,
    old,
)


@pytest.mark.parametrize(
    "text, expected",
    [("1/3", fractions.Fraction(1, 3)), (" 2/5 ", fractions.Fraction(2, 5)), ("30d", 30 * DAY), ("1d", DAY)],
)
def test_renew_before(text, expected):
    assert _validity.parse_renew_before(text) == expected


@pytest.mark.parametrize("text", ["", "0/3", "3/3", "4/3", "1/0", "-1/3", "0d", "30", "d", "30 days", "1.5d", None])
def test_renew_before_refused(text):
    with pytest.raises(UpkiError) as caught:
        _validity.parse_renew_before(text)
    assert caught.value.code == "renew_before_invalid"
    assert caught.value.fix


# lifetime in days, days before the end at which it is due by default. Source: CA/B and UPKI limits.
LIFETIMES = [(396, 132), (198, 66), (100, 33), (47, 15)]


@pytest.mark.parametrize("days, before", LIFETIMES)
def test_due_by_the_certificates_own_lifetime(days, before):
    assert decide(live=old(age=days - before - 1, days=days)).reason_code == "live"
    assert decide(live=old(age=days - before, days=days)).reason_code == "due"
    assert "renew_before_short" not in codes(decide(live=old(days=days)))


@pytest.mark.parametrize("days, before", LIFETIMES)
def test_due_by_days(days, before):
    assert decide(live=old(age=days - 31, days=days), renew_before="30d").reason_code == "live"
    assert decide(live=old(age=days - 30, days=days), renew_before="30d").reason_code == "due"


def test_more_days_than_the_lifetime_do_not_mean_a_request_a_day():
    found = decide(live=old(age=1, days=47), renew_before="60d")
    assert (found.action, codes(found)) == ("none", ["renew_before_too_long"])
    assert decide(live=old(age=33, days=47), renew_before="60d").reason_code == "due"


def test_less_time_than_the_application_takes():
    assert codes(decide(live=old(), renew_before="10d")) == ["renew_before_short"]
    assert codes(decide(live=old(), renew_before="10d", lead_time=10)) == []


def test_last_day_to_apply():
    end = datetime.datetime(2027, 3, 6, 1, 53, 20, tzinfo=UTC)
    assert _validity.iso(_validity.last_day_to_apply(end)) == "2027-02-20T01:53:20Z"
    assert _validity.iso(_validity.last_day_to_apply(end, 0)) == "2027-03-06T01:53:20Z"


def test_a_certificate_that_is_not_valid_yet_means_a_wrong_clock():
    found = decide(live=old(age=-3))
    assert (found.action, codes(found)) == ("none", ["clock_behind"])


@pytest.mark.parametrize("days, expected", [(0, 0), (0.9, 0), (1, 1), (-0.1, -1), (-1, -1)])
def test_days_are_rounded_down(days, expected):
    start = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    assert _validity.days_between(start, start + days * DAY) == expected


def test_iso_and_back():
    when = datetime.datetime(2027, 3, 6, 1, 53, 20, tzinfo=UTC)
    assert _validity.parse_iso(_validity.iso(when)) == when
    assert _validity.parse_iso("yesterday") is None
    assert _validity.parse_iso(None) is None

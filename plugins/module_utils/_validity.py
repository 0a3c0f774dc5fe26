# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments, days, and when a certificate is due. Moments are aware datetimes in UTC; `now` is in seconds since 1970."""

import datetime
import fractions
import re

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
DEFAULT_RENEW_BEFORE = "1/3"
DEFAULT_LEAD_TIME = 14  # days that an application on paper takes


def moment(now):
    """Aware datetime of seconds since 1970."""
    return datetime.datetime.fromtimestamp(now, UTC)


def day(when):
    """'2026-11-22' in UTC."""
    return when.strftime("%Y-%m-%d")


def iso(when):
    """'2026-11-22T05:00:00Z'."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_iso(text):
    """The moment that iso() wrote, or None."""
    try:
        return datetime.datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def days_between(start, end):
    """Whole days from start to end, rounded down; negative once the end has passed."""
    return int((end - start) // DAY)


def parse_renew_before(text):
    """'1/3' (of the certificate's own lifetime) → Fraction; '30d' → timedelta. UpkiError for anything else."""
    text = str(text).strip()
    match = re.match(r"^(\d{1,6})/(\d{1,6})$", text)
    if match and 0 < int(match.group(1)) < int(match.group(2)):
        return fractions.Fraction(int(match.group(1)), int(match.group(2)))
    match = re.match(r"^(\d{1,4})d$", text)
    if match and int(match.group(1)) > 0:
        return int(match.group(1)) * DAY
    raise UpkiError(
        "renew_before_invalid",
        "renew_before '{0}' is neither a fraction of the lifetime between 0 and 1 nor a number of days.".format(
            text[:40]
        ),
        "Write it like 1/3 or 30d.",
    )


def span(lifetime, renew_before):
    """(timedelta before the end, True when the configured days had to give way)."""
    if isinstance(renew_before, fractions.Fraction):
        seconds = lifetime.total_seconds() * renew_before.numerator / renew_before.denominator
        return datetime.timedelta(seconds=seconds), False
    if renew_before < lifetime:
        return renew_before, False
    # More days than the certificate lives would mean a new application every day.
    return span(lifetime, parse_renew_before(DEFAULT_RENEW_BEFORE))[0], True


def renew_at(not_before, not_after, renew_before):
    """The moment from which a certificate is due. renew_before: text or what parse_renew_before() gave."""
    if isinstance(renew_before, str):
        renew_before = parse_renew_before(renew_before)
    return not_after - span(not_after - not_before, renew_before)[0]


def last_day_to_apply(not_after, lead_time=DEFAULT_LEAD_TIME):
    """The last sensible moment for the application: lead_time days before the end."""
    return not_after - lead_time * DAY

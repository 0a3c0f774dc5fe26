# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts and wishes for the tests of decisions."""

import datetime

from ansible_collections.campus.upki.plugins.module_utils import _lifecycle

UTC = datetime.timezone.utc
NOW = 1795305600  # 2026-11-22T00:00:00Z
DAY = datetime.timedelta(days=1)
NAME = "www.example.ac.jp"
SUBJECT = {"organization": "Example University", "state": "Tokyo", "locality": "Chofu"}
MANAGER = {"name": "A", "affiliation": "B", "email": "a@example.ac.jp"}


def flat(**more):
    values = {"name": NAME, "subject": SUBJECT, "dns_names": [], "key_type": "p384", "software": "nginx"}
    return _lifecycle.flat(**dict(values, manager=MANAGER, **more))


def wanted(**more):
    view = {key: more.pop(key) for key in ("dns_names", "key_type", "software") if key in more}
    values = {"name": NAME, "subject": SUBJECT, "state": "present", "kind": None, "serial": None}
    values["key_type"] = view.get("key_type", "p384")
    values["flat"] = flat(**view)
    return dict(values, **more)


def old(age=10, days=198, **more):
    """Facts of a certificate issued `age` days before NOW."""
    start = datetime.datetime.fromtimestamp(NOW, UTC) - age * DAY
    values = {
        "source": "the store",
        "generation": "20261101T000000Z-01234567",
        "serial": "4711",
        "not_before": start,
        "not_after": start + days * DAY,
        "cn": NAME,
        "ou": "",
        "subject": {"O": "Example University", "L": "Chofu", "ST": "Tokyo"},
        "issuer": "NII Open Domain CA - G8 RSA",
        "upki": True,
        "requested_names": {NAME},
        "key_type": "p384",
    }
    return dict(values, **more)


def request(**more):
    values = {
        "generation": "20261120T000000Z-89abcdef",
        "created": datetime.datetime.fromtimestamp(NOW, UTC) - 2 * DAY,
        "kind": "server_issue",
        "serial": None,
        "replaces": None,
        "flat": flat(),
    }
    return dict(values, **more)


def facts(live=None, olds=None, pending=None, orphan=None):
    return {"live": live, "olds": olds or ([live] if live else []), "pending": pending, "orphan": orphan}


def decide(wish=None, now=NOW, renew_before="1/3", lead_time=14, **found):
    return _lifecycle.decide(wish or wanted(), facts(**found), now, renew_before, lead_time)


def codes(decision):
    return [row["code"] for row in decision.warnings]

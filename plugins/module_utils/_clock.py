# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's clock beside the controller's: whether what is due depends on which of them is right."""

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._lifecycle import warning
from ansible_collections.campus.upki.plugins.module_utils._validity import iso, moment, parse_iso

TOLERANCE = 3600  # seconds between them that are no matter, because what is due is counted in days
REMEDY = "Set the clock that is wrong (timedatectl)"


def controllers(text, now):
    """The controller's time in seconds since 1970, or None where it is not known or the host's (now) agrees with it."""
    if not text:
        return None
    when = parse_iso(text)
    if when is None:
        raise UpkiError(
            "controller_time_invalid",
            "controller_time '{0}' is no UTC time like 2026-11-25T09:00:00Z.".format(str(text)[:40]),
            "Leave it out, or let the role set it.",
        )
    seconds = (when - moment(0)).total_seconds()
    return seconds if abs(seconds - now) > TOLERANCE else None


def compare(decision, now, other, by_other):
    """A warning where both clocks lead to the same; else UpkiError. other, by_other: of the controller's clock."""
    mine, theirs = ((one.action, one.kind) for one in (decision, by_other))
    if mine == theirs:
        return warning(
            "clock_differs",
            "The host's clock says {0}, the controller's {1}. {2}.".format(
                iso(moment(now)), iso(moment(other)), REMEDY
            ),
        )
    raise UpkiError(
        "clock_differs",
        "By the host's clock ({0}): {1} By the controller's ({2}): {3}".format(
            iso(moment(now)), decision.reason, iso(moment(other)), by_other.reason
        ),
        "{0} and run again.".format(REMEDY),
    )

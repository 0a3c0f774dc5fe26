# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's clock beside the controller's: told, and refused where it decides what is done."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _validity
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    DAY,
    NAME,
    NOW,
    codes,
    live_store,
    row,
    run,
    snapshot,
    wanted,
)

HOUR = 3600


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "upki")


def at(seconds):
    return _validity.iso(_validity.moment(seconds))


@pytest.mark.parametrize("off", [-HOUR, 0, HOUR])
def test_an_hour_is_no_matter(store, off):
    live_store(store)
    assert "clock_differs" not in codes(row(store, controller_time=at(NOW + off)))


@pytest.mark.parametrize("off", [-HOUR - 1, HOUR + 1, 30 * DAY])
def test_more_is_told_with_both_times(store, off):
    live_store(store)
    found = row(store, controller_time=at(NOW + off))
    (told,) = [one for one in found["warnings"] if one["code"] == "clock_differs"]
    assert at(NOW) in told["message"] and at(NOW + off) in told["message"] and "timedatectl" in told["message"]
    assert (found["state"], found["changed"]) == ("live", False)


def test_a_first_application_does_not_hang_on_the_clock(store):
    found = row(store, controller_time=at(NOW - 400 * DAY))
    assert found["changed"] is True and codes(found) == ["clock_differs"]


@pytest.mark.parametrize("host, controller", [(400, 0), (0, 400), (150, 0), (0, 150)])
def test_a_renewal_that_is_due_by_one_clock_only_is_refused(store, host, controller):
    live_store(store)
    before = snapshot(store)
    for check_mode in (True, False):
        with pytest.raises(UpkiError) as error:
            run(store, now=NOW + host * DAY, controller_time=at(NOW + controller * DAY), check_mode=check_mode)
        assert error.value.code == "clock_differs"
        for text in (NAME, at(NOW + host * DAY), at(NOW + controller * DAY), "timedatectl", "Nothing was changed"):
            assert text in str(error.value)
    assert snapshot(store) == before


def test_one_that_is_due_by_both_is_made(store):
    live_store(store)
    found = row(store, now=NOW + 150 * DAY, controller_time=at(NOW + 160 * DAY))
    assert found["record"]["kind"] == "server_renew" and codes(found) == ["clock_differs"]


def test_a_clock_behind_the_certificate_is_told_once(store):
    live_store(store)
    assert codes(row(store, now=NOW - 100 * DAY, controller_time=at(NOW))) == ["clock_behind"]


def test_a_request_that_is_pending_stays_pending(store):
    first = row(store)
    again = row(store, now=NOW + 400 * DAY, controller_time=at(NOW))
    assert (again["generation"], again["changed"]) == (first["generation"], False)
    assert Store(store).certificate(NAME).pending.id == first["generation"]


@pytest.mark.parametrize("text", ["yesterday", "2026-11-25 09:00", "2026-13-01T00:00:00Z", "1795600000"])
def test_a_time_that_is_none_is_refused(store, text):
    with pytest.raises(UpkiError) as error:
        run(store, wanted(), controller_time=text)
    assert error.value.code == "controller_time_invalid" and text in str(error.value)
    assert Store(store).names() == []

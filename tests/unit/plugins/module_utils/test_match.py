# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of certificates against wanted names."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _match


@pytest.mark.parametrize(
    "have, want",
    [
        ("www.example.ac.jp", "www.example.ac.jp"),
        ("WWW.example.ac.jp", "www.EXAMPLE.ac.jp"),
        ("www.example.ac.jp", "www.example.ac.jp."),
        ("*.example.ac.jp", "www.example.ac.jp"),
    ],
)
def test_covers(have, want):
    assert _match.covers(have, want)


@pytest.mark.parametrize(
    "have, want",
    [
        ("www.example.ac.jp", "ww.example.ac.jp"),
        ("*.example.ac.jp", "example.ac.jp"),
        ("*.example.ac.jp", "a.b.example.ac.jp"),
        ("w*.example.ac.jp", "www.example.ac.jp"),
        ("*", "localhost"),
        ("*.jp", "example.jp"),
        ("", ""),
        ("www.example.ac.jp\0.evil.example", "www.example.ac.jp"),
    ],
)
def test_covers_not(have, want):
    assert not _match.covers(have, want)


def test_an_address_matches_only_addresses():
    assert _match.covers_any([], ["192.0.2.7"], "192.0.2.7")
    assert _match.covers_any([], ["2001:db8::1"], "2001:0db8:0::1")
    assert not _match.covers_any(["192.0.2.7", "*.0.2.7"], [], "192.0.2.7")
    assert not _match.covers_any(["www.example.ac.jp"], ["192.0.2.7"], "192.0.2.8")

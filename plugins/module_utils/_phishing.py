# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server names that resemble well-known services: a warning, never an error. (Data follows.)"""


def resembling(name):
    """[what the name resembles]."""
    return []

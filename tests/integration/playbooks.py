# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook as a test types it."""

from __future__ import annotations

import os
import pathlib
import subprocess


def playbook(folder: pathlib.Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of ansible-playbook in a folder."""
    done = subprocess.run(
        ["ansible-playbook", *words],
        cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    return done.returncode, done.stdout

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook, and other commands, as an operator types them."""

from __future__ import annotations

import os
import pathlib
import subprocess


def playbook(folder: pathlib.Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of ansible-playbook in a folder."""
    return command(folder, "ansible-playbook", *words, **environment)


def command(folder: pathlib.Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a command, without colour, results as JSON."""
    done = subprocess.run(
        words,
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

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host whose Python lacks cryptography is told what to install, by every module that needs it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

SUBJECT = {"organization": "Example University", "state": "tokyo", "locality": "chofu"}
ARGUMENTS: dict[str, dict[str, object]] = {
    "request": {
        "certificates": [{"name": "www.example.ac.jp", "software": "nginx"}],
        "subject": SUBJECT,
        "manager": {"email": "admin@example.ac.jp"},
    },
    "install": {"certificates": [{"name": "www.example.ac.jp"}], "inbox": [], "intermediates": [], "roots": []},
    "info": {},
}


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The interpreter of an environment without a single package."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("module", sorted(ARGUMENTS))
def test_the_module_names_the_library_and_the_command(
    module: str, bare_python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    store = tmp_path / "store"
    command = ["ansible", "localhost", "-m", f"campus.upki.{module}"]
    command += ["-a", json.dumps({**ARGUMENTS[module], "store": str(store)})]
    command += ["-e", f"ansible_python_interpreter={bare_python}"]
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "minimal",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    result = json.loads(done.stdout.split("=> ", 1)[1])
    assert result["reason_code"] == "cryptography_missing"
    assert result["cryptography_needed"] == "3.2"
    assert result["python"] == str(bare_python)
    assert f"{bare_python} -m pip install" in result["msg"]
    assert "Traceback" not in done.stdout + done.stderr
    assert not store.exists()

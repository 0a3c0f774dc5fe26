# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the steps of a Containerfile where no container engine is: each stage an overlay over the lab's Debian 12.

Knows what ansible-builder writes, no more: ARG, FROM, ENV, USER, WORKDIR, COPY, RUN; an instruction a line. The base
image is replaced: Debian with a `dnf` that calls apt-get, and without what the lab's hosts have beyond a bare system.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import time

from ansible_collections.campus.upki.tests.lab.lab import Lab, Root, run

# The two words that ansible-builder's steps say to dnf. ensurepip and pip are free to use afterwards, as on Red Hat.
DNF = """#!/bin/sh
set -eu
export DEBIAN_FRONTEND=noninteractive
case $1 in
install)
    shift
    ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt-get -q update
    apt-get -q -y --no-install-recommends install "$@"
    sed -i 's/^    _ensurepip_is_disabled_in_debian_for_system()$/    pass/' /usr/lib/python3*/ensurepip/__init__.py
    rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
    ;;
clean) apt-get clean ;;
*) exit 2 ;;
esac
"""
# How this machine reaches its package mirrors: files and variables of pip and of TLS.
PIP_FILES = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf")
PIP_VARIABLES = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STEP = 600  # seconds


class Stage:
    """A stage of the build: its file system and what the instructions so far have set."""

    def __init__(self, name: str, root: pathlib.Path, lower: list[pathlib.Path], parent: Stage | None = None) -> None:
        self.name, self.root, self.lower = name, root, lower
        self.variables: dict[str, str] = parent.variables.copy() if parent else {"PATH": PATH}
        self.folder: str = parent.folder if parent else "/"
        self.user: str = parent.user if parent else "root"


class Image:
    """What becomes of a build context."""

    def __init__(self, lab: Lab, context: pathlib.Path, arguments: dict[str, str]) -> None:
        self.lab, self.context, self.arguments = lab, context, arguments
        self.stages: dict[str, Stage] = {}
        self.values: dict[str, str] = {}
        self.entry: list[str] = []
        self.steps: list[tuple[float, str]] = []  # seconds and text of each RUN

    # --- file systems ------------------------------------------------------------------------------------

    def _mount(self, name: str, parent: Stage | None) -> Stage:
        folder = self.lab.path / "images" / name
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        root, lower = folder / "root", parent.lower if parent else [Root("bookworm").path]
        options = f"lowerdir={':'.join(map(str, lower))},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        self.lab.record("mounts", str(root))  # so that whatever ends the test, Lab.down() takes it away
        run("mount", "-t", "overlay", f"image-{name}", "-o", options, str(root))
        self.stages[name] = Stage(name, root, [folder / "upper", *lower], parent)
        return self.stages[name]

    def remove(self) -> None:
        """Take away all file systems."""
        for stage in reversed(self.stages.values()):
            self.lab._unmount(str(stage.root))
        shutil.rmtree(self.lab.path / "images", ignore_errors=True)

    def _base_image(self) -> Stage:
        """In the place of the image that the definition names."""
        Root("bookworm").build()
        stage = self._mount("image", None)
        for name in PIP_FILES:
            source, target = pathlib.Path(name), stage.root / name[1:]
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists():
                target.write_bytes(source.read_bytes())
        (stage.root / "usr" / "bin" / "dnf").write_text(DNF)
        (stage.root / "usr" / "bin" / "dnf").chmod(0o755)
        # Or nobody would see that they are not installed.
        self.shell(stage, "apt-get -q -y purge openssh-client python3-cryptography && ! which ssh")
        return stage

    # --- instructions ------------------------------------------------------------------------------------

    def build(self) -> Stage:
        """Every step of the Containerfile; the last stage. The first step that fails raises."""
        stage: Stage | None = None
        for line in (self.context / "Containerfile").read_text().splitlines():
            word, _space, rest = line.strip().partition(" ")
            if word == "FROM":
                source, _as, name = rest.split()
                stage = self._mount(name, self.stages.get(source) or self._base_image())
            elif word == "ARG":
                self._argument(stage, rest)
            elif word and not word.startswith("#"):
                assert stage
                self._step(stage, word, rest)
        assert stage
        return stage

    def _argument(self, stage: Stage | None, rest: str) -> None:
        if stage is None:  # above the stages with its value
            name, _sign, value = rest.partition("=")
            self.values[name] = self.arguments.get(name, shlex.split(value)[0] if value else "")
        else:
            stage.variables[rest] = self.values[rest]

    def _step(self, stage: Stage, word: str, rest: str) -> None:
        if word == "RUN":
            start = time.monotonic()
            self.shell(stage, rest)
            self.steps.append((time.monotonic() - start, f"{stage.name}: {rest}"))
        elif word == "COPY":
            self._copy(stage, rest.split())
        elif word == "ENV":
            name, _sign, value = rest.partition("=")
            stage.variables[name] = value
        elif word == "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            stage.user = rest
        elif word == "ENTRYPOINT":
            self.entry = [part.strip('"') for part in rest.strip("[]").split(", ")]
        elif word not in ("LABEL", "CMD"):
            raise AssertionError(f"the Containerfile has an instruction that is not known here: {word} {rest}")

    def _copy(self, stage: Stage, words: list[str]) -> None:
        """A file to a file, or what is in a folder into a folder."""
        base = self.context
        if words[0].startswith("--from="):
            base = self.stages[words.pop(0).removeprefix("--from=")].root
        source, target = base / words[0].lstrip("/"), stage.root / words[1].lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    # --- running -----------------------------------------------------------------------------------------

    def shell(self, stage: Stage, command: str) -> str:
        """Output of a shell command in the stage."""
        return self.command(stage, "/bin/sh", "-c", command)

    def started(self, stage: Stage, *command: str) -> str:
        """Output of a command in the finished image, as `podman run` gives it: by its entry point, as its user."""
        as_user = ["setpriv", f"--reuid={stage.user}", "--regid=0", "--clear-groups"]
        return self.command(stage, *as_user, *self.entry, *command)

    def command(self, stage: Stage, *command: str) -> str:
        options = ["--register=no", "--keep-unit", "--quiet", "--pipe", "--timezone=off", "--resolv-conf=off"]
        options += [f"--machine=lab{self.lab.id}-image-{stage.name}", f"--directory={stage.root}"]
        variables = {key: value for key, value in os.environ.items() if key.upper().startswith(PIP_VARIABLES)}
        variables |= {"LC_ALL": "C.UTF-8", **stage.variables}
        options += [f"--chdir={stage.folder}", *(f"--setenv={key}={value}" for key, value in variables.items())]
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", "systemd-nspawn", *options, *command],
            env={**os.environ, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},  # what a step leaves in /tmp is there for the next one
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP,
            check=False,
        )
        said = f"{stage.name}: {shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        return done.stdout

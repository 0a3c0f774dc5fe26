# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment of docs/how-to/awx.md, built with the collection's tarball, step by step on plain Debian.

Replaced are the base image, its dnf, and Python with build arguments, as `ansible-builder build` takes them.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from ansible_collections.campus.upki.tests.integration import awx_page
from ansible_collections.campus.upki.tests.lab.controller import MANNER
from ansible_collections.campus.upki.tests.lab.image import Image, Stage
from ansible_collections.campus.upki.tests.lab.lab import Lab

pytestmark = [
    pytest.mark.nightly,  # a minute or two, and it wants a mirror and PyPI
    pytest.mark.skipif(MANNER != "linear", reason="an image is the same under every strategy"),
]
DEBIAN = {"PYCMD": "/usr/bin/python3", "PYPKG": "python3-venv"}
INSTALLED = "/usr/share/ansible/collections/ansible_collections/campus/upki"
SHOWN = """
import importlib.metadata, sys
import cryptography, dns.resolver, jmespath
from packaging.requirements import Requirement
for line in open(sys.argv[1]):
    if line.strip() and not line.startswith("#"):
        wanted = Requirement(line.strip())
        version = importlib.metadata.version(wanted.name)
        assert wanted.specifier.contains(version), (line, version)
        print(wanted.name, version)
"""
PLAYBOOKS = ("request", "deploy", "renew", "verify")


@pytest.fixture(scope="module")
def built(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Image, Stage]]:
    folder = tmp_path_factory.mktemp("image") / "ee"
    context = awx_page.create(folder, awx_page.definitions()["stream9, from the tarball"])
    image = Image(lab, context, DEBIAN)
    try:
        yield image, image.build()
    finally:
        print(*(f"{seconds:6.1f} s  {step}" for seconds, step in image.steps), sep="\n")
        image.remove()


def test_the_image_brings_the_collection_and_its_needs(built: tuple[Image, Stage]) -> None:
    image, final = built
    listed = image.started(final, "ansible-galaxy", "collection", "list", "campus.upki")
    assert "/usr/share/ansible/collections/ansible_collections" in listed
    requirements = f"{INSTALLED}/meta/ee-requirements.txt"
    shown = image.started(final, "python3", "-c", SHOWN, requirements)
    assert {line.split()[0] for line in shown.splitlines()} == {"cryptography", "jmespath", "dnspython"}
    assert "OpenSSH" in image.started(final, "sh", "-c", "ssh -V 2>&1")
    assert not (final.root / "output").exists() and not (final.root / "build").exists()


def test_the_documentation_and_the_playbooks_are_there(built: tuple[Image, Stage]) -> None:
    image, final = built
    assert "CAMPUS.UPKI.REQUEST" in image.started(final, "ansible-doc", "campus.upki.request").upper()
    for name in PLAYBOOKS:
        said = image.started(final, "ansible-playbook", f"campus.upki.{name}", "-i", "localhost,", "--syntax-check")
        assert f"playbook: {INSTALLED}/playbooks/{name}.yml" in said


def test_a_job_looks_at_an_endpoint_from_within_the_image(built: tuple[Image, Stage], tmp_path: pathlib.Path) -> None:
    """As the user of the image, whom nobody has given a name or a home."""
    image, final = built
    assert image.started(final, "id", "-u").split() == ["1000"]
    module = [
        "-m",
        "campus.upki.verify",
        "-a",
        '{"endpoints": [{"host": "127.0.0.1:1"}], "fail_on": "never", "timeout": 1}',
    ]
    said = image.started(final, "ansible", "localhost", "-c", "local", *module)
    assert "SUCCESS" in said and "127.0.0.1" in said

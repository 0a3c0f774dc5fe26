# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""_requirements.py: what a host without cryptography is told."""

import platform
import sys

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _requirements, _x509


class Failed(Exception):
    pass


class Module(object):
    """As much of an AnsibleModule as check() needs."""

    def __init__(self):
        self.result = None

    def fail_json(self, **result):
        self.result = result
        raise Failed()


def fail(monkeypatch, found, error, executable="/usr/bin/python3", ids=("debian",)):
    monkeypatch.setattr(_x509, "installed_version", lambda: found)
    monkeypatch.setattr(_x509, "IMPORT_ERROR", error)
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(_requirements, "distribution_ids", lambda: list(ids))
    module = Module()
    with pytest.raises(Failed):
        _requirements.check(module)
    return module.result


@pytest.mark.parametrize("found", ["3.2", "3.2.1", "3.10.2", "43.0.0", "50.0.2.dev1"])
def test_a_version_that_serves_passes(monkeypatch, found):
    monkeypatch.setattr(_x509, "installed_version", lambda: found)
    monkeypatch.setattr(_x509, "IMPORT_ERROR", None)
    module = Module()
    _requirements.check(module)
    assert module.result is None


def test_a_missing_library_is_named_with_the_package_of_the_distribution(monkeypatch):
    result = fail(monkeypatch, "", ImportError("No module named 'cryptography'"))
    assert result["reason_code"] == "cryptography_missing"
    assert result["python"] == "/usr/bin/python3"
    assert result["python_version"] == platform.python_version()
    assert result["cryptography_found"] == ""
    assert result["cryptography_needed"] == "3.2"
    assert result["package"] == "python3-cryptography"
    assert "No module named 'cryptography'" in result["msg"]
    assert "apt-get install python3-cryptography" in result["msg"]


@pytest.mark.parametrize("found", ["2.8", "3.1.1", "0.9", "odd"])
def test_an_old_library_is_refused(monkeypatch, found):
    result = fail(monkeypatch, found, None)
    assert result["reason_code"] == "cryptography_too_old"
    assert result["cryptography_found"] == found
    assert found in result["msg"] and "3.2" in result["msg"]


def test_an_old_library_without_the_newer_parts_is_still_called_old(monkeypatch):
    result = fail(monkeypatch, "2.1.4", ImportError("cannot import name 'ed448'"))
    assert result["reason_code"] == "cryptography_too_old"


def test_a_library_that_breaks_at_import_shows_its_error(monkeypatch):
    result = fail(monkeypatch, "41.0.0", ImportError("libssl.so.3: cannot open shared object file"))
    assert result["reason_code"] == "cryptography_broken"
    assert "libssl.so.3" in result["msg"]


@pytest.mark.parametrize(
    "ids, package, command",
    [
        (["ubuntu", "debian"], "python3-cryptography", "apt-get install python3-cryptography"),
        (["rocky", "rhel", "centos", "fedora"], "python3-cryptography", "dnf install python3-cryptography"),
        (["opensuse-leap", "suse", "opensuse"], "python3-cryptography", "zypper install python3-cryptography"),
        (["alpine"], "py3-cryptography", "apk add py3-cryptography"),
        (["arch"], "python-cryptography", "pacman -S python-cryptography"),
    ],
)
def test_each_distribution_has_its_command(ids, package, command):
    assert _requirements.install_hint("/usr/bin/python3", ids) == (
        package,
        "Install the package {0} on the host: {1}".format(package, command),
    )


@pytest.mark.parametrize(
    "executable, system",
    [
        ("/usr/bin/python3.9", True),
        ("/usr/libexec/platform-python3.6", True),
        ("/usr/local/bin/python3", False),
        ("/opt/venv/bin/python", False),
    ],
)
def test_the_package_serves_only_the_system_s_python(executable, system):
    package, hint = _requirements.install_hint(executable, ["debian"])
    assert bool(package) is system
    assert ("-m pip install" in hint) is not system


def test_an_unknown_distribution_gets_the_pip_command():
    package, hint = _requirements.install_hint("/usr/bin/python3", ["plan9"])
    assert (package, hint) == (
        "",
        "Install it for this interpreter: /usr/bin/python3 -m pip install 'cryptography>=3.2'",
    )


@pytest.mark.parametrize(
    "text, ids",
    [
        ("NAME=x\nID=debian\n", ["debian"]),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', ["rocky", "rhel", "centos", "fedora"]),
        ("", []),
    ],
)
def test_distribution_ids_come_from_os_release(tmp_path, text, ids):
    path = tmp_path / "os-release"
    path.write_text(text, encoding="utf-8")
    assert _requirements.distribution_ids([str(tmp_path / "absent"), str(path)]) == ids


def test_distribution_without_os_release_has_no_ids(tmp_path):
    assert _requirements.distribution_ids([str(tmp_path / "absent")]) == []


@pytest.mark.parametrize("text, version", [("3.2.1", (3, 2)), ("50", (50, 0)), ("", (0, 0)), ("x", (0, 0))])
def test_version_tuple(text, version):
    assert _requirements.version_tuple(text) == version

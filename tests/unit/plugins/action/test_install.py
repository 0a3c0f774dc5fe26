# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: the controller's folders become what the host needs, in one exchange."""

from __future__ import annotations

import datetime
import os
import pathlib
from typing import Any
from unittest import mock

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.campus.upki.plugins.action import install
from ansible_collections.campus.upki.plugins.module_utils import _foreign, _x509
from ansible_collections.campus.upki.plugins.plugin_utils import _install_action
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
OTHER = "mail.example.ac.jp"
ANSWER: dict[str, Any] = {"changed": False, "certificates": [], "ignored": [{"file": "a", "reason_code": "older"}]}


def run(base: pathlib.Path, answer: dict[str, Any] | None = None, **arguments: Any) -> tuple[dict[str, Any], mock.Mock]:
    task = mock.Mock(args=arguments, async_val=0, check_mode=False, diff=False)
    loader = mock.Mock()
    loader.path_dwim = lambda path: os.path.join(str(base), path)
    action = install.ActionModule(task, mock.Mock(), mock.Mock(), loader, mock.Mock(), mock.Mock())
    executed = mock.Mock(return_value=dict(ANSWER if answer is None else answer))
    module = mock.patch.object(install.ActionModule, "_execute_module", executed)
    with mock.patch.object(ActionBase, "run", return_value={}), module:
        return action.run(None, {}), executed


def sent(executed: mock.Mock) -> dict[str, Any]:
    assert executed.call_count == 1
    arguments: dict[str, Any] = executed.call_args.kwargs["module_args"]
    return arguments


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> pathlib.Path:
    """An inbox with certificates of two hosts, and the CA that issued them."""
    root = pki.CA("Action Root", end=pki.NOW + pki.days(3000))
    inter = pki.CA("Action Inter", root, end=pki.NOW + pki.days(3000))
    for folder in ("inbox", "intermediates", "roots"):
        (tmp_path / folder).mkdir()
    (tmp_path / "intermediates" / "any.cer").write_bytes(pki.der(inter.certificate))
    (tmp_path / "roots" / "root.pem").write_text(pki.pem(root.certificate))
    for name in (NAME, OTHER):
        (tmp_path / "inbox" / f"{name}.cer").write_text(pki.pem(inter.issue(name)))
    return tmp_path


ARGUMENTS = {"inbox": ["inbox"], "intermediates": ["intermediates"], "roots": ["roots"]}


def test_the_host_gets_its_leaf_with_the_chain_and_of_others_only_the_key_hash(folders: pathlib.Path) -> None:
    result, executed = run(folders, certificates=[{"name": NAME}], **ARGUMENTS)
    arguments = sent(executed)
    (candidate,) = arguments["candidates"]
    assert candidate["file"].endswith(f"{NAME}.cer")
    assert candidate["error"] is None
    assert len(candidate["chain"]) == 1
    (other,) = _x509.certificates_from_pem((folders / "inbox" / f"{OTHER}.cer").read_text())
    assert arguments["others"] == _x509.spki_sha256(other.public_key())[:16]
    assert [row["reason_code"] for row in result["ignored"]] == ["older", "other_name"]


def test_of_many_certificates_for_others_a_host_keeps_a_few_and_their_number(folders: pathlib.Path) -> None:
    ca = pki.CA("Other CA")
    for number in range(30):
        (folders / "inbox" / f"{number}.cer").write_text(pki.pem(ca.issue(f"web{number}.example.ac.jp")))
    result, executed = run(folders, certificates=[{"name": NAME}], **ARGUMENTS)
    assert [row["reason_code"] for row in result["ignored"]] == ["older"] + ["other_name"] * 5
    assert result["ignored_more"] == 26
    assert len(sent(executed)["others"]) == 31 * 16  # the host still compares every key


@pytest.mark.parametrize("several", [False, True])
def test_an_error_about_a_certificate_for_other_names_gets_its_file_and_names(
    folders: pathlib.Path, several: bool
) -> None:
    (other,) = _x509.certificates_from_pem((folders / "inbox" / f"{OTHER}.cer").read_text())
    said = f"The key is that of {_foreign.known_as(_x509.spki_sha256(other.public_key()))}, which does not name it."
    errors: list[dict[str, Any]] = [{"name": NAME, "message": said}, {"name": "x"}] if several else []
    failed = {"failed": True, "reason_code": "names_missing", "msg": said, "errors": errors}
    result, _executed = run(folders, failed, certificates=[{"name": NAME}], **ARGUMENTS)
    path = folders / "inbox" / f"{OTHER}.cer"
    full = f"The key is that of the certificate in '{path}' (for {OTHER}), which does not name it."
    assert result["msg"] == full
    assert [error.get("message") for error in result["errors"]] == [full, None][: len(errors)]


def test_a_controller_with_python_3_10_serves(folders: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(datetime, "UTC", raising=False)  # came with Python 3.11
    assert len(sent(run(folders, certificates=[{"name": NAME}], **ARGUMENTS)[1])["candidates"]) == 1


def test_the_controllers_paths_stay_on_the_controller(folders: pathlib.Path) -> None:
    _result, executed = run(folders, certificates=[{"name": NAME}], store="/etc/upki", **ARGUMENTS)
    arguments = sent(executed)
    assert [arguments[option] for option in _install_action.FOLDERS] == [[], [], []]
    assert arguments["store"] == "/etc/upki"
    assert executed.call_args.kwargs["module_name"] == "campus.upki.install"


def test_a_chain_that_cannot_be_built_goes_along_as_its_reason(folders: pathlib.Path) -> None:
    arguments = sent(run(folders, certificates=[{"name": NAME}], inbox=["inbox"])[1])
    (candidate,) = arguments["candidates"]
    assert candidate["chain"] == []
    assert candidate["error"]["code"] == "intermediate_missing"
    assert "CN=Action Inter" in candidate["error"]["message"]


def test_intermediates_may_lie_in_the_inbox_and_a_single_path_needs_no_list(folders: pathlib.Path) -> None:
    (folders / "intermediates" / "any.cer").rename(folders / "inbox" / "any.cer")
    arguments = sent(run(folders, certificates=[{"name": NAME}], inbox="inbox", roots="roots")[1])
    assert [len(candidate["chain"]) for candidate in arguments["candidates"]] == [1]


def test_the_same_certificate_in_two_files_counts_once(folders: pathlib.Path) -> None:
    (folders / "inbox" / "again.pem").write_bytes((folders / "inbox" / f"{NAME}.cer").read_bytes())
    assert len(sent(run(folders, certificates=[{"name": NAME}], **ARGUMENTS)[1])["candidates"]) == 1


def test_a_page_in_the_inbox_is_a_warning_unless_the_failure_says_it(folders: pathlib.Path) -> None:
    (folders / "inbox" / "page").write_text("<html></html>")
    result, executed = run(folders, certificates=[{"name": NAME}], **ARGUMENTS)
    assert "HTML page" in result["warnings"][0]
    assert sent(executed)["unusable"][0]["code"] == "html"
    failed = {"failed": True, "reason_code": "unusable_file", "msg": "x"}
    assert run(folders, failed, certificates=[{"name": NAME}], **ARGUMENTS)[0]["warnings"] == []


def test_a_key_in_the_inbox_is_always_a_warning(folders: pathlib.Path) -> None:
    (folders / "inbox" / "k").write_bytes(pki.key_pem(pki.key("x")))
    result, executed = run(folders, certificates=[{"name": NAME}], **ARGUMENTS)
    assert "PRIVATE KEY" in result["warnings"][0]
    assert "PRIVATE" + " KEY-----" not in str(sent(executed))


def test_the_host_gets_the_ca_certificates_at_hand(folders: pathlib.Path) -> None:
    arguments = sent(run(folders, certificates=[{"name": "else.example.ac.jp"}], **ARGUMENTS)[1])
    assert arguments["candidates"] == []
    assert [len(arguments[option]) for option in ("authorities", "anchors")] == [1, 1]


def test_a_damaged_intermediate_is_a_warning(folders: pathlib.Path) -> None:
    (folders / "intermediates" / "half.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB")
    result, _executed = run(folders, certificates=[{"name": NAME}], **ARGUMENTS)
    assert "half.pem" in result["warnings"][0] and "cut off" in result["warnings"][0]


def test_a_folder_that_does_not_exist_fails_before_the_host_is_asked(folders: pathlib.Path) -> None:
    result, executed = run(folders, certificates=[{"name": NAME}], inbox=["nowhere"])
    assert result["failed"] is True
    assert result["reason_code"] == "path_missing"
    executed.assert_not_called()


@pytest.mark.parametrize("certificates", [None, "x", [None], [{"nome": "x"}]])
def test_what_the_option_should_not_be_is_left_to_the_module_to_refuse(
    folders: pathlib.Path, certificates: object
) -> None:
    assert sent(run(folders, certificates=certificates, **ARGUMENTS)[1])["candidates"] == []


def test_a_relative_folder_that_is_not_beside_the_playbook_is_the_current_directory_s(
    folders: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    elsewhere = tmp_path_factory.mktemp("collection")
    result, executed = run(elsewhere, certificates=[{"name": NAME}], **ARGUMENTS)
    assert "failed" not in result
    assert len(sent(executed)["candidates"]) == 1


def test_a_missing_folder_is_named_in_the_current_directory(
    folders: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    result, _executed = run(folders / "collection", certificates=[{"name": NAME}], **{**ARGUMENTS, "inbox": ["in"]})
    assert result["failed"]
    assert f"'{folders}/in'" in result["msg"]

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""First certificates and renewals on real postfix, dovecot, slapd and haproxy, and what verify sees of them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _probe, _servers, _tls, _verify, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.integration import daemons, servers
from ansible_collections.campus.upki.tests.integration.servers import NAME


@pytest.fixture
def issuer() -> Iterator[servers.Issuer]:
    """In a folder that servers of other users reach, which pytest's own is not."""
    path = tempfile.mkdtemp(prefix="upki-swap-")
    os.chmod(path, 0o755)
    yield servers.Issuer(pathlib.Path(path))
    shutil.rmtree(path)


@contextlib.contextmanager
def started(kind: str, issuer: servers.Issuer) -> Iterator[daemons.Daemon]:
    """A running server without TLS."""
    reason = daemons.missing(kind)
    if reason:
        pytest.skip(reason)
    daemon = daemons.ALL[kind](issuer.path / kind.replace(" ", "-"), issuer)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(params=sorted(daemons.KINDS))
def plain(request: pytest.FixtureRequest, issuer: servers.Issuer) -> Iterator[daemons.Daemon]:
    """Each kind of server, running without TLS."""
    with started(request.param, issuer) as daemon:
        yield daemon


def install(daemon: daemons.Daemon, **row: Any) -> dict[str, Any]:
    return daemon.issuer.install(daemon.item(), servers=daemon.row(**row))


def secured(daemon: daemons.Daemon) -> int:
    """The server with its first certificate; the serial number."""
    leaf = daemon.issuer.issue(daemon.issuer.request())
    daemon.secure()
    install(daemon)
    assert daemon.served() == leaf.serial_number
    return int(leaf.serial_number)


def back(daemon: daemons.Daemon, serial: int) -> bool:
    """Whether the port serves this certificate (again); a server that was started anew needs a moment."""
    end = time.monotonic() + 10
    while daemon.served() != serial and time.monotonic() < end:
        time.sleep(0.1)
    return daemon.served() == serial


def test_the_first_certificate_opens_tls_on_a_running_server(plain: daemons.Daemon) -> None:
    assert plain.served() is None
    leaf = plain.issuer.issue(plain.issuer.request())
    plain.secure()
    result = install(plain)
    assert result["certificates"][0]["reason_code"] == "installed"
    assert plain.served() == leaf.serial_number
    assert install(plain)["changed"] is False


def test_a_wrong_first_configuration_leaves_the_server_as_it_was(plain: daemons.Daemon) -> None:
    leaf = plain.issuer.issue(plain.issuer.request())
    plain.secure(plain.broken)
    with pytest.raises(UpkiError) as caught:
        install(plain)
    assert caught.value.code == "config_test_failed"
    assert caught.value.details["rolled_back"] is True
    assert plain.issuer.store.certificate(NAME).link("live") is None
    assert not any(pathlib.Path(row["path"]).exists() for row in plain.links())
    assert plain.is_open()
    plain.secure()
    install(plain)
    assert plain.served() == leaf.serial_number


def test_a_renewal_is_served_after_the_swap(plain: daemons.Daemon) -> None:
    secured(plain)
    leaf = plain.issuer.issue(plain.issuer.request())
    rehearsed = plain.issuer.install(plain.item(), servers=plain.row(), check_mode=True)
    assert plain.served() != leaf.serial_number
    assert install(plain)["certificates"] == rehearsed["certificates"]
    assert plain.served() == leaf.serial_number
    assert install(plain)["changed"] is False


def test_a_configuration_that_is_wrong_before_a_renewal_changes_nothing(plain: daemons.Daemon) -> None:
    old, live = secured(plain), plain.issuer.live()
    plain.issuer.issue(plain.issuer.request())
    plain.secure(plain.broken)
    with pytest.raises(UpkiError) as caught:
        install(plain)
    assert caught.value.code == "config_test_failed"
    assert plain.issuer.live() == live
    plain.secure()
    assert back(plain, old)


@pytest.mark.parametrize("command, code", [("false", "reload_failed"), ("true", "served_other")])
def test_a_renewal_that_the_server_does_not_take_is_rolled_back(plain: daemons.Daemon, command: str, code: str) -> None:
    old, live = secured(plain), plain.issuer.live()
    plain.issuer.issue(plain.issuer.request())
    with pytest.raises(UpkiError) as caught:
        install(plain, reload=[command])
    assert caught.value.code == code
    assert caught.value.details["rolled_back"] is True
    assert plain.issuer.live() == live
    subprocess.run(plain.reload(), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
    assert back(plain, old)


def test_the_tests_commands_are_those_of_the_table(plain: daemons.Daemon) -> None:
    """But for the paths of a configuration of its own."""
    variants: Any = _servers.ROWS[plain.kind]
    asked = [(plain.test(), "test")] + [(plain.reload(), "reload")] * (plain.kind in ("postfix", "dovecot"))
    for argv, which in asked:
        words = [pathlib.Path(argv[0]).name, *argv[1:]]
        row = [word for word in variants[-1][which] if not word.startswith("/")]
        assert [word for word in words if word in row] == row


def test_slapd_that_does_not_come_up_is_started_with_the_old_certificate(issuer: servers.Issuer) -> None:
    """The restart that a new certificate needs ends in an outage: the one that goes back ends the outage."""
    with started("slapd", issuer) as daemon:
        old = secured(daemon)
        pending = issuer.request()
        issuer.issue(pending)
        fails = f'case "$(readlink {daemon.live})" in *{pending.id}) kill $(cat {daemon.path}/pid); exit 1;; esac; '
        with pytest.raises(UpkiError) as caught:
            install(daemon, reload=["/bin/sh", "-c", f"{fails} exec {' '.join(daemon.reload())}"])
        assert caught.value.code == "reload_failed"
        assert caught.value.details["rolled_back"] is True
        assert daemon.served() == old


def test_slapd_with_its_configuration_online_needs_no_restart(issuer: servers.Issuer) -> None:
    issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    with started("online slapd", issuer) as daemon:
        process = (daemon.path / "pid").read_text()
        leaf = issuer.issue(issuer.request())
        install(daemon)
        assert daemon.served() == leaf.serial_number
        issuer.issue(issuer.request())
        with pytest.raises(UpkiError) as caught:
            install(daemon, reload=["true"])
        assert caught.value.details["rolled_back"] is True
        assert daemon.served() == leaf.serial_number
        assert (daemon.path / "pid").read_text() == process
        os.kill(int(process), 0)


def test_the_key_in_haproxys_file_is_for_its_owner_alone(issuer: servers.Issuer) -> None:
    with started("haproxy", issuer) as daemon:
        secured(daemon)
        issuer.issue(issuer.request())
        install(daemon)
        key = (daemon.live / "key.pem").read_bytes()
        path = pathlib.Path(daemon.links()[0]["path"])
        assert path.read_bytes() == key + (daemon.live / "fullchain.pem").read_bytes()
        holders = [one for one in issuer.path.rglob("*") if holds(one, key)]
        assert set(holders) == {path, pathlib.Path(os.path.realpath(daemon.live), "key.pem")}
        assert {stat.S_IMODE(one.stat().st_mode) for one in holders} == {0o600}


def holds(path: pathlib.Path, key: bytes) -> bool:
    return path.is_file() and key in path.read_bytes()


def test_haproxys_file_goes_back_with_the_swap(issuer: servers.Issuer) -> None:
    with started("haproxy", issuer) as daemon:
        secured(daemon)
        path = pathlib.Path(daemon.links()[0]["path"])
        before = path.read_bytes()
        issuer.issue(issuer.request())
        with pytest.raises(UpkiError):
            install(daemon, reload=["false"])
        assert path.read_bytes() == before
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [one.name for one in path.parent.iterdir()] == [path.name]


# --- the eyes of verify ------------------------------------------------------------------------------------------


def verified(issuer: servers.Issuer, port: int, starttls: str) -> dict[str, Any]:
    """What verify finds on the port for the live certificate."""
    live = issuer.store.certificate(NAME).live
    assert live is not None
    row = {
        "host": "127.0.0.1",
        "port": port,
        "server_name": NAME,
        "starttls": starttls or None,
        "certificate_sha256": _x509.sha256(live.certificate()),
    }
    now = datetime.datetime.now(datetime.UTC)
    trust = _tls.Trust(str(issuer.path / "roots" / "ca.cer"))
    around = _verify.surroundings(trust, [], now, _verify.parse_warn_before("30d"))
    (result,) = _verify.run(_verify.endpoints_of([row]), trust, around, 10.0, 1)
    return dict(result)


def is_good(result: dict[str, Any], serial: int) -> None:
    assert [one for one in result["findings"] if one["severity"] == "error"] == []
    assert result["ok"] is True
    assert result["certificate"]["serial"] == str(serial)


@pytest.mark.parametrize(
    "kind, protocol", [("postfix", "smtp"), ("dovecot", "imap"), ("dovecot", "pop3"), ("slapd", "ldap")]
)
def test_verify_looks_through_starttls(issuer: servers.Issuer, kind: str, protocol: str) -> None:
    with started(kind, issuer) as daemon:
        serial = secured(daemon)
        port = daemon.plain_port if protocol == "pop3" else daemon.port
        is_good(verified(issuer, port, protocol), serial)
        issuer.issue(issuer.request())
        issuer.install({"name": NAME})  # live in the store, and nobody reloads
        codes = [one["code"] for one in verified(issuer, port, protocol)["findings"]]
        assert "unexpected_certificate" in codes


def test_install_and_verify_look_at_a_server_that_speaks_tls_by_gnutls(issuer: servers.Issuer) -> None:
    program = shutil.which("gnutls-serv")
    if program is None:
        pytest.skip("gnutls-serv (gnutls-bin) is not installed here")
    leaf = issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    live = pathlib.Path(issuer.store.path, NAME, "live")
    port = servers.free_port()
    files = ["--x509certfile", str(live / "fullchain.pem"), "--x509keyfile", str(live / "key.pem")]
    with open(issuer.path / "console.log", "wb") as log:
        process = subprocess.Popen(
            [program, "--echo", "--port", str(port), *files], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + 10
        while _probe.look("127.0.0.1", port, NAME).leaf is None and time.monotonic() < end:
            time.sleep(0.1)
        assert _probe.look("127.0.0.1", port, NAME).leaf == _x509.der(leaf)
        result = verified(issuer, port, "")
        is_good(result, leaf.serial_number)
        assert [one["sha256"] for one in result["chain"]][-1] == hashlib.sha256(
            _x509.der(issuer.inter.certificate)
        ).hexdigest()
    finally:
        process.terminate()
        process.wait(10)

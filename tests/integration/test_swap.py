# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap against real nginx and Apache: the new certificate serves, or the old one still does."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _preflight, _probe, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.integration import servers
from ansible_collections.campus.upki.tests.unit import pki

NAME = servers.NAME
SWAPS = 20


@pytest.fixture
def issuer() -> Iterator[servers.Issuer]:
    """In a folder that servers of other users reach, which pytest's own is not."""
    path = tempfile.mkdtemp(prefix="upki-swap-")
    os.chmod(path, 0o755)
    yield servers.Issuer(pathlib.Path(path))
    shutil.rmtree(path)


@pytest.fixture(params=["nginx", "apache"])
def idle(request: pytest.FixtureRequest, issuer: servers.Issuer) -> Iterator[servers.Server]:
    """A server without virtual host, not started."""
    reason = servers.missing(request.param)
    if reason:
        pytest.skip(reason)
    with servers.running(request.param, issuer.path / request.param, issuer) as server:
        yield server


@pytest.fixture
def server(idle: servers.Server, issuer: servers.Issuer) -> servers.Server:
    """A server that serves a first certificate from the store."""
    first = issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    idle.serve(NAME)
    assert idle.served() == first.serial_number
    return idle


def install(server: servers.Server, *items: dict[str, Any], check_mode: bool = False, **row: Any) -> dict[str, Any]:
    return server.issuer.install(*(items or (server.item(),)), check_mode=check_mode, servers=server.row(**row))


def ended(process: int) -> bool:
    """True when a process is gone, or dead and not yet fetched by its parent."""
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state in "ZX"


def refused(code: str, server: servers.Server, *items: dict[str, Any], **row: Any) -> UpkiError:
    """The install fails with this code; the old certificate is live on disk and on the wire."""
    issuer = server.issuer
    live, served = issuer.live(), server.served()
    with pytest.raises(UpkiError) as caught:
        install(server, *items, **row)
    error: UpkiError = caught.value
    assert error.code == code, str(error)
    assert issuer.live() == live
    assert server.served() == served
    assert issuer.store.certificate(NAME).pending is not None
    return error


def test_a_renewal_goes_live_and_the_second_run_changes_nothing(server: servers.Server) -> None:
    leaf = server.issuer.issue(server.issuer.request())
    rehearsed = install(server, check_mode=True)
    assert server.served() != leaf.serial_number
    result = install(server)
    assert rehearsed["certificates"] == result["certificates"]
    assert rehearsed["diff"] == result["diff"]
    assert result["certificates"][0]["reason_code"] == "installed"
    assert server.served() == leaf.serial_number
    again = install(server)
    assert again["changed"] is False
    assert again["certificates"][0]["reason_code"] == "up_to_date"
    assert server.issuer.store.certificate(NAME).pending is None


def test_the_chain_is_served_in_order(server: servers.Server) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command here")
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", NAME, "-showcerts"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    served = _x509.certificates_from_pem(answer.stdout[: answer.stdout.index("Server certificate")])
    assert served[1:] == [server.issuer.inter.certificate]


def sent_chain(server: servers.Server) -> list[Any]:
    """What the server sends after its certificate."""
    seen = _probe.look("127.0.0.1", server.port, NAME)
    sent = _probe.sent_chain(seen, "127.0.0.1", server.port, NAME)
    if sent is None:
        pytest.skip("neither this Python nor openssl shows a chain")
    return [_x509.certificate_from_der(one) for one in sent[1:]]


def test_a_chain_that_lacks_its_cross_certificate_is_mended_once(server: servers.Server) -> None:
    inter, cross = server.issuer.with_cross()
    live, served = server.issuer.live(), server.served()
    rehearsed = install(server, check_mode=True)
    assert sent_chain(server) == [inter]
    result = install(server)
    assert rehearsed["certificates"] == result["certificates"]
    assert result["certificates"][0]["reason_code"] == "chain_mended"
    assert sent_chain(server) == [inter, cross]
    assert (server.issuer.live(), server.served()) == (live, served)
    again = install(server)
    assert (again["changed"], again["warnings"]) == (False, [])


@pytest.mark.parametrize(
    "row, code",
    [({"reload": ["false"]}, "reload_failed"), ({"reload": ["true"]}, "served_other_chain")],
    ids=["reload fails", "reload does nothing"],
)
def test_a_mended_chain_that_the_server_does_not_take_is_put_back(
    server: servers.Server, row: dict[str, Any], code: str
) -> None:
    inter, cross = server.issuer.with_cross()
    with pytest.raises(UpkiError) as caught:
        install(server, **row)
    assert (caught.value.code, caught.value.details["rolled_back"]) == (code, True)
    full = pathlib.Path(server.issuer.store.path, NAME, "live", "fullchain.pem").read_text()
    assert _x509.certificates_from_pem(full)[1:] == [inter] == sent_chain(server)
    install(server)
    assert sent_chain(server) == [inter, cross]


def test_a_run_killed_in_the_reload_of_a_mended_chain_is_made_up_for(server: servers.Server) -> None:
    inter, cross = server.issuer.with_cross()
    process = on_the_host(server, reload=["/bin/sh", "-c", "kill -9 $PPID"])
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert sent_chain(server) == [inter]
    assert install(server)["certificates"][0]["reason_code"] == "chain_mended"
    assert sent_chain(server) == [inter, cross]
    assert install(server)["changed"] is False


def test_all_places_of_a_certificate_are_looked_at(idle: servers.Server) -> None:
    issuer, more = idle.issuer, servers.free_port()
    first = issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    idle.elsewhere(more)
    idle.serve(NAME)
    leaf = issuer.issue(issuer.request())
    here, there, nowhere = (f"127.0.0.1:{port}" for port in (idle.port, more, servers.free_port()))
    error = refused("port_closed", idle, idle.item(endpoint=[here, there, nowhere]))
    assert nowhere in error.message and here not in error.message and there not in error.message
    item = idle.item(endpoint=[here, there])
    error = refused("served_other", idle, item, reload=["true"])
    assert here in error.message and there in error.message
    assert [idle.served(port=port) for port in (idle.port, more)] == [first.serial_number] * 2
    install(idle, item)
    assert [idle.served(port=port) for port in (idle.port, more)] == [leaf.serial_number] * 2
    assert install(idle, item)["changed"] is False


def test_two_certificates_of_one_server_take_one_reload(server: servers.Server, tmp_path: pathlib.Path) -> None:
    other = "mail.example.ac.jp"
    issuer = server.issuer
    issuer.issue(issuer.request(other), other)
    issuer.install({"name": other})
    server.stop()
    server.serve(NAME, other)
    leaves = [issuer.issue(issuer.request(name), name) for name in (NAME, other)]
    counter = tmp_path / "count"
    counting = tmp_path / "reload"
    counting.write_text(f"#!/bin/sh\necho x >> {counter}\nexec {' '.join(server.reload())}\n")
    counting.chmod(0o755)
    result = install(server, server.item(), server.item(other), reload=[str(counting)])
    assert [row["changed"] for row in result["certificates"]] == [True, True]
    assert [server.served(name) for name in (NAME, other)] == [leaf.serial_number for leaf in leaves]
    assert counter.read_text() == "x\n"


def test_a_key_that_does_not_belong_never_reaches_the_server(server: servers.Server) -> None:
    # Apache passes its configuration test with such a pair, accepts the reload and dies.
    pending = server.issuer.request()
    server.issuer.issue(pending)
    pathlib.Path(pending.key_path).write_bytes(pki.key_pem(pki.new_key()))
    refused("key_mismatch", server)
    assert not pending.has("fullchain.pem")


def test_a_certificate_for_another_key_never_reaches_the_server(server: servers.Server) -> None:
    pending = server.issuer.request()
    leaf = server.issuer.inter.issue(NAME, pki.new_key().public_key(), start=servers.now() - pki.days(1))
    (server.issuer.path / "inbox" / "x.cer").write_text(pki.pem(leaf))
    error = refused("other_key", server)
    assert pending.spki_sha256() in error.message


def test_a_configuration_broken_elsewhere_stops_the_swap_before_it_begins(server: servers.Server) -> None:
    server.issuer.issue(server.issuer.request())
    (server.path / "conf.d" / "broken.conf").write_text("this is no directive\n")
    error = refused("config_test_failed", server)
    assert "broken.conf" in error.message
    assert "nothing was changed" in error.message


def test_a_configuration_that_breaks_with_the_new_certificate_is_rolled_back(server: servers.Server) -> None:
    pending = server.issuer.request()
    server.issuer.issue(pending)
    live = f"{server.issuer.store.path}/{NAME}/live"
    picky = ["/bin/sh", "-c", f'case "$(readlink {live})" in *{pending.id}) echo "I do not like it"; exit 1;; esac']
    error = refused("config_test_failed", server, test=picky)
    assert "I do not like it" in error.message
    assert error.details["rolled_back"] is True


def test_a_reload_that_fails_is_rolled_back(server: servers.Server) -> None:
    server.issuer.issue(server.issuer.request())
    error = refused("reload_failed", server, reload=["/bin/sh", "-c", "echo unit is masked >&2; exit 3"])
    assert "unit is masked" in error.message
    assert "exit status 3" in error.message
    assert error.details["rolled_back"] is True


def test_a_reload_that_hangs_is_killed_with_its_children(server: servers.Server, tmp_path: pathlib.Path) -> None:
    server.issuer.issue(server.issuer.request())
    note = tmp_path / "pid"
    hanging = ["/bin/sh", "-c", f"sleep 300 & echo $! > {note}; wait"]
    error = refused("reload_failed", server, reload=hanging, timeout=1)
    assert "killed" in error.message
    child = int(note.read_text())
    assert ended(child)


def test_a_missing_reload_command_changes_nothing(server: servers.Server) -> None:
    server.issuer.issue(server.issuer.request())
    refused("command_missing", server, reload=["/nowhere/reload"])


def test_a_stopped_server_changes_nothing(server: servers.Server) -> None:
    server.issuer.issue(server.issuer.request())
    server.stop()
    error = refused("port_closed", server)
    assert f"127.0.0.1:{server.port}" in error.message


def test_a_reload_that_the_server_does_not_follow_is_rolled_back(server: servers.Server) -> None:
    server.issuer.issue(server.issuer.request())
    error = refused("served_other", server, reload=["true"])
    assert f"serial {server.served()}" in error.message
    assert error.details["rolled_back"] is True


def test_another_virtual_host_that_answers_by_default_is_noticed(server: servers.Server) -> None:
    other = "new.example.ac.jp"
    server.issuer.issue(server.issuer.request(other), other)
    with pytest.raises(UpkiError) as caught:
        install(server, server.item(other))
    assert caught.value.code == "served_other"
    assert NAME in caught.value.message
    assert server.issuer.store.certificate(other).link("live") is None
    assert server.served() is not None


def test_a_first_certificate_opens_the_port(idle: servers.Server) -> None:
    """The virtual host waits for the files: the configuration test fails before the flip and holds after it."""
    first = "first.example.ac.jp"
    issuer = idle.issuer
    issuer.issue(issuer.request())
    issuer.install({"name": NAME})
    idle.serve(NAME)
    (idle.path / "conf.d" / "first.conf").write_text(idle.vhost(first))
    leaf = issuer.issue(issuer.request(first), first)
    result = install(idle, idle.item(first))
    assert result["certificates"][0]["state"] == "live"
    assert idle.served(first) == leaf.serial_number


def test_a_first_certificate_for_a_port_where_nothing_listens_changes_nothing(idle: servers.Server) -> None:
    idle.issuer.issue(idle.issuer.request())
    with pytest.raises(UpkiError) as caught:
        install(idle, reload=["true"], test=[])
    assert caught.value.code == "port_closed"
    assert idle.issuer.store.certificate(NAME).link("live") is None
    assert idle.issuer.store.certificate(NAME).pending is not None


def test_a_lost_reload_is_made_up_for_by_the_next_run(server: servers.Server) -> None:
    pending = server.issuer.request()
    leaf = server.issuer.issue(pending)
    server.issuer.install({"name": NAME})  # as a run that was killed between flip and reload
    assert server.served() != leaf.serial_number
    result = install(server)
    assert result["changed"] is True
    assert result["certificates"][0]["reason_code"] == "reloaded"
    assert server.served() == leaf.serial_number
    assert install(server)["changed"] is False


def test_a_stopped_server_is_only_a_warning_when_nothing_is_due(server: servers.Server) -> None:
    server.stop()
    result = install(server)
    assert result["changed"] is False
    assert "nothing listens" in result["warnings"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a server as another user")
def test_a_certificate_that_the_server_cannot_read_is_rolled_back(idle: servers.Server) -> None:
    """The server runs as nobody: the test as root passes, the reload is accepted, the old certificate goes on."""
    if idle.kind != "nginx" or shutil.which("setpriv") is None:
        pytest.skip("shown with nginx, started by setpriv as another user")
    issuer = idle.issuer
    first = issuer.request()
    issuer.issue(first)
    issuer.install({"name": NAME})
    os.chmod(first.key_path, 0o644)
    for path in (idle.path, idle.path / "conf.d"):
        shutil.chown(path, "nobody")
    idle.config.write_text(idle.config.read_text().replace("user root;\n", ""))
    idle.prefix = ["setpriv", "--reuid=65534", "--clear-groups", "--"]
    idle.serve(NAME)
    issuer.issue(issuer.request())
    error = refused("served_other", idle)
    assert error.details["rolled_back"] is True


class Hammer(threading.Thread):
    """A client that makes one handshake after another and keeps what it saw."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.stopped = port, threading.Event()
        self.problems: list[str] = []
        self.serials: list[int] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            seen = _probe.look("127.0.0.1", self.port, NAME)
            if seen.leaf is None:
                self.problems.append(f"{seen.problem}: {seen.detail}")
            else:
                self.serials.append(_x509.certificate_from_der(seen.leaf).serial_number)


def test_a_client_that_never_stops_sees_no_failed_handshake(server: servers.Server) -> None:
    serials = [server.served()]
    hammer = Hammer(server.port)
    hammer.start()
    try:
        for _number in range(SWAPS):
            for path in (server.issuer.path / "inbox").iterdir():
                path.unlink()
            serials.append(server.issuer.issue(server.issuer.request()).serial_number)
            assert install(server)["changed"]
            assert server.served() == serials[-1]
    finally:
        hammer.stopped.set()
        hammer.join(10)
    assert hammer.problems == []
    assert set(hammer.serials) <= set(serials)
    assert len(hammer.serials) > SWAPS


def test_the_files_that_serve_load_in_pythons_own_tls(server: servers.Server) -> None:
    live = pathlib.Path(server.issuer.store.path, NAME, "live")
    _preflight.load_files(str(live / "fullchain.pem"), str(live / "key.pem"))


# --- processes that die in the middle ----------------------------------------------------------------------------

RUN = "import json, sys; from ansible_collections.campus.upki.plugins.module_utils import _install; "
RUN += "json.dump(_install.run(json.load(open(sys.argv[1]))), sys.stdout)"


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def command_line(server: servers.Server, **row: Any) -> list[str]:
    """The install as a command."""
    params = server.issuer.path / "params.json"
    params.write_text(json.dumps(server.issuer.params(server.item(), servers=server.row(**row))))
    return [sys.executable, "-B", "-c", RUN, str(params)]


def on_the_host(server: servers.Server, **row: Any) -> subprocess.Popen[bytes]:
    """The install as a process of its own."""
    return subprocess.Popen(
        command_line(server, **row),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )


# --- disks that fail ---------------------------------------------------------------------------------------------


def traced(server: servers.Server, *options: str) -> subprocess.CompletedProcess[bytes]:
    """The install under strace. Children are not followed, so the server's own commands work."""
    program = shutil.which("strace")
    if program is None or subprocess.run([program, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("no strace that may trace here")
    return subprocess.run(
        [program, *options, *command_line(server)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )


FAILING = {  # what fails: (strace's options, the path that the message names, below the name's folder)
    "the files before the flip": (["rename:error=ENOSPC:when=3"], "generations/{0}/fullchain.pem"),
    "the flip": (["rename:error=ENOSPC:when=4"], "live"),
    "the folder's fsync after the flip": (["fsync:error=EIO:when=1", "-P"], "live"),
}


@pytest.mark.parametrize("what", sorted(FAILING))
def test_a_disk_that_fails_leaves_the_old_certificate_serving(server: servers.Server, what: str) -> None:
    (inject, *only), place = FAILING[what]
    pending = server.issuer.request()
    leaf = server.issuer.issue(pending)
    old, live = server.served(), server.issuer.live()
    folder = f"{server.issuer.store.path}/{NAME}"
    answer = traced(server, "-e", f"inject={inject}", "-o", "/dev/null", *only, *[folder for _option in only])
    assert answer.returncode != 0
    said = answer.stderr.decode()
    assert "UpkiError: Could not" in said and f"{folder}/{place.format(pending.id)}'" in said, said
    assert (server.served(), server.issuer.live()) == (old, live)
    install(server)
    assert server.served() == leaf.serial_number
    assert install(server)["changed"] is False


def test_an_immutable_folder_leaves_the_old_certificate_serving(server: servers.Server) -> None:
    chattr = shutil.which("chattr")
    if chattr is None or os.geteuid() != 0:
        pytest.skip("needs root and chattr")
    leaf = server.issuer.issue(server.issuer.request())
    target = str(pathlib.Path(server.issuer.store.path, NAME))
    if subprocess.run([chattr, "+i", target], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable flag")
    try:
        error = refused("store_io", server)
    finally:
        subprocess.run([chattr, "-i", target], check=True)
    assert "lsattr" in error.fix
    install(server)
    assert server.served() == leaf.serial_number


@pytest.mark.parametrize("when", ["in the test before the flip", "in the test after the flip", "in the reload"])
def test_a_killed_process_is_made_up_for_by_the_next_run(server: servers.Server, when: str) -> None:
    pending = server.issuer.request()
    leaf = server.issuer.issue(pending)
    old = server.served()
    live = f"{server.issuer.store.path}/{NAME}/live"
    kill = ["/bin/sh", "-c", "kill -9 $PPID"]
    kill_after = ["/bin/sh", "-c", f'case "$(readlink {live})" in *{pending.id}) kill -9 $PPID;; esac']
    rows = {
        "in the test before the flip": {"test": kill},
        "in the test after the flip": {"test": kill_after},
        "in the reload": {"reload": kill},
    }
    process = on_the_host(server, **rows[when])
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert server.served() == old
    result = install(server)
    assert result["changed"] is True
    assert server.served() == leaf.serial_number
    assert install(server)["changed"] is False


def test_a_controller_that_goes_away_leaves_nothing_half_done(server: servers.Server) -> None:
    """The connection hangs up during the reload, nobody reads the result: the swap is finished all the same."""
    leaf = server.issuer.issue(server.issuer.request())
    hang_up = ["/bin/sh", "-c", f"kill -HUP $PPID; exec {' '.join(server.reload())}"]
    process = on_the_host(server, reload=hang_up)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.wait(30)
    assert server.served() == leaf.serial_number
    assert server.issuer.store.certificate(NAME).pending is None
    assert install(server)["changed"] is False


@pytest.mark.parametrize("what", ["fullchain", "certificate"])
def test_fixed_paths_serve_and_go_back_with_the_swap(idle: servers.Server, what: str) -> None:
    """A configuration with paths of its own: copies of the files, covered by the swap and by its rollback."""
    issuer = idle.issuer
    etc = issuer.path / "etc"
    etc.mkdir()
    links = [{"path": str(etc / "www.crt"), "what": what}, {"path": str(etc / "www.key"), "what": "key", "copy": True}]
    text = idle.vhost(NAME).replace(f"{issuer.store.path}/{NAME}/live/fullchain.pem", str(etc / "www.crt"))
    vhost = text.replace(f"{issuer.store.path}/{NAME}/live/key.pem", str(etc / "www.key"))
    first = issuer.issue(issuer.request())
    issuer.install({"name": NAME, "links": links})
    (idle.path / "conf.d" / "www.conf").write_text(vhost)
    idle.start()
    assert idle.served() == first.serial_number
    second = issuer.issue(issuer.request())
    item = idle.item(links=links)
    error = refused("reload_failed", idle, item, reload=["false"])
    assert error.details["rolled_back"] is True
    _preflight.load_files(str(etc / "www.crt"), str(etc / "www.key"))
    install(idle, item)
    assert idle.served() == second.serial_number
    assert install(idle, item)["changed"] is False
    install(idle, idle.item(links=links, state="previous"))
    assert idle.served() == first.serial_number

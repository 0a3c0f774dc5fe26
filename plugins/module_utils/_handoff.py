# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parcel for a virtual domain server, which the IT centre runs: certificate, key and intermediates in one archive.

Source of what is handed over: UEC's instructions for virtual domain servers (certificate, key without a passphrase and
intermediate). The archive is the same, byte for byte, for the same generation, so a second run finds nothing to do.
"""

import collections
import hashlib
import io
import os
import stat
import subprocess
import tempfile
import zipfile

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _preflight, _servers, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store

MODE = 0o600
TOOLS = {
    # Both read the archive from standard input and write the encrypted one to standard output.
    "age": {"suffix": ".age", "argv": ["age", "--encrypt"], "recipient": "--recipient"},
    "gpg": {
        "suffix": ".gpg",
        "argv": ["gpg", "--batch", "--yes", "--no-tty", "--no-auto-key-locate", "--trust-model", "always", "--encrypt"],
        "recipient": "--recipient",
    },
}
TIMEOUT = 60

Parcel = collections.namedtuple("Parcel", "name certificate chain key generation")

TEXT = """{name} のサーバ証明書一式をお送りします。
The server certificate of {name}, with its key and intermediates.

FQDN:                          {name}
シリアル番号 (serial, decimal): {serial}
有効期間 (validity, UTC):       {begin} - {end}
発行者 (issuer):               {issuer}

{name}.cer        サーバ証明書 (server certificate)
{name}.key        秘密鍵, パスフレーズなし (private key, no passphrase)
{name}.chain.cer  中間CA証明書 (intermediates, in the order to serve)

SHA-256:
{sums}
"""
ENCRYPTED = """
暗号化 (encrypted with {tool} for):
{recipients}
"""


def run(params, check_mode=False):
    """The module's result. The key is in the archive and nowhere else."""
    parcel = open_parcel(params["store"], params["name"], params.get("generation"))
    files = contents(parcel)
    tool = _tool(params.get("encrypt_with"), params.get("recipients") or [])
    # The encrypted archive does not say for whom it is; that the letter does lets the next run see other recipients.
    text = letter(parcel, files) + _recipients_text(tool, params.get("recipients") or [])
    path = os.path.join(params["dest"], archive_name(parcel, tool))
    letter_path = os.path.join(params["dest"], "{0}.txt".format(parcel.name))
    data = archive(files + [("README.txt", text.encode("utf-8"))], parcel)
    changed = not _is_there(path, None if tool else data) or not _is_there(letter_path, text.encode("utf-8"))
    if changed and not check_mode:
        _check_folder(params["dest"])
        _atomic.write_file(path, encrypted(data, tool, params["recipients"]) if tool else data, MODE)
        _atomic.write_file(letter_path, text.encode("utf-8"), MODE)
    elif changed:
        _check_folder(params["dest"])
    return {
        "changed": changed,
        "name": parcel.name,
        "path": path,
        "letter": letter_path,
        "text": text,
        "generation": parcel.generation.id,
        "serial": str(parcel.certificate.serial_number),
        "not_after": _x509.not_after(parcel.certificate).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "encrypted": tool is not None,
    }


def open_parcel(store, name, generation_id=None):
    """The Parcel of what is live, or of the generation asked for. UpkiError unless the three belong together."""
    slot = Store(store).certificate(name)
    generation = slot.generation(generation_id) if generation_id else slot.live
    if generation is None or not generation.has("fullchain.pem", "key.pem"):
        raise UpkiError(
            "nothing_to_hand_over",
            "There is no complete certificate of '{0}' in the store{1}.".format(
                name, " under the generation '{0}'".format(generation_id) if generation_id else ""
            ),
            "Put the issued certificate into the inbox and run campus.upki.install first, without 'server'.",
        )
    _preflight.load_files(generation.file("fullchain.pem"), generation.key_path)
    with _atomic.explained(generation.key_path, "read"), open(generation.key_path, "rb") as stream:
        key = stream.read()
    certificate, chain = generation.certificate(), generation.chain()
    lower = certificate
    for upper in chain:
        if not _x509.signed_by(lower, upper.public_key()):
            raise UpkiError(
                "chain_broken",
                "In the chain of '{0}' the certificate '{1}' did not sign the one before it.".format(
                    name, _x509.name_text(upper.subject)
                ),
                "Run campus.upki.install with the right intermediates.",
            )
        lower = upper
    return Parcel(name, certificate, chain, key, generation)


def contents(parcel):
    """[(file name, bytes)] of what is handed over, with the list of checksums last."""
    files = [
        ("{0}.cer".format(parcel.name), _x509.pem(parcel.certificate).encode("ascii")),
        ("{0}.chain.cer".format(parcel.name), "".join(_x509.pem(one) for one in parcel.chain).encode("ascii")),
        ("{0}.key".format(parcel.name), parcel.key),
    ]
    sums = "".join("{0}  {1}\n".format(hashlib.sha256(data).hexdigest(), name) for name, data in files)
    return files + [("SHA256SUMS", sums.encode("ascii"))]


def letter(parcel, files):
    """The text for the mail. It holds checksums and no key."""
    return TEXT.format(
        name=parcel.name,
        serial=parcel.certificate.serial_number,
        begin=_x509.not_before(parcel.certificate).strftime("%Y-%m-%d %H:%M"),
        end=_x509.not_after(parcel.certificate).strftime("%Y-%m-%d %H:%M"),
        issuer=_x509.name_value(parcel.certificate.issuer, "CN"),
        sums=dict(files)["SHA256SUMS"].decode("ascii").rstrip("\n"),
    )


def _recipients_text(tool, recipients):
    if tool is None:
        return ""
    return ENCRYPTED.format(tool=tool["argv"][0], recipients="\n".join(recipients))


def archive_name(parcel, tool):
    day = _x509.not_before(parcel.certificate).strftime("%Y%m%d")
    return "{0}-{1}.zip{2}".format(parcel.name, day, tool["suffix"] if tool else "")


def archive(files, parcel):
    """A zip archive whose bytes depend on its content alone."""
    begin = _x509.not_before(parcel.certificate)
    stamp = (max(begin.year, 1980), begin.month, begin.day, begin.hour, begin.minute, begin.second)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as made:
        for name, data in files:
            info = zipfile.ZipInfo("{0}/{1}".format(parcel.name, name), stamp)
            info.external_attr = (stat.S_IFREG | MODE) << 16
            made.writestr(info, data)
    return stream.getvalue()


def _check_folder(path):
    if not os.path.isdir(path):
        raise UpkiError(
            "dest_missing", "The folder '{0}' for the archive does not exist.".format(path), "Make it with mode 0700."
        )


def _is_there(path, data):
    """True when a file of the right mode is there, with this content (None: any)."""
    if not os.path.isfile(path) or stat.S_IMODE(os.stat(path).st_mode) != MODE:
        return False
    with _atomic.explained(path, "read"), open(path, "rb") as stream:
        return data is None or stream.read() == data


# --- encryption ----------------------------------------------------------------------------------------------


def _tool(name, recipients):
    if not name:
        return None
    bad = [one for one in recipients if not one or one.startswith("-")]
    if not recipients or bad:
        raise UpkiError(
            "recipients_invalid",
            "Encryption with {0} needs recipients, and none may begin with '-'.".format(name),
            "Give the public key or address of the IT centre in 'recipients'.",
        )
    return TOOLS[name]


def encrypted(data, tool, recipients):
    """The archive for the recipients. The plain bytes go through a pipe and never to a file."""
    argv = list(tool["argv"])
    for recipient in recipients:
        argv += [tool["recipient"], recipient]
    environment = dict(os.environ, PATH=_servers.search_path(), LC_ALL="C")
    with tempfile.TemporaryFile() as problems:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=problems, env=environment
            )
        except OSError as error:
            raise UpkiError(
                "tool_missing",
                "The program {0} cannot be started: {1}.".format(argv[0], os.strerror(error.errno or 0)),
                "Install it on this host, or hand over without 'encrypt_with'.",
            )
        try:
            output, _none = process.communicate(data, TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            output = b""
        problems.seek(0)
        said = problems.read(2000).decode("utf-8", "replace").strip()
    if process.returncode != 0 or not output:
        raise UpkiError(
            "encryption_failed",
            "{0} could not encrypt for {1}: {2}.".format(
                argv[0], ", ".join(recipients), said.rstrip(".") or "it says nothing"
            ),
            "Check the recipients; nothing was written.",
        )
    return output

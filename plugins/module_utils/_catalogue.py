# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of every CA certificate that UPKI server certificates have led to, without the certificates themselves.

Computed from the published CA certificates; a unit test recomputes each row where they are present. `subject` and
`issuer` are written as `_x509.name_text` writes them, all identifiers in lower-case hexadecimal.

G2 and G3 are not in it: none of their certificates was at hand. Theirs are treated as those of any other CA.

role           intermediate (signs server certificates), cross (a root's key, signed by an older root) or root
server_auth    whether the extended key usage lets it sign TLS server certificates
url            where the CA publishes the file ('' where that is not known)
widely_trusted (roots) whether browsers and operating systems of several years have it. The 2024 roots are neither in
               Chrome's store nor in Debian 12's; Security Communication RootCA1 ended in 2023.
"""

SERIES = "NII Open Domain CA - "  # how every generation since G2 is called

# When server certificates came from which generation, by the day of issue in Japanese time (UTC+9).
# Source: NII, UPKI certificate issuing service, notices of the switches. It explains a message; it never chooses.
PERIODS = {
    ("G4", "rsa"): "until 2018-03-26",
    ("G5", "rsa"): "from 2018-03-26 to 2020-12-24",
    ("G6", "ec"): "from 2018-03-26 to 2020-12-24",
    ("G7", "rsa"): "from 2020-12-25 to 2025-12-16",
    ("G7", "ec"): "from 2020-12-25 until some day after 2026-08-05",
    ("G8", "rsa"): "from 2025-12-17",
    ("G8", "ec"): "from some day after 2026-08-05",
}

ROWS = (
    {
        "role": "intermediate",
        "generation": "G4",
        "key": "rsa2048",
        "subject": "C=JP, L=Academe, O=National Institute of Informatics, CN=NII Open Domain CA - G4",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "190b6f391f3103345fe4d2401f37e68de762397c",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "6540cfcf743e84ab2d67866f2f13a53fe7af2e8977a5c1681fe07a1869620dd1",
        "not_before": "2014-12-25T05:29:42Z",
        "not_after": "2024-12-25T05:29:42Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G4",
        "key": "rsa2048",
        "subject": "C=JP, L=Academe, O=National Institute of Informatics, CN=NII Open Domain CA - G4",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "190b6f391f3103345fe4d2401f37e68de762397c",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "86ebae8c2902cf12228488728296fdc55f416bb1456f9462dfac388ae7c9abe2",
        "not_before": "2021-07-12T06:15:31Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": False,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G5",
        "key": "rsa2048",
        "subject": "C=JP, O=National Institute of Informatics, CN=NII Open Domain CA - G5",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "673a3ac16bb71ca64146393084c86900591158c1",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "80f5b0d16fae8e72b9f1346fedd78883d4a629d1382fbcfc694f54bfc1eedd3c",
        "not_before": "2018-03-22T06:33:29Z",
        "not_after": "2028-03-22T06:33:29Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G5",
        "key": "rsa2048",
        "subject": "C=JP, O=National Institute of Informatics, CN=NII Open Domain CA - G5",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "673a3ac16bb71ca64146393084c86900591158c1",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "09983a2632c033eb9449c0ebf21f9b8d4a9975c06fb8e20f4a5042e9e4cc6411",
        "not_before": "2020-03-23T07:17:36Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G5",
        "key": "rsa2048",
        "subject": "C=JP, O=National Institute of Informatics, CN=NII Open Domain CA - G5",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "673a3ac16bb71ca64146393084c86900591158c1",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "dacaa09ffad8f66edb6ed69707a827c9e44c1f97c48f0179485f206d707b3e2b",
        "not_before": "2020-05-20T07:37:07Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G6",
        "key": "p384",
        "subject": "C=JP, O=National Institute of Informatics, CN=NII Open Domain CA - G6",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "subject_key_id": "397beb897be52ed5f71e9514caeeaedd589446b0",
        "authority_key_id": "861ce7fe2da54a8b08fe2811fabea366f860592f",
        "sha256": "76bd451ebb1a86332c608d9993878610831855717d7b9d6b82b3cde7276e6b75",
        "not_before": "2018-03-22T06:53:18Z",
        "not_after": "2028-03-22T06:53:18Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G6",
        "key": "p384",
        "subject": "C=JP, O=National Institute of Informatics, CN=NII Open Domain CA - G6",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "subject_key_id": "397beb897be52ed5f71e9514caeeaedd589446b0",
        "authority_key_id": "861ce7fe2da54a8b08fe2811fabea366f860592f",
        "sha256": "9c669f3ac59b738a5ff6bc70a5d9fd277c3d9e420f31de234f7149d84e2ef19f",
        "not_before": "2020-05-20T08:06:19Z",
        "not_after": "2030-05-20T08:06:19Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G7",
        "key": "p384",
        "subject": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=NII Open Domain CA - G7 ECC",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "subject_key_id": "6b30200caeb7c3139bd9a759178a5e30c14c5549",
        "authority_key_id": "861ce7fe2da54a8b08fe2811fabea366f860592f",
        "sha256": "81cd03067252ffe849b240dcc24566678677e3f5fedc4c540d7a26cad2c081c8",
        "not_before": "2020-12-15T09:17:38Z",
        "not_after": "2030-12-15T09:17:38Z",
        "server_auth": True,
        "url": "https://repo1.secomtrust.net/sppca/nii/odca4/nii-odca4g7ecc.cer",
    },
    {
        "role": "intermediate",
        "generation": "G7",
        "key": "rsa2048",
        "subject": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=NII Open Domain CA - G7 RSA",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "b02ee551edfc4acfa387f11390762d9d8e94a1e3",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "603db707a584003bed6f1d43dcd4eae13cd18d798e827de2f3a31f3193fc0dac",
        "not_before": "2020-12-15T08:46:22Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": True,
        "url": "https://repo1.secomtrust.net/sppca/nii/odca4/nii-odca4g7rsa.cer",
    },
    {
        "role": "intermediate",
        "generation": "G8",
        "key": "p384",
        "subject": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=NII Open Domain CA - G8 ECC",
        "issuer": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS ECC Root CA 2024",
        "subject_key_id": "23cf77fc5f86ff456614b28ab6d2cada5567ee25",
        "authority_key_id": "3b76117b2974e24e064c568240d0212f7ab3c9d5",
        "sha256": "287ba7d22607d566b8372eb18d3115aef037a84ffc1932bfb4b5200dfa60064b",
        "not_before": "2026-08-05T04:56:54Z",
        "not_after": "2029-06-05T00:00:00Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "intermediate",
        "generation": "G8",
        "key": "rsa4096",
        "subject": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=NII Open Domain CA - G8 RSA",
        "issuer": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS RSA Root CA 2024",
        "subject_key_id": "92aa38b1185a2b5c4be7a10a40a5f24429d8c053",
        "authority_key_id": "2ceb72128e58776435155635015707a97d0d36e6",
        "sha256": "7a4ad9e1ba2dfb08f752a124032f7058868062e9841785623eb4136783a53ffc",
        "not_before": "2025-08-21T05:06:58Z",
        "not_after": "2040-08-21T00:00:00Z",
        "server_auth": True,
        "url": "https://repo1.secomtrust.net/sppca/nii/odca4/nii-odca4g8rsa-pem.cer",
    },
    {
        "role": "cross",
        "generation": "",
        "key": "p384",
        "subject": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS ECC Root CA 2024",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "subject_key_id": "3b76117b2974e24e064c568240d0212f7ab3c9d5",
        "authority_key_id": "861ce7fe2da54a8b08fe2811fabea366f860592f",
        "sha256": "22da96f19efc0429034a22755e9d7fe4746b3cad56a013ed1c02f142a722b9a7",
        "not_before": "2025-04-09T06:34:14Z",
        "not_after": "2038-01-18T00:00:00Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "root",
        "generation": "",
        "key": "p384",
        "subject": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS ECC Root CA 2024",
        "issuer": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS ECC Root CA 2024",
        "subject_key_id": "3b76117b2974e24e064c568240d0212f7ab3c9d5",
        "authority_key_id": "3b76117b2974e24e064c568240d0212f7ab3c9d5",
        "sha256": "6ab2ab75f51cb4f4f0156203fbf6f646232f514be059f62833308b82b4d72db1",
        "not_before": "2024-01-31T05:52:34Z",
        "not_after": "2049-01-14T05:52:34Z",
        "server_auth": True,
        "url": "",
        "widely_trusted": False,
    },
    {
        "role": "cross",
        "generation": "",
        "key": "rsa4096",
        "subject": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS RSA Root CA 2024",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "2ceb72128e58776435155635015707a97d0d36e6",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "c8fb5bb81193ca9b531e2a0a568f14cc75d20924b98d2724dd243f63d813cf13",
        "not_before": "2025-04-09T05:28:15Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": True,
        "url": "https://repository.secomtrust.net/SC-Root2/tlsrsarootca2024cross-pem.cer",
    },
    {
        "role": "root",
        "generation": "",
        "key": "rsa4096",
        "subject": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS RSA Root CA 2024",
        "issuer": "C=JP, O=SECOM Trust Systems Co., Ltd., CN=SECOM TLS RSA Root CA 2024",
        "subject_key_id": "2ceb72128e58776435155635015707a97d0d36e6",
        "authority_key_id": "2ceb72128e58776435155635015707a97d0d36e6",
        "sha256": "1435f225c5d252d7a21948cc3ce62aecfa88001e3dd72d1cc3555100eb372f93",
        "not_before": "2024-01-31T05:11:55Z",
        "not_after": "2049-01-14T05:11:55Z",
        "server_auth": True,
        "url": "",
        "widely_trusted": False,
    },
    {
        "role": "cross",
        "generation": "",
        "key": "p384",
        "subject": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "861ce7fe2da54a8b08fe2811fabea366f860592f",
        "authority_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "sha256": "c3ebcea7e6b13ac3eb3a79f05819e67d6893c65642f50d9b5e1647cb26506b8e",
        "not_before": "2024-04-04T06:22:18Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": True,
        "url": "",
    },
    {
        "role": "root",
        "generation": "",
        "key": "p384",
        "subject": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., CN=Security Communication ECC RootCA1",
        "subject_key_id": "861ce7fe2da54a8b08fe2811fabea366f860592f",
        "authority_key_id": "",
        "sha256": "e74fbda55bd564c473a36b441aa799c8a68e077440e8288b9fa1e50e4bbaca11",
        "not_before": "2016-06-16T05:15:28Z",
        "not_after": "2038-01-18T05:15:28Z",
        "server_auth": True,
        "url": "",
        "widely_trusted": True,
    },
    {
        "role": "root",
        "generation": "",
        "key": "rsa2048",
        "subject": "C=JP, O=SECOM Trust.net, OU=Security Communication RootCA1",
        "issuer": "C=JP, O=SECOM Trust.net, OU=Security Communication RootCA1",
        "subject_key_id": "a073499968dc855b65e39b282f579fbd33bc0748",
        "authority_key_id": "",
        "sha256": "e75e72ed9f560eec6eb4800073a43fc3ad19195a392282017895974a99026b6c",
        "not_before": "2003-09-30T04:20:49Z",
        "not_after": "2023-09-30T04:20:49Z",
        "server_auth": True,
        "url": "",
        "widely_trusted": False,
    },
    {
        "role": "root",
        "generation": "",
        "key": "rsa2048",
        "subject": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "issuer": "C=JP, O=SECOM Trust Systems CO.,LTD., OU=Security Communication RootCA2",
        "subject_key_id": "0a85a9776505987c4081f80f972c38f10aec3ccf",
        "authority_key_id": "",
        "sha256": "513b2cecb810d4cde5dd85391adfc6c2dd60d87bb736d2b521484aa47a0ebef6",
        "not_before": "2009-05-29T05:00:39Z",
        "not_after": "2029-05-29T05:00:39Z",
        "server_auth": True,
        "url": "",
        "widely_trusted": True,
    },
)

_BY_SHA256 = {row["sha256"]: row for row in ROWS}


def pinned(sha256):
    """The row of a certificate with this SHA-256, or None: only a pinned certificate is what its row says."""
    return _BY_SHA256.get(sha256)


def by_key(subject, subject_key_id, roles=("intermediate", "cross", "root")):
    """All rows of a CA, by subject and key identifier; the re-issues of one CA share both."""
    return [
        row
        for row in ROWS
        if row["subject"] == subject and row["subject_key_id"] == subject_key_id and row["role"] in roles
    ]


def root_of(row):
    """The root's row that signed the certificate of this row, or None."""
    found = by_key(row["issuer"], row["authority_key_id"], ("root",))
    return found[0] if found else None


def valid(row, now):
    """Whether `now` (aware datetime in UTC) lies in the row's validity."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return row["not_before"] <= moment <= row["not_after"]


def usable(row, now):
    """Whether the row's certificate may stand in a server's chain at this time."""
    return row["server_auth"] and valid(row, now)


def common_name(row):
    """The CN of the row's subject, or the whole subject where there is none."""
    return row["subject"].split("CN=", 1)[-1].split(", ")[0] if "CN=" in row["subject"] else row["subject"]


def period(row):
    """What the switch dates say of the row's generation, for messages; '' for an unknown one."""
    return PERIODS.get((row["generation"], "rsa" if row["key"].startswith("rsa") else "ec"), "")


def file_name(row):
    """The file's name at the CA's repository, or ''."""
    return row["url"].rsplit("/", 1)[-1]


def where(row):
    """What a person needs to fetch this certificate and to be sure of it."""
    if row["url"]:
        return "{0} ({1} , SHA-256 {2})".format(file_name(row), row["url"], row["sha256"])
    return "the certificate '{0}' (its address is not known here; look it up by its SHA-256 {1})".format(
        common_name(row), row["sha256"]
    )

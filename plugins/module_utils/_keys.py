# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key types that the service accepts, as data.

Source: UPKI's certificate profiles 3 and 11; other sizes, RSA 3072 and 4096 among them, are refused.
"""

KEY_TYPES = {
    # profile: 証明書プロファイルID, column 2 of the TSV. hash: the CSR's own signature.
    "rsa2048": {"profile": "3", "algorithm": "rsa", "bits": 2048, "hash": "sha256", "text": "RSA 2048 bit"},
    "p384": {"profile": "11", "algorithm": "ec", "curve": "secp384r1", "hash": "sha384", "text": "EC P-384"},
}

PROFILES = {row["profile"]: name for name, row in KEY_TYPES.items()}

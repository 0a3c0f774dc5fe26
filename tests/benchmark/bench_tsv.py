# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast renewals are built and checked, beside what cryptography alone needs for the same CSRs.

    python tests/benchmark/bench_tsv.py [--records 10000] [--key rsa2048 --key p384]

Each set of 99 records (one full file) is measured three ways in turn, so that a busy machine slows all three:
cryptography alone (load the PEM text, verify the signature), building (records as the module gets them → checks →
bytes of the file) and checking (bytes of the file → records and faults). CPU time of the process, one thread.
The CSRs are made beforehand and are not measured. For the memory, all records are built in one call in a process of
their own; the peak is the process's, with Python, the library and the input. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import time
from typing import Any

import cryptography
from ansible_collections.campus.upki.plugins.module_utils import (
    _keys,
    _subject,
    _tsv,
    _tsv_record,
    _tsv_set,
    _x509,
)
from cryptography import x509

SET = 99
SUBJECT = {"organization": "The University of Electro-Communications", "locality": "chofu", "state": "tokyo"}
HEAD = "| key | cryptography alone | building | ratio | checking | ratio | peak memory |"


def records(key_type: str, count: int) -> list[dict[str, Any]]:
    """Renewals as campus.upki.request returns them; each set of 99 has keys that differ."""
    key_types: dict[str, Any] = dict(_keys.KEY_TYPES)
    hash_name = key_types[key_type]["hash"]
    keys = [_x509.generate_key(key_type) for _number in range(min(SET, count))]
    found = []
    for number in range(count):
        name = f"host{number:05d}.dept{number % 50:02d}.example.ac.jp"
        fields = _subject.request_fields(SUBJECT, name)
        request = _x509.build_request(keys[number % SET], fields, hash_name)
        found.append(
            {
                "kind": "server_renew",
                "subject": dict(SUBJECT, common_name=name),
                "serial": str(10**37 + number),
                "csr": _x509.pem(request),
                "manager_name": "電通太郎",
                "manager_affiliation": "情報基盤センター",
                "manager_email": "taro@example.ac.jp",
                "fqdn": name,
                "software": "nginx",
                "dns_names": [f"www{number}.example.ac.jp", f"mail{number}.example.ac.jp"],
            }
        )
    return found


def alone(group: list[dict[str, Any]]) -> None:
    """What the library needs: parse each CSR and verify its signature."""
    for record in group:
        assert x509.load_pem_x509_csr(record["csr"].encode("ascii")).is_signature_valid


def build(group: list[dict[str, Any]]) -> tuple[bytes, int]:
    """What campus.upki.tsv does with the records: the bytes, and how many faults were found."""
    rows, faults, _notes = _tsv.examine_set(group)
    lines = [_tsv_set.final_line(row) for _number, row in rows]
    return _tsv_record.encode(lines), len(faults)


def measure(key_type: str, count: int) -> dict[str, float]:
    """Seconds of CPU for all records: alone, build, check."""
    spent = {"alone": 0.0, "build": 0.0, "check": 0.0}
    everything = records(key_type, count)
    for start in range(0, count, SET):
        group = everything[start : start + SET]
        began = time.process_time()
        alone(group)
        loaded = time.process_time()
        data, faults = build(group)
        built = time.process_time()
        found = _tsv.read(data)
        checked = time.process_time()
        assert faults == 0 and not found["faults"] and len(found["records"]) == len(group)
        spent["alone"] += loaded - began
        spent["build"] += built - loaded
        spent["check"] += checked - built
    return spent


def _memory(key_type: str, count: int, answers: Any) -> None:
    everything = records(key_type, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data, _faults = build(everything)  # the same 99 keys come again and again, and each is a fault to remember
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers.put((before / 1024, after / 1024, len(data)))


def memory(key_type: str, count: int) -> tuple[float, float, int]:
    """(peak before in MiB, peak after, bytes written) of one call with all the records."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_memory, args=(key_type, count, answers))
    process.start()
    found = answers.get()
    process.join()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10000)
    parser.add_argument("--key", action="append", choices=sorted(_keys.KEY_TYPES))
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, cryptography {cryptography.__version__}, {options.records} renewals\n")
    print(HEAD)
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for key_type in options.key or sorted(_keys.KEY_TYPES):
        spent = measure(key_type, options.records)
        rate = {name: options.records / seconds for name, seconds in spent.items()}
        peak = memory(key_type, options.records)[1]
        print(
            f"| {key_type} | {rate['alone']:,.0f}/s | {rate['build']:,.0f}/s | {spent['build'] / spent['alone']:.2f}"
            f" | {rate['check']:,.0f}/s | {spent['check'] / spent['alone']:.2f} | {peak:.0f} MiB |"
        )


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of verify as files for other programs: JSON, CSV, JUnit XML, Prometheus text. Pure functions to text."""

import csv
import datetime
import io
import json
import os
import re
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.campus.upki.plugins.module_utils import _atomic
from ansible_collections.campus.upki.plugins.module_utils._cards import STAMP
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import SEVERITIES, count
from ansible_collections.campus.upki.plugins.module_utils._where import where

# What XML 1.0 cannot carry even as a reference.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A cell that begins so is taken for a formula by spreadsheet programs.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(results):
    """All that the module returns of the endpoints."""
    findings = [row for result in results for row in result["findings"]]
    text = json.dumps({"results": results, "counts": count(findings)}, indent=2, sort_keys=True, ensure_ascii=False)
    return text + "\n"


# --- CSV -----------------------------------------------------------------------------------------------------

LEAF_COLUMNS = ("subject", "issuer", "serial", "not_before", "not_after", "sha256")
COLUMNS = ("host", "port", "server_name", "file", "ok", "days_left", "tls_version") + LEAF_COLUMNS
COLUMNS += ("codes", "messages")


def as_csv(results):
    """One line for each endpoint, with a header line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for result in results:
        leaf = result["certificate"] or {}
        row = dict(result, **{name: leaf.get(name) for name in LEAF_COLUMNS})
        row["codes"] = " ".join(one["code"] for one in result["findings"])
        row["messages"] = " ".join(one["message"] for one in result["findings"])
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return stream.getvalue()


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return "'" + text if isinstance(value, str) and text.startswith(FORMULA) else text


# --- JUnit ---------------------------------------------------------------------------------------------------


def as_junit(results):
    """One test case for each endpoint; errors are failures, warnings and notes are its output."""
    failed = sum(1 for result in results if not result["ok"])
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<testsuite name="campus.upki.verify" tests="{0}" failures="{1}" errors="0" skipped="0">'.format(
            len(results), failed
        ),
    ]
    for result in results:
        lines += _case(result)
    return "\n".join(lines + ["</testsuite>"]) + "\n"


def _case(result):
    name = "{0} {1}".format(where(result), result["server_name"] or "").strip()
    lines = ["  <testcase classname={0} name={1}>".format(_attribute("campus.upki.verify"), _attribute(name))]
    errors = [row for row in result["findings"] if row["severity"] == "error"]
    others = [row for row in result["findings"] if row["severity"] != "error"]
    if errors:
        lines.append(
            "    <failure type={0} message={1}>{2}</failure>".format(
                _attribute(errors[0]["code"]), _attribute(errors[0]["message"]), _xml(_sentences(errors))
            )
        )
    if others:
        lines.append("    <system-out>{0}</system-out>".format(_xml(_sentences(others))))
    return lines + ["  </testcase>"]


def _sentences(findings):
    return "\n".join("{severity} {code}: {message} {fix}".format(**row) for row in findings)


def _xml(text):
    return escape(NOT_XML.sub("?", text))


def _attribute(text):
    return quoteattr(NOT_XML.sub("?", text))


# --- Prometheus ----------------------------------------------------------------------------------------------

# (name, help); names after x509-certificate-exporter and blackbox_exporter where they have one for the same thing.
METRICS = (
    ("x509_cert_not_after", "End of the certificate's validity, seconds since 1970."),
    ("x509_cert_not_before", "Start of the certificate's validity, seconds since 1970."),
    ("probe_success", "1 when a certificate was obtained from the endpoint."),
    ("probe_ssl_earliest_cert_expiry", "Earliest end of validity in the chain as served, seconds since 1970."),
    ("upki_endpoint_valid", "1 when no finding of severity error exists."),
    ("upki_endpoint_findings", "Number of findings by severity."),
)


def as_prometheus(results):
    """Text for the textfile collector. The expiry stands also where the verification failed, beside a valid 0."""
    samples = {name: {} for name, _help in METRICS}  # by labels: a series may stand in the file only once
    for result in results:
        for name, labels, value in _samples(result):
            samples[name][labels] = value
    lines = []
    for name, text in METRICS:
        if samples[name]:
            lines += ["# HELP {0} {1}".format(name, text), "# TYPE {0} gauge".format(name)]
        lines += ["{0}{{{1}}} {2}".format(name, labels, value) for labels, value in sorted(samples[name].items())]
    return "\n".join(lines) + "\n" if lines else ""


def _samples(result):
    labels = _labels(target=where(result), server_name=result["server_name"] or "")
    leaf = result["certificate"]
    if leaf:
        yield "x509_cert_not_after", labels, _seconds(leaf["not_after"])
        yield "x509_cert_not_before", labels, _seconds(leaf["not_before"])
        yield "probe_ssl_earliest_cert_expiry", labels, min(_seconds(row["not_after"]) for row in result["chain"])
    yield "probe_success", labels, int(bool(leaf))
    yield "upki_endpoint_valid", labels, int(result["ok"])
    counts = count(result["findings"])
    for severity in SEVERITIES:
        yield "upki_endpoint_findings", labels + "," + _labels(severity=severity), counts[severity]


def _labels(**labels):
    return ",".join('{0}="{1}"'.format(name, _escaped(value)) for name, value in sorted(labels.items()))


def _escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(text):
    moment = datetime.datetime.strptime(text, STAMP).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp())


# --- writing -------------------------------------------------------------------------------------------------

FORMATS = {"json": as_json, "csv": as_csv, "junit": as_junit, "prometheus": as_prometheus}


def check(rows):
    """UpkiError for a report whose folder does not exist, before anything is looked at."""
    for row in rows:
        folder = os.path.dirname(os.path.abspath(row["path"]))
        if not os.path.isdir(folder) or os.path.isdir(row["path"]):
            raise UpkiError(
                "report_path_invalid",
                "The report '{0}' cannot be written: {1}.".format(
                    row["path"],
                    "it is a folder" if os.path.isdir(folder) else "the folder '{0}' does not exist".format(folder),
                ),
                "Give the path of a file in a folder that exists on the machine where the check runs.",
            )


def write(rows, results):
    """Write each report whole or not at all; readers such as node_exporter never see half a file."""
    for row in rows:
        _atomic.write_file(row["path"], FORMATS[row["format"]](results).encode("utf-8"), 0o644)

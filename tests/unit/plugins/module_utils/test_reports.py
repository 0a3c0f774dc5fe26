# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as JSON, CSV, JUnit XML and Prometheus text."""

import csv
import io
import json
import os
import re
import xml.etree.ElementTree

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _reports
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

DATES = {"not_before": "2026-10-01T00:00:00Z", "not_after": "2027-04-16T00:00:00Z"}
LEAF = dict(
    DATES, subject="C=JP, O=日本, CN=a.example", issuer="CN=Sub", serial="1234567890123456789", sha256="ab" * 32
)
CHAIN = [DATES, {"not_before": "2020-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z"}]


def row(severity="error", code="expired", message='It <is> "over" & out\x01.', fix="Renew\u2028it."):
    return {"severity": severity, "code": code, "message": message, "fix": fix}


def result(**changes):
    made = {
        "host": "192.0.2.7",
        "port": 443,
        "server_name": "a.example",
        "file": None,
        "ok": True,
        "days_left": 145,
        "tls_version": "TLSv1.3",
        "certificate": LEAF,
        "chain": CHAIN,
        "findings": [],
    }
    return dict(made, **changes)


BAD = result(server_name="b.example", ok=False, findings=[row(), row("warning", "root_included")])
GONE = result(
    server_name="c.example", ok=False, certificate=None, chain=[], days_left=None, findings=[row(code="timeout")]
)
ALL = [result(), BAD, GONE]


def test_json():
    data = json.loads(_reports.as_json(ALL))
    assert data["results"] == ALL and data["counts"] == {"error": 2, "warning": 1, "info": 0}
    assert "日本" in _reports.as_json(ALL)


def test_csv():
    rows = list(csv.DictReader(io.StringIO(_reports.as_csv(ALL))))
    assert [one["server_name"] for one in rows] == ["a.example", "b.example", "c.example"]
    assert [one["ok"] for one in rows] == ["true", "false", "false"]
    assert rows[0]["serial"] == "1234567890123456789" and rows[0]["days_left"] == "145"
    assert rows[1]["codes"] == "expired root_included" and rows[2]["not_after"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_carries_no_formula(start):
    text = start + 'HYPERLINK("http://evil.example")'
    (one,) = csv.DictReader(io.StringIO(_reports.as_csv([result(certificate=dict(LEAF, subject=text))])))
    assert one["subject"] == "'" + text
    (one,) = csv.DictReader(io.StringIO(_reports.as_csv([result(days_left=-3)])))
    assert one["days_left"] == "-3"


def test_junit():
    suite = xml.etree.ElementTree.fromstring(_reports.as_junit(ALL).encode("utf-8"))
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    well, bad, gone = suite.findall("testcase")
    assert well.get("name") == "192.0.2.7:443 a.example" and len(well) == 0
    assert bad.find("failure").get("type") == "expired" and 'It <is> "over" & out?.' in bad.find("failure").text
    assert "root_included" in bad.find("system-out").text and gone.find("system-out") is None


SAMPLE = re.compile(r'^([a-z0-9_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\} (-?\d+)$')


def samples(results):
    text = _reports.as_prometheus(results)
    assert text.endswith("\n")
    found = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            name, labels, value = SAMPLE.match(line).groups()
            assert (name, labels) not in found
            found[name, labels] = int(value)
    return found


def of(found, name, server_name):
    return [value for (metric, labels), value in found.items() if metric == name and server_name in labels]


def test_prometheus():
    found = samples(ALL)
    assert of(found, "x509_cert_not_after", "a.example") == [1807833600]
    assert of(found, "probe_ssl_earliest_cert_expiry", "a.example") == [1798761600]
    assert of(found, "upki_endpoint_valid", "a.example") == [1]
    assert of(found, "probe_success", "c.example") == [0]
    assert of(found, "x509_cert_not_after", "c.example") == []
    assert sum(of(found, "upki_endpoint_findings", "b.example")) == 2


def test_the_expiry_stays_beside_valid_0():
    found = samples([BAD])
    assert of(found, "x509_cert_not_after", "b.example") == [1807833600]
    assert of(found, "upki_endpoint_valid", "b.example") == [0]


def test_prometheus_help_and_type_stand_once():
    text = _reports.as_prometheus(ALL)
    for name, _help in _reports.METRICS:
        assert text.count("# TYPE {0} gauge\n".format(name)) == text.count("# HELP {0} ".format(name)) == 1
    assert _reports.as_prometheus([]) == ""


def test_prometheus_labels_are_escaped_and_no_series_stands_twice():
    samples([result(server_name='a"\\\nb', host="x"), result(), result()])


def test_write(tmp_path):
    paths = {name: str(tmp_path / name) for name in _reports.FORMATS}
    rows = [{"format": name, "path": path} for name, path in paths.items()]
    for _time in range(2):
        _reports.check(rows)
        _reports.write(rows, ALL)
    assert sorted(os.listdir(str(tmp_path))) == sorted(paths)
    assert (tmp_path / "csv").read_bytes() == _reports.as_csv(ALL).encode("utf-8")
    assert os.stat(paths["prometheus"]).st_mode & 0o777 == 0o644


def test_a_folder_that_does_not_exist(tmp_path):
    for path, word in ((tmp_path / "absent" / "x.json", "absent"), (tmp_path, "folder")):
        with pytest.raises(UpkiError) as caught:
            _reports.check([{"format": "json", "path": str(path)}])
        assert caught.value.code == "report_path_invalid" and word in caught.value.message

"""docs/metrics.md, docs/monitoring and docs/runbooks say what `/metrics` says, and work."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from outlast_broker.config import Config
from outlast_broker.engine import Engine
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.metering.metrics import families_of
from outlast_protocol import ErrorCode
from prometheus_client import Metric

from tests.support.tree import ROOT, table

DOCS = ROOT / "docs"
MONITORING = DOCS / "monitoring"
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
# What a Prometheus adds to what it scrapes.
ADDED_METRICS, ADDED_LABELS = {"up"}, {"job", "instance"}
_METRIC = re.compile(r"\b(?:outlast|process)_[a-z_]+|\bup\b")
_SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


class Exported(NamedTuple):
    """`samples` are all names that a query may use, with the labels that they have."""

    kinds: dict[str, str]
    texts: dict[str, str]
    samples: dict[str, set[str]]


def name_of(family: Metric) -> str:
    """As those who ask for it write it."""
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    async def ask() -> Exported:
        folder = tmp_path_factory.mktemp("store")
        engine = Engine(Config(data=folder), LmdbLog(folder, 1 << 30), asyncio.get_running_loop(), print)
        engine.certificate_expires_ms = 1
        engine.counters.responses[200] = 1
        families = list(families_of(engine))
        engine.close()
        samples: dict[str, set[str]] = {name: ADDED_LABELS for name in ADDED_METRICS}
        for family in families:
            for sample in family.samples:
                samples.setdefault(sample.name, set()).update(ADDED_LABELS, sample.labels)
        return Exported(
            {name_of(each): "gauge" if each.type == "info" else each.type for each in families},
            {name_of(each): each.documentation for each in families},
            samples,
        )

    return asyncio.run(ask())


# --- docs/metrics.md --------------------------------------------------------------------------------------


def test_the_table_of_metrics_is_the_code_s(exported: Exported) -> None:
    rows = {
        name.strip("`"): (kind, labels, text)
        for name, kind, labels, text in table(PAGE, "metric", "kind", "labels", "says")
    }
    assert list(rows) == list(exported.kinds), "docs/metrics.md has a row for each metric, in the order of /metrics"
    for name, (kind, labels, text) in rows.items():
        suffix = "_bucket" if kind == "histogram" else ""
        told = ", ".join(sorted(exported.samples[name + suffix] - ADDED_LABELS - {"le"}))
        assert (kind, ", ".join(sorted(labels.split(", "))), text) == (
            exported.kinds[name],
            told,
            exported.texts[name],
        ), name


# --- queries ----------------------------------------------------------------------------------------------


def queries() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_every_query_names_what_is_exported(where: str, query: str, exported: Exported) -> None:
    names = set(_METRIC.findall(query))
    assert names and names <= exported.samples.keys(), f"{where}: nobody exports {names - exported.samples.keys()}"
    for name, matchers in _SELECTOR.findall(query):
        for label, operator, value in _MATCHER.findall(matchers):
            assert label in exported.samples[name], f"{where}: {name} has no label {label}"
            if label == "code":
                codes = set(value.split("|")) if "~" in operator else {value}
                assert codes <= {code.name.lower() for code in ErrorCode}, f"{where}: no error is called {codes}"
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")}
    assert grouped <= set().union(*(exported.samples[name] for name in names)), where


def test_quantiles_are_of_histograms(exported: Exported) -> None:
    for where, query in queries():
        for name in re.findall(r"(\w+)_bucket", query):
            assert exported.kinds[name] == "histogram" and "by (" in query and "le" in query, where


def test_rates_are_of_counters(exported: Exported) -> None:
    for where, query in queries():
        for name in re.findall(r"(?:rate|increase)\((\w+)", query):
            assert name.endswith(("_total", "_bucket", "_sum", "_count")), f"{where}: {name} does not count"


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


# --- alerts and runbooks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_finds_nothing_wrong(command: tuple[str, ...]) -> None:
    promtool = Path(sys.executable).parent / "promtool"
    assert promtool.exists(), "promtool tests the alerts: `make test` fetches it, or scripts/setup_promtool.sh"
    done = subprocess.run([promtool, *command], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    fires = {case["alertname"]: set() for test in tests for case in test["alert_rule_test"]}
    for test in tests:
        for case in test["alert_rule_test"]:
            fires[case["alertname"]].add(bool(case["exp_alerts"]))
    assert fires == {rule["alert"]: {True, False} for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"} and "$labels.instance" in notes["description"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert notes["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    page = (ROOT / notes["runbook_url"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {rule['alert']}\n")
    assert all(part in page for part in ("**Symptom.**", "**What it means.**", "**What to do.**"))


def test_there_is_a_page_for_each_alert_and_no_other() -> None:
    names = {rule["alert"] for rule in RULES}
    assert {path.stem for path in (DOCS / "runbooks").glob("*.md")} == names | {"README"}
    readme = (DOCS / "runbooks" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\w+)\]", readme, re.MULTILINE) == [rule["alert"] for rule in RULES]

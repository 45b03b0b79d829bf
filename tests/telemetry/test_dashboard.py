"""The dashboard and the alert rules speak of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keelbill.telemetry.metrics import Metrics, exported_names

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "keelbill.json"
RULES = DEPLOY / "prometheus" / "rules.yml"
STEM = re.compile("_(bucket|sum|count)$")
NAME = re.compile(r"\bkeelbill_[a-z0-9_]+")


@pytest.fixture(scope="module")
def exported() -> frozenset[str]:
    return exported_names(Metrics())


def test_every_metric_of_the_dashboard_is_exported(exported: frozenset[str]) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    named = {name for expression in expressions for name in NAME.findall(expression)}
    assert len(expressions) > 20
    assert named <= exported


def test_dashboard_has_its_rows() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Queue", "GPU", "Money", "Database", "Workers"]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_every_metric_of_the_rules_is_exported(exported: frozenset[str]) -> None:
    named = set(NAME.findall(RULES.read_text()))
    assert len(named) >= 8
    assert named <= exported | {STEM.sub("", name) for name in exported}


def test_every_alert_says_what_to_do() -> None:
    text = RULES.read_text()
    alerts = text.count("- alert:")
    assert alerts >= 8
    assert text.count("summary:") == text.count("action:") == text.count("severity:") == alerts


def test_every_metric_is_documented(exported: frozenset[str]) -> None:
    page = (DEPLOY.parent / "docs" / "how-to" / "operate.md").read_text()
    stems = {STEM.sub("", name) for name in exported}
    assert {stem for stem in stems if stem not in page} == set()

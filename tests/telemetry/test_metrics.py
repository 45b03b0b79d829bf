"""Metrics: names, labels from closed lists, and what is reported."""

from __future__ import annotations

import pytest

from keelbill.telemetry.metrics import REJECTIONS, Metrics, exported_names


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(frozenset({"sd3"}), default_model="mini")


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None
    return found


def test_names_have_the_prefix(metrics: Metrics) -> None:
    assert all(name.startswith("keelbill_") for name in exported_names(metrics))


def test_two_servers_do_not_share() -> None:
    one, other = Metrics(), Metrics()
    one.rejected("rate")
    assert value(other, "keelbill_http_rejected_total", reason="rate") == 0


def test_unknown_model_is_other(metrics: Metrics) -> None:
    metrics.ended("sd3", "succeeded", {"denoise": 1500.0})
    metrics.ended("", "succeeded", {})
    metrics.ended("user-supplied-nonsense", "exploded", {"lunch": 1})
    assert value(metrics, "keelbill_jobs_total", model="sd3", outcome="succeeded") == 1
    assert value(metrics, "keelbill_jobs_total", model="mini", outcome="succeeded") == 1
    assert value(metrics, "keelbill_jobs_total", model="other", outcome="other") == 1
    assert value(metrics, "keelbill_generation_duration_seconds_sum", model="sd3", phase="denoise") == 1.5


def test_unknown_method_is_other(metrics: Metrics) -> None:
    metrics.answered("/healthz", "BREW", 405, 0.001)
    assert value(metrics, "keelbill_http_requests_total", route="/healthz", method="other", status="405") == 1


@pytest.mark.parametrize("reason", REJECTIONS)
def test_every_reason_is_there_before_it_happens(metrics: Metrics, reason: str) -> None:
    assert value(metrics, "keelbill_http_rejected_total", reason=reason) == 0


def test_unknown_reason_is_a_mistake(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        metrics.rejected("nonsense")


def test_flood_is_counted(metrics: Metrics) -> None:
    metrics.turned_away()
    assert value(metrics, "keelbill_http_rejected_total", reason="rate") == 1


def test_text_format(metrics: Metrics) -> None:
    metrics.committed(0.003, 5)
    metrics.retried("worker_lost")
    metrics.waited("sd3", 0.2)
    metrics.moved("capture", 6_500_000)
    text = metrics.text().decode()
    assert "keelbill_db_batch_size_sum 5.0" in text
    assert 'keelbill_credits_micro_total{kind="capture"} 6.5e+06' in text

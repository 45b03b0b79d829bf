"""The files for operators: they name settings that exist, and agree with each other and with the server's limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from keelbill.core.settings import Settings
from keelbill.db.migrate import newest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
PROXIES = [DEPLOY / "proxy" / "nginx.conf", DEPLOY / "proxy" / "Caddyfile"]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yml").read_text())


def minutes_and_seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(m|s)", text)
    assert found is not None
    return int(found[1]) * {"m": 60, "s": 1}[found[2]]


@pytest.mark.parametrize(
    "path", [path for path in DEPLOY.rglob("*") if path.is_file()], ids=lambda path: str(path.relative_to(DEPLOY))
)
def test_named_settings_exist(path: Path) -> None:
    known = {f"KEELBILL_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"KEELBILL_[A-Z_]+", path.read_text()))
    assert named <= known


class TestImage:
    def test_not_as_root(self) -> None:
        lines = DOCKERFILE.read_text().splitlines()
        user, start = lines.index("USER keelbill"), next(i for i, line in enumerate(lines) if line.startswith("ENTRY"))
        assert user < start

    def test_data_is_a_volume_of_that_user(self) -> None:
        text = DOCKERFILE.read_text()
        assert "KEELBILL_HOME=/data" in text
        assert "\nVOLUME /data\n" in text
        assert "--owner keelbill --group keelbill --mode 0700 /data" in text

    def test_what_the_build_needs_is_let_through(self) -> None:
        ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        passed = {line[1:] for line in ignore if line.startswith("!")}
        project = (ROOT / "pyproject.toml").read_text()
        assert {"src", "pyproject.toml", "requirements"} <= passed
        assert set(re.findall(r'"(README\.md|LICENSE|NOTICE)"', project)) <= passed
        assert all((ROOT / name).exists() for name in passed)
        assert newest()  # migrations lie inside src

    def test_python_that_is_supported(self) -> None:
        bases = re.findall(r"^FROM python:(\d+)\.(\d+)-slim", DOCKERFILE.read_text(), re.MULTILINE)
        assert len(bases) == 2
        assert len(set(bases)) == 1
        assert tuple(map(int, bases[0])) >= (3, 11)


class TestCompose:
    def test_image_is_built_from_the_clone(self, compose: Any) -> None:
        build = compose["services"]["keelbill"]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE.resolve()

    def test_mounted_files_exist_and_volumes_are_declared(self, compose: Any) -> None:
        for service in compose["services"].values():
            for mount in service.get("volumes", ()):
                source = mount.split(":")[0]
                assert (DEPLOY / source).is_file() if source.startswith(".") else source in compose["volumes"]

    def test_server_is_reached_through_the_proxy_only(self, compose: Any) -> None:
        services = compose["services"]
        published = [port for name in services for port in services[name].get("ports", ())]
        assert [port for port in published if not port.startswith("127.0.0.1:")] == ["80:80", "443:443"]
        assert services["proxy"]["network_mode"] == "service:keelbill"
        assert services["keelbill"]["environment"]["KEELBILL_TRUST_PROXY"] == "true"

    def test_time_to_drain(self, compose: Any) -> None:
        grace_s = minutes_and_seconds(compose["services"]["keelbill"]["stop_grace_period"])
        unit = (DEPLOY / "systemd" / "keelbill.service").read_text()
        stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
        assert stop is not None
        assert min(grace_s, int(stop[1])) > Settings.model_fields["drain_s"].default

    def test_no_secret_has_a_default(self, compose: Any) -> None:
        text = (DEPLOY / "compose.yml").read_text()
        assert "${POSTGRES_PASSWORD:?}" in text
        assert "${KEELBILL_OPERATOR_TOKEN:?}" in text
        assert ":-" not in text


class TestProxies:
    @pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.name)
    def test_largest_body(self, path: Path) -> None:
        found = re.search(r"(?:client_max_body_size|max_size) (\d+)(?:k|KiB)", path.read_text())
        assert found is not None
        assert int(found[1]) * 1024 == Settings.model_fields["max_image_bytes"].default + 64 * 1024

    @pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.name)
    def test_waits_longer_than_the_longest_request(self, path: Path) -> None:
        found = re.search(r"(?:proxy_read_timeout|response_header_timeout) (\d+)s", path.read_text())
        assert found is not None
        assert int(found[1]) > Settings.model_fields["request_deadline_s"].default

    @pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.name)
    def test_metrics_are_not_passed_on(self, path: Path) -> None:
        assert re.search(r"/metrics\b.*404|respond @metrics 404", path.read_text())

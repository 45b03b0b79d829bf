"""The page about the API says what the code does."""

from __future__ import annotations

from pathlib import Path

from keelbill.api.stability.reference import page
from keelbill.api.stability.services import SERVICES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rest-api.md"


def test_the_page_is_what_the_code_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_service_and_field_has_its_row() -> None:
    text = page()
    for service in SERVICES:
        section = text.partition(f"### {service.title}\n")[2].partition("\n### ")[0]
        assert f"`POST /v2beta/stable-image/{service.path}`" in section
        for name in [p.name for p in service.parameters] + [p.name for p in service.pictures]:
            assert f"| `{name}` |" in section
        assert ("Answers 501" in section) == bool(service.missing)

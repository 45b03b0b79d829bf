"""``keelbill doctor --server``: prints what the checks of a server find. Knows none of the checks."""

from __future__ import annotations

import sys
import warnings
from typing import Final

import click
import httpx

from keelbill.cli._remote import read_key
from keelbill.cli._remote_checks import Finding, Level, examine
from keelbill.client.errors import AuthenticationError
from keelbill.client.target import Target, find_target, tidy_url
from keelbill.client.wire import reason

_COLOURS: Final = {Level.OK: "green", Level.NOTE: "yellow", Level.BROKEN: "red"}
_PAGE: Final = "docs/how-to/troubleshooting.md has a section for each of these words."


def run(server: str, key: str | None) -> None:
    """Look at a server and print what was found; ends with exit code 1 if something is broken.

    Raises:
        BadRequestError: The address is not one.
    """
    target, forgiven, problem = _target(server, read_key(key))
    findings = []
    for finding in [*forgiven, *problem]:
        findings.append(finding)
        _print(finding)
    try:
        for finding in examine(target):
            if finding.name == "key" and problem:
                continue  # said already, in more words
            findings.append(finding)
            _print(finding)
    except httpx.HTTPError as error:
        broken = Finding("connection", Level.BROKEN, f"the line broke: {reason(error)}", "Run this again.")
        findings.append(broken)
        _print(broken)
    _conclude(findings)


def _target(server: str, key: str | None) -> tuple[Target, list[Finding], list[Finding]]:
    """Find server and key; a key that cannot be used is a finding, so that the rest can be looked at all the same."""
    address = tidy_url(server)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            target, problem = find_target(key, address, check_key=False), []
        except AuthenticationError as error:
            target = Target(address, "")
            problem = [Finding("key", Level.BROKEN, error.message.rstrip("."), error.hint)]
    advice = "Store it without them."
    forgiven = [Finding("key", Level.NOTE, str(warning.message).rstrip("."), advice) for warning in caught]
    return target, forgiven, problem


def _print(finding: Finding) -> None:
    level = click.style(f"{finding.level:<7}", fg=_COLOURS[finding.level])
    click.echo(f"{level} {finding.name:<11} {finding.text}")
    if finding.advice:
        click.echo(f"{'':19} -> {finding.advice}")


def _conclude(findings: list[Finding]) -> None:
    broken = [finding.name for finding in findings if finding.level is Level.BROKEN]
    notes = sum(finding.level is Level.NOTE for finding in findings)
    if broken:
        click.echo(f"\nBroken: {', '.join(dict.fromkeys(broken))}. {_PAGE}")
        sys.exit(1)
    click.echo(
        "\nEverything works." if not notes else f"\nIt works; {notes} thing{'s' if notes > 1 else ''} to look at."
    )

"""Classes of mistakes that the source may not hold; each rule is shown one, so that it is known to see it.

Beside these, the linter refuses pickles, shells, weights that are unpickled, broad excepts and asserts (ruff's S, BLE).
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import keelbill

SOURCE = Path(keelbill.__file__).parent
TIME_OF_DAY = {
    "core/clock.py",  # the clock that everybody else asks
    "core/ids.py",  # ids begin with it, for their order only
    "client/errors.py",  # compared with the date in an answer
    "graph/texts.py",  # dates in the names of files
    "storage/blobs.py",  # compared with the times of files, which the same clock wrote
    "cli/_remote_checks.py",  # compared with the end of a certificate
    "telemetry/export.py",  # spans carry it
}
"""Where the machine's own time of day is meant; leases, limits and holds go by `core.clock`."""


def called(node: ast.AST) -> str:
    """Return what a call calls, such as ``time.time``; "" for anything else."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def hides_disconnects(tree: ast.AST) -> bool:
    """Whether Starlette's BaseHTTPMiddleware is named, which keeps from a route that its client has gone."""
    return any(
        "BaseHTTPMiddleware" in ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.ImportFrom)
    )


def asks_the_time_of_day(tree: ast.AST) -> bool:
    """Whether the machine's time of day is asked, which may jump."""
    return any(
        called(node) in {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow"} for node in ast.walk(tree)
    )


def unpickles(tree: ast.AST) -> bool:
    """Whether something is read that may run code while it is read."""
    asked = {"torch.load", "pickle.load", "pickle.loads", "marshal.loads", "joblib.load", "yaml.load", "eval", "exec"}
    return any(called(node) in asked for node in ast.walk(tree))


def starts_a_shell(tree: ast.AST) -> bool:
    """Whether a command line is given to a shell."""
    return any(
        called(node) in {"os.system", "os.popen"}
        or (isinstance(node, ast.Call) and any(each.arg == "shell" for each in node.keywords))
        for node in ast.walk(tree)
    )


def reads_forms_without_limits(tree: ast.AST) -> bool:
    """Whether a form is read by the framework, past the limits of `api.forms`."""
    return any(called(node).endswith("request.form") for node in ast.walk(tree))


def trusts_anybody(tree: ast.AST) -> bool:
    """Whether a connection is made without checking who answers."""
    return any(
        isinstance(node, ast.Call)
        and any(
            each.arg == "verify" and isinstance(each.value, ast.Constant) and each.value.value is False
            for each in node.keywords
        )
        for node in ast.walk(tree)
    )


RULES: dict[Callable[[ast.AST], bool], tuple[str, set[str]]] = {
    hides_disconnects: ("from starlette.middleware.base import BaseHTTPMiddleware", set()),
    asks_the_time_of_day: ("expires = time.time() + 15", TIME_OF_DAY),
    unpickles: ("torch.load(path, weights_only=False)", set()),
    starts_a_shell: ("subprocess.run(line, shell=True)", set()),
    reads_forms_without_limits: ("fields = await request.form()", set()),
    trusts_anybody: ("httpx.get(url, verify=False)", set()),
}


def modules() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def source() -> dict[str, ast.AST]:
    return dict(modules())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_nobody_does(source: dict[str, ast.AST], rule: Callable[[ast.AST], bool]) -> None:
    example, allowed = RULES[rule]
    assert rule(ast.parse(example)), "the rule no longer sees what it is for"
    assert {name for name, tree in source.items() if rule(tree)} == allowed


@pytest.mark.parametrize(
    ("package", "least"),
    [("pillow", (12, 3)), ("python-multipart", (0, 0, 27)), ("starlette", (0, 49, 1)), ("joserfc", (1, 4))],
)
def test_releases_with_known_holes_are_not_used(package: str, least: tuple[int, ...]) -> None:
    assert tuple(int(part) for part in re.findall(r"\d+", version(package))[: len(least)]) >= least


def test_a_fresh_installation_reads_pictures_with_a_release_without_known_holes() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert [each for each in project["dependencies"] if each.startswith("pillow")] == ["pillow>=12.3"]

"""``keelbill run``: lets a server run a workflow of nodes. Loads no network and imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import click

from keelbill.cli._files import write_named, write_new
from keelbill.cli._progress import progress_bar
from keelbill.cli._remote import opened
from keelbill.core.errors import InvalidInput

if TYPE_CHECKING:
    from keelbill.client import Client, WorkflowOutput, WorkflowPrice
    from keelbill.client.workflows import RunStatus

STANDARD_INPUT: Final = "-"
MAX_WORKFLOW_BYTES: Final = 64 * 2**20


@click.command("run")
@click.argument("workflow", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-s",
    "--set",
    "changes",
    multiple=True,
    metavar="NODE.INPUT=VALUE",
    help="Another value; the node by its id, its title or its class. @FILE sends a picture.",
)
@click.option("--seed", type=click.IntRange(0), help="Decides among {a|b} groups in texts of a saved workflow.")
@click.option("--price", "only_price", is_flag=True, help="Say what it would cost, and run nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder for the pictures.")
@click.option("--all", "with_previews", is_flag=True, help="Also write pictures of preview nodes.")
@click.option("--server", help="Address of the server; else KEELBILL_BASE_URL, else this machine.")
@click.option("--key", help="API key, or - to be asked for it; else KEELBILL_API_KEY.")
def command(
    workflow: Path,
    changes: tuple[str, ...],
    seed: int | None,
    only_price: bool,
    output: Path | None,
    with_previews: bool,
    server: str | None,
    key: str | None,
) -> None:
    """Run WORKFLOW on a server and write its pictures.

    WORKFLOW is a graph in the API format, a workflow as the editor saves it, a PNG or WebP picture that carries one,
    or - for standard input.
    """
    content = _read(workflow)
    inputs, files = _changes(changes)
    _check_output(output)
    with opened(server, key) as client:
        if only_price:
            _tell_price(client.price_workflow(content, inputs=inputs, files=files, seed=seed))
            return
        _run(client, content, inputs, files, seed, output, with_previews=with_previews)


def _run(
    client: Client,
    content: bytes,
    inputs: Mapping[str, str],
    files: Mapping[str, Path],
    seed: int | None,
    output: Path | None,
    *,
    with_previews: bool,
) -> None:
    with progress_bar() as bar:

        def tell(status: RunStatus) -> None:
            bar.status({"queued": "waiting in the queue", "running": "running"}.get(status, status))

        bar.status("sending the workflow")
        run = client.run_workflow(content, inputs=inputs, files=files, seed=seed, on_status=tell)
        wanted = [each for each in run.outputs if each.is_kept or with_previews] or list(run.outputs)
        for place, each in enumerate(wanted):
            bar.print(f"{_write(each, output, place, len(wanted))}  node {each.node}")
        for node, shown in run.shown.items():
            for text in (line for lines in shown.values() if isinstance(lines, list) for line in lines):
                bar.print(f"node {node}: {text}")
        bar.print(f"{run.charged.normalize():f} credits")


def _read(path: Path) -> bytes:
    if str(path) == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_WORKFLOW_BYTES)
    try:
        if path.stat().st_size > MAX_WORKFLOW_BYTES:
            raise InvalidInput("workflow", str(path), f"a file of at most {MAX_WORKFLOW_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput("workflow", str(path), f"a file that can be read ({error.strerror})") from error


def _changes(changes: Sequence[str]) -> tuple[dict[str, str], dict[str, Path]]:
    """Split ``NODE.INPUT=VALUE`` into values and pictures; the first equals sign counts."""
    inputs: dict[str, str] = {}
    files: dict[str, Path] = {}
    for change in changes:
        name, mark, value = change.partition("=")
        if not mark or "." not in name.strip("."):
            raise InvalidInput("set", change, "like 6.text=VALUE: a node, a dot, one of its inputs, = and a value")
        if value.startswith("@"):
            files[name] = Path(value[1:])
            if not files[name].is_file():
                raise InvalidInput("set", change, "an existing picture after @")
        else:
            inputs[name] = value
    return inputs, files


def _check_output(output: Path | None) -> None:
    if output is not None and not (output.is_dir() or output.parent.is_dir()):
        raise InvalidInput("output", str(output), "in a folder that exists")


def _write(made: WorkflowOutput, output: Path | None, place: int, count: int) -> Path:
    """Write a picture: a file that was named is replaced, no other one."""
    name = PurePosixPath(made.filename).name
    stem, suffix = Path(name).stem, Path(name).suffix or ".png"
    if output is None or output.is_dir():
        return write_new(output or Path(), stem, suffix, made.picture.data)
    path = output if output.suffix else output.with_suffix(suffix)
    return write_named(path if count == 1 else path.with_stem(f"{path.stem}-{place + 1}"), made.picture.data)


def _tell_price(price: WorkflowPrice) -> None:
    for line in price.nodes:
        click.echo(f"{line.price.normalize():>8f}  node {line.node} ({line.class_type}), {line.service}: {line.why}")
    click.echo(f"{price.price.normalize():>8f}  credits in all")
    for problem in price.left_out:
        click.echo(f"left out: {problem}", err=True)

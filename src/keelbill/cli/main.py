"""The ``keelbill`` command: finds the module of a subcommand and renders errors. Knows no subcommand's work."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from keelbill import __version__
from keelbill.core.errors import AppError

COMMANDS = {
    "serve": "Start the platform: API, queue and worker.",
    "top": "Watch queue, workers, speed and credits of a running server.",
    "generate": "Make a picture from a prompt.",
    "run": "Let a server run a workflow of nodes.",
    "verify": "Make a picture again from its recipe and compare.",
    "models": "List, add, pull, verify and remove models.",
    "nodes": "List, search and enable nodes and packs of nodes.",
    "doctor": "Say what this machine can run and how fast, or what is wrong with a server.",
    "accounts": "Create, list and promote accounts; set a new password.",
    "keys": "Create, list, rotate and revoke API keys.",
    "credits": "Show and give credits.",
    "payments": "List purchases of credits and give money back.",
    "vouchers": "Make and list codes that are worth credits.",
    "ledger": "Prove the books, print prices, release what expired.",
    "migrate": "Bring the database up to date.",
    "train": "Train and evaluate the embedded model.",
}


class LazyGroup(click.Group):
    """Imports a subcommand's module only when it runs, so that ``--help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand, or nothing if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"keelbill.cli.{cmd_name}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"keelbill.cli.{cmd_name}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keelbill")
def keelbill() -> None:
    """Stable Diffusion 3 on your own machine."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends with one sentence on standard error and exit code 2."""
    try:
        code = keelbill.main(args=arguments, prog_name="keelbill", standalone_mode=False)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        click.echo(f"keelbill: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except AppError as error:
        click.echo(f"keelbill: {error}", err=True)
        sys.exit(2)
    if isinstance(code, int):  # click hands the code of a command's Exit back instead of raising it
        sys.exit(code)

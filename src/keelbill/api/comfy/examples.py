"""Puts the pictures that the templates begin with among everybody's inputs. Knows files of the package."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

import structlog

from keelbill.imaging.decode import open_header
from keelbill.storage.blobs import DiskFull

if TYPE_CHECKING:
    from keelbill.workspace.service import Workspace

NAMES: Final = ("example.png", "example_hole.png")
_log = structlog.get_logger(__name__)


async def offer_examples(workspace: Workspace) -> None:
    """Offer all of them; a server whose disk is full goes without."""
    folder = resources.files(__package__).joinpath("templates")
    for name in NAMES:
        content = folder.joinpath(name).read_bytes()
        width, height = open_header(content).size
        try:
            await workspace.offer(name, content, "image/png", width=width, height=height)
        except DiskFull as error:
            _log.warning("example_not_kept", name=name, reason=error.message)

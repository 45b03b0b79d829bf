"""What a graph costs here, before it runs. Knows the price list and the installed models, and no wallet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keelbill.core.types import Size
from keelbill.graph.quote import Quote, quote
from keelbill.graph.registry import load_builtin
from keelbill.workspace.schemas import StoredFile

if TYPE_CHECKING:
    from keelbill.api.comfy.models import ModelNames
    from keelbill.api.platform import Platform


async def quoted(
    platform: Platform,
    models: ModelNames,
    graph: Mapping[str, Any],
    files: Mapping[str, StoredFile],
    *,
    is_served_elsewhere: bool,
) -> Quote:
    """Return what a valid graph asks for.

    Args:
        platform: For the price list.
        models: Names of model files.
        graph: In the API format.
        files: The pictures that it names.
        is_served_elsewhere: Whether another server makes the pictures of API nodes, for an account there.

    Returns:
        The quote; its `model` is the name of the installed one, "" for the server's default.

    Raises:
        GraphInvalid: It asks for more than it may.
    """
    sizes = {name: Size(file.width, file.height) for name, file in files.items() if file.width and file.height}
    found = quote(
        graph,
        load_builtin(),
        price=platform.ledger.prices.price,
        sizes=sizes.get,
        is_served_elsewhere=is_served_elsewhere,
    )
    return replace(found, model=await models.painter(found.model))

"""Says what a graph costs and how much work it is, before it runs. Knows prices by their names only, and no wallet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from keelbill.core.sizes import MEGAPIXEL
from keelbill.core.types import Micro
from keelbill.graph.forecast import outlooks
from keelbill.graph.node import Node
from keelbill.graph.outlook import ModelFile, Outlook, Shape, Sizes, Steps, refusal
from keelbill.storage.published import PUBLIC_MODELS

STEP_MICRO: Final = 100_000
"""Prices of sampling nodes are multiples of a tenth of a credit."""

PUBLISHED_STEPS: Final = 28
OWN_MODEL: Final = "sd3.5-medium"
OWN_DISTILLED_MODEL: Final = "sd3.5-flash"

Price = Callable[[str], int]
"""Returns what an item of the price list costs, in micro-credits."""


@dataclass(frozen=True)
class Limits:
    """How much one graph may ask for.

    Attributes:
        picture_pixels: Of one picture that is painted.
        batch_pixels: Of all pictures that go through a node together.
        pixel_steps: Pixels times steps of everything that is painted.
        output_pixels: Of all pictures that are saved or shown.
    """

    picture_pixels: int = 16 * MEGAPIXEL
    batch_pixels: int = 64 * MEGAPIXEL
    pixel_steps: int = 16_384 * MEGAPIXEL
    output_pixels: int = 256 * MEGAPIXEL


@dataclass(frozen=True)
class Line:
    """What one node costs.

    Attributes:
        node: Its id.
        class_type: Its class.
        service: Item of the price list by which it is priced.
        amount: In micro-credits.
        why: One short sentence for people.
    """

    node: str
    class_type: str
    service: str
    amount: Micro
    why: str


@dataclass(frozen=True)
class Quote:
    """What a graph asks for.

    Attributes:
        price: In micro-credits; nothing is charged if all results are known already.
        lines: One for each node that costs something.
        pixel_steps: Pixels times steps of everything that is painted.
        pictures: That are painted.
        model: That most of the work is for, as the graph names it; "" for none.
        width: In pixels, of one picture that would be as much work.
        height: Likewise.
        steps: Likewise.
    """

    price: Micro
    lines: tuple[Line, ...] = ()
    pixel_steps: int = 0
    pictures: int = 0
    model: str = ""
    width: int = 1024
    height: int = 1024
    steps: int = 1


class _Work(NamedTuple):
    shape: Shape
    steps: int
    model: str

    @property
    def pixel_steps(self) -> int:
        return self.shape.pixels * self.steps


@dataclass
class _Bill:
    lines: list[Line] = field(default_factory=list)
    works: list[_Work] = field(default_factory=list)
    output_pixels: int = 0


def quote(
    graph: Mapping[str, Any],
    nodes: Mapping[str, type[Node]],
    *,
    price: Price,
    sizes: Sizes,
    limits: Limits | None = None,
    is_served_elsewhere: bool = False,
) -> Quote:
    """Say what a validated graph costs.

    Args:
        graph: In the API format, as `validate` returns it.
        nodes: Classes by name.
        price: Of an item of the price list.
        sizes: Of the pictures that the graph names.
        limits: How much it may ask for.
        is_served_elsewhere: Whether another server makes the pictures of API nodes and charges their account there.

    Raises:
        GraphInvalid: It asks for more than it may, or for an amount that is known only when it runs.
    """
    bounds, bill = limits or Limits(), _Bill()
    for node in outlooks(graph, nodes, sizes).values():
        _check_batch(node, bounds)
        if node.kind.name in _SAMPLERS:
            _add_sampling(bill, node, price, bounds)
        elif hasattr(node.kind, "price_item"):
            _add_service(bill, node, price, is_served_elsewhere=is_served_elsewhere)
        elif node.kind.is_output:
            _add_output(bill, node, bounds)
    total = Micro(sum(line.amount for line in bill.lines))
    painted = sum(work.pixel_steps for work in bill.works)
    served = sum(1 for line in bill.lines if line.class_type not in _SAMPLERS)
    if not bill.works:
        return Quote(total, tuple(bill.lines), pictures=served, steps=max(1, PUBLISHED_STEPS * served))
    most = max(bill.works, key=lambda work: work.pixel_steps)
    return Quote(
        total,
        tuple(bill.lines),
        pixel_steps=painted,
        pictures=served + sum(work.shape.count for work in bill.works),
        model=most.model,
        width=most.shape.width,
        height=most.shape.height,
        steps=max(1, -(-painted // max(1, most.shape.width * most.shape.height))),
    )


def item_of(model: str) -> str:
    """Return the item of the price list for a model file, by its name.

    Args:
        model: Such as ``sd3.5_large_turbo_fp8_scaled.safetensors``.
    """
    name = model.rpartition("/")[2].removesuffix(".safetensors").lower().replace("_", "-")
    if name in PUBLIC_MODELS:
        return name
    is_quick = "turbo" in name or "flash" in name
    if name.startswith("sd3") and "large" in name:
        return "sd3.5-large-turbo" if is_quick else "sd3.5-large"
    return OWN_DISTILLED_MODEL if is_quick else OWN_MODEL


def sampling_price(whole: int, item: str, pixel_steps: int) -> Micro:
    """Return what sampling costs: the service's price in proportion to the work, in tenths of a credit, rounded up.

    Args:
        whole: Price of a picture of the published size with the published steps, in micro-credits.
        item: Of the price list.
        pixel_steps: Pixels times steps of all pictures.
    """
    if not whole or not pixel_steps:
        return Micro(0)
    exact = whole * pixel_steps
    return Micro(-(-exact // (MEGAPIXEL * published_steps(item) * STEP_MICRO)) * STEP_MICRO)


def published_steps(item: str) -> int:
    """Return with how many steps the model of an item is meant to be used."""
    public = PUBLIC_MODELS.get(item)
    return (public.steps if public else None) or PUBLISHED_STEPS


# ------------------------------------------------------------ nodes


def _ksampler_steps(node: Outlook) -> int:
    return node.whole("steps") if node.real("denoise") > 0 else 0


def _part_steps(node: Outlook) -> int:
    end = min(node.whole("steps"), node.whole("end_at_step"))
    return max(0, end - node.whole("start_at_step"))


def _sigma_steps(node: Outlook) -> int:
    found = node.inputs.get("sigmas")
    if isinstance(found, Steps):
        return found.count
    raise refusal(node, "sigmas", "custom_validation_failed", "The steps must be known before the graph runs.")


_SAMPLERS: Final[Mapping[str, Callable[[Outlook], int]]] = {
    "KSampler": _ksampler_steps,
    "KSamplerAdvanced": _part_steps,
    "SamplerCustom": _sigma_steps,
    "SamplerCustomAdvanced": _sigma_steps,
}


def _add_sampling(bill: _Bill, node: Outlook, price: Price, limits: Limits) -> None:
    _require_once(node)
    shape, steps = node.shape("latent_image"), _SAMPLERS[node.kind.name](node)
    if shape.width * shape.height > limits.picture_pixels:
        said = f"{shape.width}x{shape.height}; at most {limits.picture_pixels:,} pixels"
        raise refusal(node, "latent_image", "value_bigger_than_max", "The picture to paint is too large.", said)
    found = node.find(ModelFile)
    model = found.name if found else ""
    work = _Work(shape, steps, model)
    bill.works.append(work)
    done = sum(each.pixel_steps for each in bill.works)
    if done > limits.pixel_steps:
        blamed = "steps" if "steps" in node.inputs else "latent_image"
        said = f"{done:,} pixels x steps in all; at most {limits.pixel_steps:,}"
        raise refusal(node, blamed, "value_bigger_than_max", "The graph is too much work.", said)
    item = item_of(model)
    amount = sampling_price(price(item), item, work.pixel_steps)
    pictures = f"{shape.count} pictures of " if shape.count > 1 else ""
    why = f"{pictures}{shape.width}x{shape.height} pixels in {steps} steps"
    bill.lines.append(Line(node.id, node.kind.name, item, amount, why))


def _add_service(bill: _Bill, node: Outlook, price: Price, *, is_served_elsewhere: bool) -> None:
    _require_once(node)
    item: str = node.kind.price_item(node.inputs)  # type: ignore[attr-defined]  # asked before
    if is_served_elsewhere:
        line = Line(node.id, node.kind.name, item, Micro(0), "charged by the other image service")
    else:
        line = Line(node.id, node.kind.name, item, Micro(price(item)), "one picture of the image service")
    bill.lines.append(line)


def _add_output(bill: _Bill, node: Outlook, limits: Limits) -> None:
    named = next((each.name for each in node.kind.inputs if each.type == "IMAGE"), None)
    shape = node.inputs.get(named) if named else None
    if named is None or not isinstance(shape, Shape):
        return
    bill.output_pixels += shape.pixels
    if bill.output_pixels > limits.output_pixels:
        said = f"{bill.output_pixels:,} pixels in all; at most {limits.output_pixels:,}"
        raise refusal(node, named, "value_bigger_than_max", "The graph's outputs are too many pixels.", said)


def _check_batch(node: Outlook, limits: Limits) -> None:
    """Check that what a node gets and gives fits into memory."""
    for shape in node.shapes:
        if shape.pixels > limits.batch_pixels:
            said = f"{shape.count} x {shape.width}x{shape.height}; at most {limits.batch_pixels:,} pixels"
            raise refusal(node, _blamed(node, shape, limits), "value_bigger_than_max", "That is too large.", said)


def _blamed(node: Outlook, shape: Shape, limits: Limits) -> str:
    """Return the input that decides about a size."""
    is_many = shape.pixels // shape.count <= limits.batch_pixels
    wanted = ("batch_size", "amount", "width") if is_many else ("width", "scale_by", "megapixels", "left")
    named = [each.name for each in node.kind.inputs]
    return next((name for name in wanted if name in named), named[0])


def _require_once(node: Outlook) -> None:
    """Check that a node that costs something runs once."""
    if node.is_repeated:
        raise refusal(
            node,
            node.kind.inputs[0].name,
            "custom_validation_failed",
            "A list decides how often the node runs, so its price is not known before.",
        )

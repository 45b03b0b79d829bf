"""The graph of nodes that makes a picture as its recipe says, so that any picture opens in a graph editor.

Knows recipes and node names. Of pictures that were given it knows digests only: whoever opens the graph gives them
again under the name that it shows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keelbill.graph.drawing import to_workflow
from keelbill.graph.node import Node
from keelbill.graph.registry import load_builtin
from keelbill.graph.texts import literal
from keelbill.imaging.metadata import Recipe

PREFIX: Final = "ComfyUI"
SUFFIX: Final = ".safetensors"
PUBLISHED_SHIFT: Final = 3.0
SMALLEST_PX: Final = 16
_DIGITS: Final = 12
_SCHEDULERS: Final = {"reference": "normal", "trailing": "simple"}
_PACK: Final = {
    "erase": "Stability Erase",
    "outpaint": "Stability Outpainting",
    "upscale": "Stability Creative Upscale",
    "enlarge": "Stability Fast Upscale",
    "style": "Stability Control Style",
}
"""What the recipe does not tell wholly becomes a node of the image service, with its fields to be filled in."""

Prompt = dict[str, dict[str, Any]]


def workflow_of(recipe: Recipe) -> str:
    """Return a workflow that an editor opens, as one line of ASCII JSON; the same one for the same recipe.

    Args:
        recipe: What a picture carries.

    Returns:
        About 5 KB, or "" for a picture that no node makes.
    """
    nodes = load_builtin()
    prompt = prompt_of(recipe, nodes)
    if not prompt:
        return ""
    for node in prompt.values():
        for each in nodes[node["class_type"]].inputs:
            if each.is_dynamic and isinstance(node["inputs"].get(each.name), str):
                node["inputs"][each.name] = literal(node["inputs"][each.name])
    workflow = to_workflow(prompt, nodes)
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, recipe.to_json()))
    return json.dumps(workflow, ensure_ascii=True, separators=(",", ":"))


def prompt_of(recipe: Recipe, nodes: Mapping[str, type[Node]] | None = None) -> Prompt:
    """Return the graph in the API format; empty if no node makes such a picture."""
    sheet = _Sheet(load_builtin() if nodes is None else nodes)
    if recipe.kind in _PACK:
        made = _by_service(sheet, recipe)
    elif recipe.kind in {"", "inpaint"} and not (recipe.image_hash and recipe.strength == 0):
        made = _by_sampling(sheet, recipe)
    else:
        return {}
    sheet.add("SaveImage", images=made, filename_prefix=PREFIX)
    return sheet.prompt


@dataclass
class _Sheet:
    """A graph that grows; what a class does not have as an input is left out."""

    nodes: Mapping[str, type[Node]]
    prompt: Prompt = field(default_factory=dict)

    def add(self, kind: str, slot: int = 0, **inputs: Any) -> list[Any]:
        """Add a node and return a link to one of its outputs."""
        name = str(len(self.prompt) + 1)
        values = {
            each.name: inputs.get(each.name, each.default)
            for each in self.nodes[kind].inputs
            if each.name in inputs or (each.is_widget and not each.is_optional)
        }
        self.prompt[name] = {"class_type": kind, "inputs": values}
        return [name, slot]


def _by_sampling(sheet: _Sheet, recipe: Recipe) -> list[Any]:
    model = sheet.add("CheckpointLoaderSimple", ckpt_name=recipe.model.removesuffix(SUFFIX) + SUFFIX)
    clip, vae = [model[0], 1], [model[0], 2]
    positive = sheet.add("CLIPTextEncode", text=recipe.painted_prompt or recipe.prompt, clip=clip)
    negative = sheet.add("CLIPTextEncode", text=recipe.negative, clip=clip)
    sampler, scheduler = _names(sheet, recipe)
    painted = sheet.add(
        "KSampler",
        model=_shifted(sheet, recipe, model),
        seed=recipe.seed + recipe.index,
        steps=recipe.steps,
        cfg=recipe.cfg,
        sampler_name=sampler,
        scheduler=scheduler,
        positive=positive,
        negative=negative,
        latent_image=_start(sheet, recipe, vae),
        denoise=recipe.strength if recipe.image_hash else 1.0,
    )
    return sheet.add("VAEDecode", samples=painted, vae=vae)


def _start(sheet: _Sheet, recipe: Recipe, vae: list[Any]) -> list[Any]:
    """Return where the latent comes from: nothing, a given picture, or the masked part of one."""
    width, height = (max(SMALLEST_PX, side) for side in (recipe.width, recipe.height))
    if not recipe.image_hash:
        return sheet.add("EmptySD3LatentImage", width=width, height=height, batch_size=1)
    image = _given(sheet, recipe.image_hash)
    scaled = sheet.add("ImageScale", image=image, upscale_method="lanczos", width=width, height=height, crop="center")
    latent = sheet.add("VAEEncode", pixels=scaled, vae=vae)
    return sheet.add("SetLatentNoiseMask", samples=latent, mask=_mask(sheet, recipe)) if recipe.mask_hash else latent


def _shifted(sheet: _Sheet, recipe: Recipe, model: list[Any]) -> list[Any]:
    if recipe.shift == PUBLISHED_SHIFT:
        return model
    return sheet.add("ModelSamplingSD3", model=model, shift=recipe.shift)


def _names(sheet: _Sheet, recipe: Recipe) -> tuple[str, str]:
    """Return sampler and schedule as nodes call them; the nearest ones if nodes do not have them."""
    kind = sheet.nodes["KSampler"]
    sampler, scheduler = kind.find("sampler_name").choices, kind.find("scheduler").choices
    wanted = _SCHEDULERS.get(recipe.schedule, recipe.schedule)
    return (
        recipe.sampler if recipe.sampler in sampler else sampler[0],
        wanted if wanted in scheduler else scheduler[0],
    )


def _by_service(sheet: _Sheet, recipe: Recipe) -> list[Any]:
    kind = sheet.nodes[_PACK[recipe.kind]]
    inputs: dict[str, Any] = {"prompt": recipe.prompt}
    if recipe.negative:
        inputs["negative_prompt"] = recipe.negative
    if recipe.seed <= (next((each.high for each in kind.inputs if each.name == "seed"), None) or 0):
        inputs["seed"] = recipe.seed
    known = {each.name for each in kind.inputs}
    if "image" in known:
        inputs["image"] = _given(sheet, recipe.image_hash)
    if "mask" in known and recipe.mask_hash:
        inputs["mask"] = _mask(sheet, recipe)
    return sheet.add(kind.name, **{name: value for name, value in inputs.items() if name in known})


def _given(sheet: _Sheet, digest: str) -> list[Any]:
    return sheet.add("LoadImage", image=_file_name(digest))


def _mask(sheet: _Sheet, recipe: Recipe) -> list[Any]:
    return sheet.add("LoadImageMask", image=_file_name(recipe.mask_hash), channel="red")


def _file_name(digest: str) -> str:
    return f"{digest[:_DIGITS] or 'image'}.png"

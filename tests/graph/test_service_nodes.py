"""Nodes that ask the image service: their names and widgets, what they ask for, here and elsewhere, and no key."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
import torch
from PIL import Image

from keelbill.core.errors import InvalidInput, NotInstalled
from keelbill.core.sizes import RATIOS
from keelbill.graph.nodes.stability import EDITOR_RATIOS
from keelbill.graph.registry import load_builtin
from keelbill.graph.service import Wish, local_task
from keelbill.serving.messages import ImageTask

PACK = {
    "Stability SD3": "model prompt image negative_prompt cfg_scale seed strength aspect_ratio style style_preset",
    "Stability Image Ultra": "prompt image negative_prompt seed strength aspect_ratio style style_preset",
    "Stability Image Core": "prompt negative_prompt seed aspect_ratio style style_preset",
    "Stability Inpainting": "image prompt mask negative_prompt grow_mask seed style style_preset",
    "Stability Erase": "image mask grow_mask seed",
    "Stability Outpainting": "image left right up down prompt creativity seed style style_preset",
    "Stability Search and Replace": "image search_prompt prompt negative_prompt grow_mask seed style style_preset",
    "Stability Search And Recolor": "image select_prompt prompt negative_prompt grow_mask seed style style_preset",
    "Stability Remove Background": "image",
    "Stability Replace Background and Relight": "subject_image background_reference background_prompt "
    "foreground_prompt negative_prompt preserve_original_subject original_background_depth keep_original_background "
    "light_source_direction light_reference light_source_strength seed",
    "Stability Conservative Upscale": "image prompt negative_prompt seed creativity",
    "Stability Creative Upscale": "image prompt negative_prompt seed creativity style style_preset",
    "Stability Fast Upscale": "image",
    "Stability Control Sketch": "image prompt control_strength negative_prompt seed style style_preset",
    "Stability Control Structure": "image prompt control_strength negative_prompt seed style style_preset",
    "Stability Control Style": "image prompt aspect_ratio fidelity negative_prompt seed style style_preset",
}
PICTURE = torch.rand(1, 64, 96, 3)


class Room:
    """A context that notes what is asked for."""

    node_id = "1"
    models: Any = None

    def __init__(self, answer: bytes = b"") -> None:
        self.tasks: list[tuple[ImageTask, list[torch.Tensor]]] = []
        self.calls: list[tuple[str, dict[str, str], dict[str, bytes]]] = []
        self._answer = answer

    def paint(self, task: ImageTask, images: Any = ()) -> torch.Tensor:
        self.tasks.append((task, list(images)))
        return torch.zeros(task.height, task.width, 3)

    def remote(self) -> Any:
        def call(route: str, fields: dict[str, str], files: dict[str, bytes]) -> bytes:
            self.calls.append((route, fields, files))
            return self._answer

        return call if self._answer else None


def run(name: str, room: Room, **values: Any) -> torch.Tensor:
    kind = load_builtin()[name]
    given = {each.name: each.default for each in kind.inputs if each.is_widget and not each.is_optional} | values
    (picture,) = kind().run(room, **given)  # type: ignore[arg-type, misc]
    assert isinstance(picture, torch.Tensor)
    return picture


@pytest.mark.parametrize(("name", "inputs"), PACK.items())
def test_the_pack_has_its_names_and_widgets_in_order(name: str, inputs: str) -> None:
    kind = load_builtin()[name]
    assert " ".join(each.name for each in kind.inputs) == f"{inputs} output_format api_key_override"
    assert kind.category == "Stability"
    assert [each.type for each in kind.outputs] == ["IMAGE"]
    first_optional = next(i for i, each in enumerate(kind.inputs) if each.is_optional)
    assert all(each.is_optional for each in kind.inputs[first_optional:])


def test_ratios_carry_their_sizes() -> None:
    labels = load_builtin()["Stability SD3"].find("aspect_ratio").choices
    assert labels[:2] == ("1:1(1024, 1024)", "5:4(1088, 896)")
    assert {"9:16(768, 1344)", "9:21(640, 1536)"} <= set(labels)
    assert "4:5(1344, 1632)" in load_builtin()["Stability Image Core"].find("aspect_ratio").choices
    assert set(EDITOR_RATIOS) == set(RATIOS)


def test_text_to_image() -> None:
    room = Room()
    picture = run("Stability SD3", room, prompt="a cat", aspect_ratio="16:9(1344, 768)", seed=7, cfg_scale=5.0)
    assert picture.shape == (1, 768, 1344, 3)
    ((task, images),) = room.tasks
    assert (task.kind, task.model, task.prompt, task.seed, task.cfg) == ("generate", "sd3.5-large", "a cat", 7, 5.0)
    assert images == []


def test_a_style_counts_only_when_it_is_switched_on() -> None:
    room = Room()
    run("Stability Image Core", room, prompt="a cat", style=False, style_preset="origami")
    run("Stability Image Core", room, prompt="a cat", style=True, style_preset="origami")
    plain, styled = (task for task, _ in room.tasks)
    assert plain.prompt == plain.recipe_prompt == "a cat"
    assert "origami" in styled.prompt
    assert styled.recipe_prompt == "a cat"
    assert (plain.width, plain.height) == (1536, 1536)


def test_turbo_models_take_neither_guidance_nor_a_negative_prompt() -> None:
    room = Room()
    run("Stability SD3", room, prompt="x", model="sd3-large-turbo", negative_prompt="dark", cfg_scale=7.0)
    ((task, _),) = room.tasks
    assert (task.negative_prompt, task.cfg) == ("", None)


def test_image_to_image_keeps_the_shape_of_the_picture() -> None:
    room = Room()
    run("Stability SD3", room, prompt="x", image=PICTURE, strength=0.4, aspect_ratio="1:1(1024, 1024)")
    run("StabilityStableImageSD_3_5Node", room, prompt="x", image=PICTURE, image_denoise=0.3)
    for (task, images), strength in zip(room.tasks, (0.4, 0.3), strict=True):
        assert (task.image, task.strength) == ("0", strength)
        assert task.width > task.height
        assert torch.equal(images[0], PICTURE[0])


def test_inpainting_with_a_mask_and_with_transparency() -> None:
    room = Room()
    mask = torch.zeros(1, 64, 96)
    mask[:, :32] = 1
    run("Stability Inpainting", room, image=PICTURE, prompt="x", mask=mask, grow_mask=9)
    see_through = torch.cat([PICTURE, 1 - mask[..., None]], dim=-1)
    run("Stability Erase", room, image=see_through)
    (painted, first), (erased, second) = room.tasks
    assert (painted.kind, painted.mask, painted.grow_mask) == ("inpaint", "1", 9)
    assert (erased.kind, erased.mask) == ("erase", "1")
    assert torch.equal(first[1][..., 0], mask[0])
    assert torch.equal(second[1][..., 0], mask[0])
    assert second[0].shape[-1] == 3
    with pytest.raises(InvalidInput, match="mask"):
        run("Stability Erase", room, image=PICTURE)


def test_outpainting_and_upscaling_sizes() -> None:
    room = Room()
    assert run("Stability Outpainting", room, image=PICTURE, left=16, up=8).shape == (1, 72, 112, 3)
    assert run("Stability Fast Upscale", room, image=PICTURE).shape == (1, 256, 384, 3)
    assert run("StabilityUpscaleFastNode", room, image=PICTURE).shape == (1, 256, 384, 3)
    large = run("Stability Creative Upscale", room, image=PICTURE, prompt="x", creativity=0.2)
    assert large.shape[1] * large.shape[2] == pytest.approx(4 * 2**20, rel=0.02)
    assert room.tasks[-1][0].creativity == 0.2


@pytest.mark.parametrize(
    "name",
    [
        "Stability Search and Replace",
        "Stability Search And Recolor",
        "Stability Remove Background",
        "Stability Control Sketch",
        "Stability Control Structure",
        "Stability Control Style",
    ],
)
def test_what_no_network_here_can_do_is_said(name: str) -> None:
    with pytest.raises(NotInstalled, match="no network"):
        run(name, Room(), image=PICTURE)


def test_the_tutorials_node() -> None:
    room = Room()
    run("SD3_Zho", room, aspect_ratio="1:1", model="sd3-turbo", mode="text-to-image", image=PICTURE)
    run("SD3_Zho", room, aspect_ratio="1:1", model="sd3", mode="image-to-image", image=PICTURE)
    (turbo, none), (whole, one) = room.tasks
    assert (turbo.model, turbo.negative_prompt, len(none)) == ("sd3-turbo", "", 0)
    assert (whole.model, whole.negative_prompt, whole.strength, len(one)) == (
        "sd3",
        "worst quality, low quality",
        0.7,
        1,
    )
    with pytest.raises(InvalidInput, match="image"):
        run("SD3_Zho", room, aspect_ratio="1:1", mode="image-to-image")


def test_another_server_gets_the_form_that_its_api_takes() -> None:
    answer = BytesIO()
    Image.new("RGB", (8, 6), (255, 0, 0)).save(answer, "WEBP", lossless=True)
    room = Room(answer.getvalue())
    mask = torch.ones(1, 64, 96)
    picture = run(
        "Stability Inpainting", room, image=PICTURE, prompt="x", mask=mask, seed=3, api_key_override="sk-canary"
    )
    assert picture.shape == (1, 6, 8, 3)
    assert torch.allclose(picture[0, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    ((route, fields, files),) = room.calls
    assert route == "edit/inpaint"
    assert fields == {"prompt": "x", "seed": "3"}
    assert Image.open(BytesIO(files["image"])).size == (96, 64)
    assert Image.open(BytesIO(files["mask"])).convert("L").getextrema() == (255, 255)
    assert "sk-canary" not in repr(room.calls)
    run("Stability Remove Background", room, image=PICTURE)
    assert room.calls[-1][0] == "edit/remove-background"


def test_prices_are_items_of_the_list() -> None:
    nodes = load_builtin()
    assert nodes["Stability SD3"].price_item({"model": "sd3-medium"}) == "sd3-medium"  # type: ignore[attr-defined]
    assert nodes["StabilityUpscaleFastNode"].price_item({}) == "upscale-fast"  # type: ignore[attr-defined]
    assert nodes["SD3_Zho"].price_item({"model": "sd3-turbo"}) == "sd3-turbo"  # type: ignore[attr-defined]


def test_an_edit_without_a_picture_is_refused() -> None:
    with pytest.raises(InvalidInput, match="image"):
        local_task(Wish("edit/inpaint", {"prompt": "x"}))

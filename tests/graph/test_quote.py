"""What graphs cost, and which ask for too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from keelbill.core.types import Size, micro
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.node import Input, Node, Output, integer, socket
from keelbill.graph.quote import Limits, Quote, item_of, quote, sampling_price
from keelbill.graph.registry import load_builtin
from keelbill.ledger.prices import PriceList

PICTURES = {"cat.png": Size(800, 600), "wide.png": Size(2000, 500)}
PRICES = PriceList.load()


class Pieces(Node):
    """Of a pack: gives a list, so that whatever follows runs once for each piece."""

    name = "Pieces"
    inputs: ClassVar[tuple[Input, ...]] = (socket("image", "IMAGE"),)
    outputs = (Output("IMAGE", is_list=True),)


class Tint(Node):
    """Of a pack: gives a picture as large as it gets, and a number that only it knows."""

    name = "Tint"
    inputs: ClassVar[tuple[Input, ...]] = (socket("image", "IMAGE"), integer("amount", 1, 0, 10))
    outputs = (Output("IMAGE"), Output("INT"))


def nodes() -> Mapping[str, type[Node]]:
    return {**load_builtin(), "Pieces": Pieces, "Tint": Tint}


def quoted(graph: Mapping[str, Any], **options: Any) -> Quote:
    return quote(graph, nodes(), price=PRICES.price, sizes=PICTURES.get, **options)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def painting(
    latent: dict[str, Any] | None = None, *, model: str = "sd3.5_large.safetensors", steps: Any = 28, denoise: Any = 1.0
) -> dict[str, Any]:
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=model),
        "2": node("CLIPTextEncode", text="a fox", clip=["1", 1]),
        "3": latent or node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "4": node(
            "KSampler",
            model=["1", 0],
            seed=1,
            steps=steps,
            cfg=4.0,
            sampler_name="euler",
            scheduler="simple",
            positive=["2", 0],
            negative=["2", 0],
            latent_image=["3", 0],
            denoise=denoise,
        ),
        "5": node("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": node("SaveImage", images=["5", 0], filename_prefix="fox"),
    }


def blamed(error: GraphInvalid) -> tuple[str, str]:
    """Return the node and the input that an error names."""
    ((name, facts),) = error.node_errors.items()
    (found,) = facts["errors"]
    return name, found["extra_info"]["input_name"]


class TestPrice:
    def test_published_picture_costs_the_list_price(self) -> None:
        found = quoted(painting())
        assert found.price == micro("6.5")
        (line,) = found.lines
        assert (line.node, line.class_type, line.service, line.amount) == ("4", "KSampler", "sd3.5-large", found.price)
        assert line.why == "1024x1024 pixels in 28 steps"

    @pytest.mark.parametrize(
        ("steps", "price"),
        [(14, "3.3"), (20, "4.7"), (56, "13"), (1, "0.3")],  # tenths of a credit, rounded up
    )
    def test_steps_cost_in_proportion(self, steps: int, price: str) -> None:
        assert quoted(painting(steps=steps)).price == micro(price)

    def test_small_picture_costs_at_least_a_tenth_of_a_credit(self) -> None:
        latent = node("EmptySD3LatentImage", width=64, height=64, batch_size=1)
        assert quoted(painting(latent, steps=1)).price == micro("0.1")

    def test_batch_costs_each_picture(self) -> None:
        found = quoted(painting(node("EmptySD3LatentImage", width=1024, height=1024, batch_size=4)))
        assert found.price == micro("26")
        assert found.pictures == 4
        assert found.pixel_steps == 4 * 1024 * 1024 * 28
        assert "4 pictures of" in found.lines[0].why

    def test_nothing_is_painted(self) -> None:
        assert quoted(painting(denoise=0.0)).price == 0
        graph = {"1": node("LoadImage", image="cat.png"), "2": node("PreviewImage", images=["1", 0])}
        found = quoted(graph)
        assert (found.price, found.lines, found.pictures, found.steps) == (0, (), 0, 1)

    def test_turbo_is_priced_by_its_four_steps(self) -> None:
        found = quoted(painting(model="sd3.5_large_turbo_fp8_scaled.safetensors", steps=4))
        assert found.price == micro("4")

    def test_two_passes_cost_both(self) -> None:
        graph = painting()
        graph["7"] = node("LatentUpscaleBy", samples=["4", 0], upscale_method="bilinear", scale_by=1.5)
        graph["8"] = {**graph["4"], "inputs": {**graph["4"]["inputs"], "latent_image": ["7", 0], "steps": 14}}
        graph["5"]["inputs"]["samples"] = ["8", 0]
        first, second = quoted(graph).lines
        assert first.amount == micro("6.5")
        assert second.amount == micro("7.4")  # 2.25 times the pixels, half the steps: 7.3125
        assert second.why == "1536x1536 pixels in 14 steps"

    def test_part_of_a_run_costs_its_steps(self) -> None:
        graph = painting()
        inputs = graph["4"]["inputs"]
        del inputs["denoise"], inputs["seed"]
        inputs |= {"noise_seed": 1, "add_noise": "enable", "start_at_step": 7, "end_at_step": 21}
        graph["4"] = node("KSamplerAdvanced", **inputs, return_with_leftover_noise="disable")
        assert quoted(graph).price == micro("3.3")

    @pytest.mark.parametrize(("slot", "price"), [(0, "1.7"), (1, "4.9")])
    def test_custom_sampler_costs_its_noise_levels(self, slot: int, price: str) -> None:
        graph = painting()
        graph["7"] = node("BasicScheduler", model=["1", 0], scheduler="simple", steps=28, denoise=1.0)
        graph["8"] = node("SplitSigmas", sigmas=["7", 0], step=7)
        graph["9"] = node("CFGGuider", model=["1", 0], positive=["2", 0], negative=["2", 0], cfg=4.0)
        graph["10"] = node("KSamplerSelect", sampler_name="euler")
        graph["11"] = node("RandomNoise", noise_seed=1)
        graph["4"] = node(
            "SamplerCustomAdvanced",
            noise=["11", 0], guider=["9", 0], sampler=["10", 0], sigmas=["8", slot], latent_image=["3", 0],
        )  # fmt: skip
        found = quoted(graph)
        assert found.price == micro(price)
        assert found.lines[0].service == "sd3.5-large"

    def test_model_is_found_behind_other_nodes(self) -> None:
        graph = painting(model="sd3.5_medium.safetensors")
        graph["7"] = node("LoraLoaderModelOnly", model=["1", 0], lora_name="x", strength_model=1.0)
        graph["8"] = node("ModelSamplingSD3", model=["7", 0], shift=3.0)
        graph["4"]["inputs"]["model"] = ["8", 0]
        found = quoted(graph)
        assert found.lines[0].service == "sd3.5-medium"
        assert found.model == "sd3.5_medium.safetensors"

    def test_price_is_a_whole_number(self) -> None:
        assert isinstance(sampling_price(6_500_001, "sd3.5-large", 12_345_679), int)
        assert sampling_price(6_500_001, "sd3.5-large", 12_345_679) % 100_000 == 0


class TestServices:
    def test_nodes_of_the_image_service_cost_their_service(self) -> None:
        graph = {
            "1": node("Stability SD3", model="sd3.5-medium", prompt="a fox"),
            "2": node("StabilityUpscaleFastNode", image=["1", 0]),
            "3": node("SaveImage", images=["2", 0], filename_prefix="x"),
        }
        found = quoted(graph)
        assert [(line.service, line.amount) for line in found.lines] == [
            ("sd3.5-medium", micro("3.5")),
            ("upscale-fast", micro("2")),
        ]
        assert found.price == micro("5.5")
        assert found.pictures == 2

    def test_model_from_another_node(self) -> None:
        graph = {
            "1": node("PrimitiveString", value="sd3.5-large-turbo"),
            "2": node("Stability SD3", model=["1", 0], prompt="a fox"),
        }
        assert quoted(graph).price == micro("4")

    def test_other_service_charges_its_own_account(self) -> None:
        graph = painting() | {"7": node("StabilityUpscaleFastNode", image=["5", 0])}
        found = quoted(graph, is_served_elsewhere=True)
        assert found.price == micro("6.5")
        assert found.lines[1].why == "charged by the other image service"

    @pytest.mark.parametrize(
        ("service", "size"),
        [
            (node("Stability Image Core", prompt="x", aspect_ratio="16:9(2016, 1152)"), (2016, 1152)),
            (node("Stability Image Ultra", prompt="x", aspect_ratio="9:16(768, 1344)"), (768, 1344)),
            (node("StabilityStableImageUltraNode", prompt="x", aspect_ratio="2:3", image=["1", 0]), (1184, 880)),
            (node("Stability Outpainting", image=["1", 0], left=64, right=0, up=0, down=32), (864, 632)),
            (node("StabilityUpscaleFastNode", image=["1", 0]), (3200, 2400)),
            (node("Stability Conservative Upscale", image=["1", 0], prompt="x"), (2368, 1776)),
            (node("Stability Erase", image=["1", 0]), (800, 600)),
        ],
    )
    def test_size_of_what_a_service_gives(self, service: dict[str, Any], size: tuple[int, int]) -> None:
        graph = {"1": node("LoadImage", image="cat.png"), "2": service}
        assert width_and_height(graph, ["2", 0]) == size


def width_and_height(graph: dict[str, Any], link: list[Any]) -> tuple[int, int]:
    """Return the size of a picture, read off the reason of a price."""
    whole = graph | painting(node("VAEEncode", pixels=link, vae=["1", 2]))
    whole["1"] = graph["1"]
    whole["0"] = node("CheckpointLoaderSimple", ckpt_name="sd3.5_large.safetensors")
    whole["2"], whole["20"] = graph["2"], whole["2"]
    whole["20"]["inputs"]["clip"] = ["0", 1]
    whole["4"]["inputs"] |= {"model": ["0", 0], "positive": ["20", 0], "negative": ["20", 0]}
    whole["3"]["inputs"]["vae"] = whole["5"]["inputs"]["vae"] = ["0", 2]
    why = quoted(whole).lines[-1].why
    size = why.split(" pixels")[0].rpartition(" ")[2]
    width, height = size.split("x")
    return int(width), int(height)


class TestSizes:
    @pytest.mark.parametrize(
        ("kind", "inputs", "size"),
        [
            ("ImageScale", {"upscale_method": "area", "width": 400, "height": 0, "crop": "disabled"}, (400, 296)),
            ("ImageScale", {"upscale_method": "area", "width": 0, "height": 0, "crop": "disabled"}, (800, 600)),
            ("ImageScaleBy", {"upscale_method": "area", "scale_by": 0.5}, (400, 296)),
            (
                "ImageScaleToTotalPixels",
                {"upscale_method": "area", "megapixels": 1.0, "resolution_steps": 1},
                (1176, 880),
            ),
            ("ImageUpscaleWithModel", {"upscale_model": ["9", 0]}, (3200, 2400)),
            ("ImagePadForOutpaint", {"left": 8, "top": 16, "right": 24, "bottom": 0, "feathering": 4}, (832, 616)),
            ("ImageCrop", {"width": 512, "height": 4096, "x": 0, "y": 0}, (512, 600)),
            ("Tint", {"amount": 3}, (800, 600)),
        ],
    )
    def test_of_pictures_follow_the_nodes(self, kind: str, inputs: dict[str, Any], size: tuple[int, int]) -> None:
        graph = {
            "1": node("LoadImage", image="cat.png"),
            "2": node(kind, image=["1", 0], **inputs),
            "9": node("UpscaleModelLoader", model_name="keelbill-x4.safetensors"),
        }
        assert width_and_height(graph, ["2", 0]) == size

    def test_of_a_measured_picture(self) -> None:
        graph = painting(node("EmptySD3LatentImage", width=["7", 0], height=["7", 1], batch_size=["7", 2]))
        graph["7"] = node("GetImageSize", image=["8", 0])
        graph["8"] = node("LoadImage", image="wide.png")
        assert quoted(graph).lines[0].why == "2000x496 pixels in 28 steps"

    def test_from_primitive_nodes(self) -> None:
        graph = painting(steps=["7", 0])
        graph["7"] = node("PrimitiveInt", value=14)
        assert quoted(graph).price == micro("3.3")

    def test_unknown_picture_counts_as_a_published_one(self) -> None:
        graph = painting(node("VAEEncode", pixels=["7", 0], vae=["1", 2]))
        graph["7"] = node("LoadImage", image="gone.png")
        assert quoted(graph).lines[0].why.startswith("1024x1024")

    def test_batches_come_together_and_apart(self) -> None:
        graph = painting(node("RepeatLatentBatch", samples=["7", 0], amount=3))
        graph["7"] = node("LatentFromBatch", samples=["8", 0], batch_index=1, length=5)
        graph["8"] = node("VAEEncode", pixels=["9", 0], vae=["1", 2])
        graph["9"] = node("ImageBatch", image1=["10", 0], image2=["10", 0])
        graph["10"] = node("EmptyImage", width=512, height=512, batch_size=1, color=0)
        assert quoted(graph).pictures == 3

    def test_inpainting_paints_the_size_of_the_picture(self) -> None:
        graph = painting()
        graph["7"] = node("LoadImage", image="cat.png")
        graph["8"] = node(
            "InpaintModelConditioning",
            positive=["2", 0], negative=["2", 0], vae=["1", 2], pixels=["7", 0], mask=["7", 1], noise_mask=True,
        )  # fmt: skip
        graph["4"]["inputs"] |= {"positive": ["8", 0], "negative": ["8", 1], "latent_image": ["8", 2]}
        assert quoted(graph).lines[0].why.startswith("800x600")


class TestLimits:
    def test_picture_too_large_to_paint(self) -> None:
        latent = node("EmptySD3LatentImage", width=8192, height=4096, batch_size=1)
        with pytest.raises(GraphInvalid) as caught:
            quoted(painting(latent))
        assert blamed(caught.value) == ("4", "latent_image")
        assert "8192x4096" in caught.value.problems[1]

    def test_batch_too_large(self) -> None:
        with pytest.raises(GraphInvalid) as caught:
            quoted(painting(node("EmptySD3LatentImage", width=1024, height=1024, batch_size=4096)))
        assert blamed(caught.value) == ("3", "batch_size")

    def test_picture_too_large_for_memory(self) -> None:
        graph = {
            "1": node("EmptyImage", width=16384, height=16384, batch_size=1, color=0),
            "2": node("PreviewImage", images=["1", 0]),
        }
        with pytest.raises(GraphInvalid) as caught:
            quoted(graph)
        assert blamed(caught.value) == ("1", "width")

    def test_scaled_beyond_the_limit_by_many_nodes(self) -> None:
        graph: dict[str, Any] = {"0": node("LoadImage", image="cat.png")}
        for place in range(1, 5):
            graph[str(place)] = node("ImageScaleBy", image=[str(place - 1), 0], upscale_method="area", scale_by=8.0)
        graph["9"] = node("PreviewImage", images=["4", 0])
        with pytest.raises(GraphInvalid) as caught:
            quoted(graph)
        assert blamed(caught.value) == ("2", "scale_by")

    def test_too_many_steps(self) -> None:
        with pytest.raises(GraphInvalid) as caught:
            quoted(painting(steps=10_000), limits=Limits(pixel_steps=100 * 2**20))
        assert blamed(caught.value) == ("4", "steps")

    def test_work_of_several_samplers_counts_together(self) -> None:
        graph = painting()
        for place in range(7, 10):
            graph[str(place)] = graph["4"]
        with pytest.raises(GraphInvalid) as caught:
            quoted(graph, limits=Limits(pixel_steps=3 * 28 * 2**20))
        assert caught.value.kind == "prompt_outputs_failed_validation"

    def test_too_many_pixels_to_save(self) -> None:
        graph = painting(node("EmptySD3LatentImage", width=1024, height=1024, batch_size=4), steps=1)
        with pytest.raises(GraphInvalid) as caught:
            quoted(graph, limits=Limits(output_pixels=3 * 2**20))
        assert blamed(caught.value) == ("6", "images")

    def test_number_that_only_a_run_tells(self) -> None:
        graph = painting(steps=["7", 1])
        graph["7"] = node("Tint", image=["8", 0], amount=1)
        graph["8"] = node("LoadImage", image="cat.png")
        with pytest.raises(GraphInvalid) as caught:
            quoted(graph)
        assert blamed(caught.value) == ("4", "steps")

    def test_list_that_decides_how_often_a_sampler_runs(self) -> None:
        graph = painting(node("VAEEncode", pixels=["7", 0], vae=["1", 2]))
        graph["7"] = node("Pieces", image=["8", 0])
        graph["8"] = node("LoadImage", image="cat.png")
        with pytest.raises(GraphInvalid) as caught:
            quoted(graph)
        assert blamed(caught.value)[0] == "4"

    def test_long_chain_of_nodes(self) -> None:
        graph: dict[str, Any] = {"0": node("LoadImage", image="cat.png")}
        for place in range(1, 400):
            graph[str(place)] = node("ImageInvert", image=[str(place - 1), 0])
        graph["end"] = node("PreviewImage", images=["399", 0])
        assert quoted(dict(reversed(graph.items()))).price == 0


@pytest.mark.parametrize(
    ("model", "item"),
    [
        ("sd3.5_large.safetensors", "sd3.5-large"),
        ("sd3/sd3.5_large_fp8_scaled.safetensors", "sd3.5-large"),
        ("sd3.5_large_turbo.safetensors", "sd3.5-large-turbo"),
        ("sd3_medium_incl_clips_t5xxlfp8.safetensors", "sd3.5-medium"),
        ("sd3-medium", "sd3-medium"),
        ("keelbill-mini.safetensors", "sd3.5-medium"),
        ("keelbill-mini-turbo.safetensors", "sd3.5-flash"),
        ("", "sd3.5-medium"),
    ],
)
def test_model_files_have_the_price_of_their_service(model: str, item: str) -> None:
    assert item_of(model) == item
    assert PRICES.price(item) > 0

"""Nodes that load, show, save and change pictures, on pictures that are small enough to reckon by hand."""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from keelbill.core.errors import BadImage, InvalidInput, NotFound
from keelbill.graph.registry import load_builtin
from keelbill.graph.tensors.pictures import MOST_PIXELS
from keelbill.imaging.workflows import read_texts
from support.graphnodes import Desk, run

GRAPH = {"9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "cat"}}}


def picture(height: int = 4, width: int = 6, count: int = 1, channels: int = 3) -> Tensor:
    """Return pictures of which every value is another whole level of 255."""
    total = count * height * width * channels
    return (torch.arange(total) % 256).float().reshape(count, height, width, channels) / 255


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels_of(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(BytesIO(data)))


class TestLoading:
    def test_no_such_picture(self) -> None:
        with pytest.raises(NotFound):
            run("LoadImage", image="cat.png")

    def test_no_picture_at_all(self) -> None:
        with pytest.raises(BadImage, match=r"cat\.png is not a PNG"):
            run("LoadImage", Desk({"cat.png": b"<svg/>"}), image="cat.png")

    def test_colours_and_the_empty_mask_of_an_opaque_picture(self) -> None:
        image, mask = run("LoadImage", Desk({"a": file_of(Image.new("RGB", (3, 2), (255, 51, 0)))}), image="a")

        assert image.shape == (1, 2, 3, 3)
        assert image[0, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
        assert image.dtype == torch.float32
        assert mask.shape == (1, 64, 64)
        assert mask.max() == 0

    def test_what_is_transparent_is_masked(self) -> None:
        image, mask = run("LoadImage", Desk({"a": file_of(Image.new("RGBA", (2, 2), (10, 20, 30, 51)))}), image="a")

        assert image.shape == (1, 2, 2, 3)
        assert (image[0, 0, 0] * 255).tolist() == pytest.approx([10, 20, 30])
        assert mask.tolist() == [[pytest.approx([0.8, 0.8])] * 2]

    def test_camera_held_upright(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        data = file_of(Image.new("RGB", (8, 4)), "JPEG", exif=exif)

        image, _ = run("LoadImage", Desk({"a": data}), image="a")

        assert image.shape == (1, 8, 4, 3)

    def test_frames_become_a_batch(self) -> None:
        frames = [Image.new("RGB", (2, 2), (51 * place, 0, 0)) for place in range(3)]
        data = file_of(frames[0], save_all=True, append_images=frames[1:])

        image, mask = run("LoadImage", Desk({"a": data}), image="a")

        assert image[:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 0.4])
        assert len(mask) == 3

    def test_from_the_outputs(self) -> None:
        desk = Desk({"a.png [output]": file_of(Image.new("RGB", (2, 2)))})

        assert run("LoadImageOutput", desk, image="a.png [output]")[0].shape == (1, 2, 2, 3)

    @pytest.mark.parametrize(("channel", "value"), [("red", 0.2), ("green", 0.4), ("blue", 0.6), ("alpha", 0.8)])
    def test_one_channel_as_a_mask_of_which_alpha_is_turned_over(self, channel: str, value: float) -> None:
        desk = Desk({"a": file_of(Image.new("RGBA", (2, 1), (51, 102, 153, 51)))})

        mask = run("LoadImageMask", desk, image="a", channel=channel)

        assert mask.shape == (1, 1, 2)
        assert mask.flatten().tolist() == pytest.approx([value] * 2)

    def test_alpha_of_an_opaque_picture_masks_nothing(self) -> None:
        mask = run("LoadImageMask", Desk({"a": file_of(Image.new("L", (2, 1)))}), image="a", channel="alpha")

        assert mask.shape == (1, 64, 64)
        assert mask.max() == 0

    @pytest.mark.parametrize("kind", ["LoadImage", "LoadImageOutput", "LoadImageMask"])
    def test_another_file_of_the_same_name_is_read_anew(self, kind: str) -> None:
        token = load_builtin()[kind].change_token

        assert token({"image": "a"}, {"a": "digest"}) == "digest"
        assert token({"image": "a"}, {"a": "another"}) == "another"


class TestSaving:
    def test_bytes_are_exact(self) -> None:
        images = picture(8, 8)

        result = run("SaveImage", images=images)

        (file,) = result.files
        assert (file.media_type, file.prefix, file.kind) == ("image/png", "ComfyUI", "output")
        assert np.array_equal(pixels_of(file.content), (images[0] * 255).round().byte().numpy())

    def test_values_outside_are_cut_off_and_no_numbers_are_black(self) -> None:
        (file,) = run("SaveImage", images=torch.tensor([[[[-1.0, 2.0, math.nan]]]])).files

        assert pixels_of(file.content).tolist() == [[[0, 255, 0]]]

    def test_transparency_is_kept_and_grey_becomes_colour(self) -> None:
        clear = run("SaveImage", images=picture(2, 2, channels=4)).files[0]
        grey = run("SaveImage", images=picture(2, 2, channels=1)).files[0]

        assert pixels_of(clear.content).shape == (2, 2, 4)
        assert pixels_of(grey.content).shape == (2, 2, 3)

    def test_pictures_carry_the_graph_and_the_workflow(self) -> None:
        values: dict[str, Any] = {"prompt": GRAPH, "extra_pnginfo": {"workflow": {"nodes": []}}}

        (file,) = run("SaveImage", images=picture(), **values).files

        found = read_texts(file.content)
        assert json.loads(found["prompt"]) == GRAPH
        assert json.loads(found["workflow"]) == {"nodes": []}

    @pytest.mark.parametrize("kind", ["SaveImage", "PreviewImage"])
    def test_account_that_wants_no_metadata(self, kind: str) -> None:
        values: dict[str, Any] = {"prompt": GRAPH, "extra_pnginfo": {"workflow": {}}}

        (file,) = run(kind, Desk(writes_metadata=False), images=picture(), **values).files

        assert read_texts(file.content) == {}

    def test_fields_of_the_name(self) -> None:
        result = run("SaveImage", images=picture(count=2), filename_prefix="a/%width%x%height%-%batch_num%")

        assert [file.prefix for file in result.files] == ["a/6x4-0", "a/6x4-1"]

    @pytest.mark.parametrize("prefix", ["../a", "/a", "C:a", "a\\b", "a\x00b", "a/../../b", "x" * 300])
    def test_names_that_leave_the_folder_are_refused_before_and_while_running(self, prefix: str) -> None:
        assert load_builtin()["SaveImage"].check({"filename_prefix": prefix})
        with pytest.raises(InvalidInput, match="filename_prefix"):
            run("SaveImage", images=picture(), filename_prefix=prefix)

    @pytest.mark.parametrize("kind", ["SaveImage", "PreviewImage"])
    def test_what_may_not_be_shown_is_not_shown(self, kind: str) -> None:
        (file,) = run(kind, Desk(hides=True), images=torch.ones(1, 2, 2, 3)).files

        assert pixels_of(file.content).max() == 0

    def test_previews_are_forgotten_later_and_have_names_of_their_own(self) -> None:
        one, other = (run("PreviewImage", images=picture()).files[0] for _ in range(2))

        assert (one.kind, other.kind) == ("temp", "temp")
        assert one.prefix != other.prefix

    def test_sent_over_the_socket_each_time_and_kept_nowhere(self) -> None:
        desk = Desk()

        result = run("SaveImageWebsocket", desk, images=picture(count=2))

        assert (result.files, result.shown) == ((), {})
        assert [(value, total) for value, total, _ in desk.heard] == [(1, 2), (2, 2)]
        sent = [image for _, _, image in desk.heard if image]
        assert [pixels_of(image).shape for image in sent] == [(4, 6, 3)] * 2
        token = load_builtin()["SaveImageWebsocket"].change_token({}, {})
        assert isinstance(token, float)
        assert math.isnan(token)

    def test_sent_pictures_are_judged_too(self) -> None:
        desk = Desk(hides=True)

        run("SaveImageWebsocket", desk, images=torch.ones(1, 2, 2, 3))

        assert pixels_of(desk.heard[0][2] or b"").max() == 0


class TestScaling:
    @pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"])
    def test_each_method_keeps_a_plain_colour(self, method: str) -> None:
        plain = torch.full((2, 5, 7, 3), 0.4)

        found = run("ImageScale", image=plain, upscale_method=method, width=11, height=3)

        assert found.shape == (2, 3, 11, 3)
        assert found.flatten().tolist() == pytest.approx([0.4] * found.numel(), abs=1e-3)

    def test_nearest_takes_pixels_as_they_are(self) -> None:
        image = picture(2, 2)

        found = run("ImageScale", image=image, upscale_method="nearest-exact", width=4, height=4)

        assert torch.equal(found[:, ::2, ::2], image)
        assert torch.equal(found[:, 1::2, 1::2], image)

    def test_area_is_the_mean(self) -> None:
        image = picture(2, 2)

        found = run("ImageScale", image=image, upscale_method="area", width=1, height=1)

        assert found[0, 0, 0].tolist() == pytest.approx(image.mean(dim=(0, 1, 2)).tolist())

    @pytest.mark.parametrize(
        ("width", "height", "size"), [(0, 0, (4, 6)), (3, 0, (2, 3)), (0, 8, (8, 12)), (1, 0, (1, 1))]
    )
    def test_a_side_of_zero_follows_from_the_other(self, width: int, height: int, size: tuple[int, int]) -> None:
        found = run("ImageScale", image=picture(), upscale_method="bilinear", width=width, height=height)

        assert tuple(found.shape[1:3]) == size

    def test_centre_crop_cuts_before_it_scales(self) -> None:
        image = torch.zeros(1, 4, 8, 3)
        image[:, :, :2] = 1
        image[:, :, 6:] = 1

        found = run("ImageScale", image=image, upscale_method="bilinear", width=2, height=2, crop="center")

        assert found.max() == 0

    def test_without_crop_all_is_squeezed_in(self) -> None:
        image = torch.zeros(1, 4, 8, 3)
        image[:, :, :4] = 1

        found = run("ImageScale", image=image, upscale_method="area", width=2, height=2)

        assert found[0, 0, :, 0].tolist() == [1, 0]

    def test_lanczos_goes_through_eight_bits_and_keeps_transparency(self) -> None:
        found = run("ImageScale", image=picture(channels=4), upscale_method="lanczos", width=3, height=2)

        assert found.shape == (1, 2, 3, 4)
        assert torch.allclose(found * 255, (found * 255).round(), atol=1e-4)

    def test_by_a_factor(self) -> None:
        found = run("ImageScaleBy", image=picture(4, 6), upscale_method="area", scale_by=0.25)

        assert tuple(found.shape[1:3]) == (1, 2)

    @pytest.mark.parametrize(
        ("height", "width", "megapixels", "step", "size"),
        [(10, 40, 0.01, 1, (51, 205)), (512, 512, 1.0, 64, (1024, 1024)), (30, 10, 0.01, 64, (192, 64))],
    )
    def test_to_a_number_of_pixels(
        self, height: int, width: int, megapixels: float, step: int, size: tuple[int, int]
    ) -> None:
        found = run(
            "ImageScaleToTotalPixels",
            image=torch.zeros(1, height, width, 3),
            upscale_method="nearest-exact",
            megapixels=megapixels,
            resolution_steps=step,
        )

        assert tuple(found.shape[1:3]) == size

    def test_pictures_that_no_memory_holds(self) -> None:
        with pytest.raises(InvalidInput, match="picture size"):
            run("ImageScale", image=picture(), upscale_method="area", width=16384, height=16384)
        with pytest.raises(InvalidInput, match="picture size"):
            run("EmptyImage", width=16384, height=4097)
        with pytest.raises(InvalidInput, match="picture size"):
            run("ImagePadForOutpaint", image=picture(), left=16384, top=16384)
        assert MOST_PIXELS >= 8192 * 8192


class TestParts:
    def test_cut(self) -> None:
        image = picture()

        assert torch.equal(run("ImageCrop", image=image, width=2, height=3, x=1, y=1), image[:, 1:4, 1:3])

    def test_cut_outside_gives_what_there_is(self) -> None:
        image = picture()

        assert torch.equal(run("ImageCrop", image=image, width=99, height=99, x=99, y=2), image[:, 2:, 5:])

    def test_size(self) -> None:
        assert run("GetImageSize", image=picture(4, 6, 3)) == (6, 4, 3)

    def test_padding_is_grey_and_masked(self) -> None:
        image = picture(4, 4)

        found, mask = run("ImagePadForOutpaint", image=image, left=2, top=1, right=0, bottom=0, feathering=0)

        assert found.shape == (1, 5, 6, 3)
        assert torch.equal(found[:, 1:, 2:], image)
        assert (found[:, 0] == 0.5).all()
        assert (found[:, :, :2] == 0.5).all()
        assert mask[0].sum() == 5 * 6 - 4 * 4
        assert mask[0, 1:, 2:].max() == 0

    def test_soft_edge_lies_only_where_room_was_added(self) -> None:
        _, mask = run("ImagePadForOutpaint", image=torch.zeros(1, 8, 8, 3), left=8, feathering=4)

        assert mask[0, 3, 8:].tolist() == pytest.approx([1, 9 / 16, 4 / 16, 1 / 16, 0, 0, 0, 0])
        assert torch.equal(mask[0], mask[0, :1].expand(8, -1))

    def test_soft_edges_on_both_sides_are_alike(self) -> None:
        _, mask = run("ImagePadForOutpaint", image=torch.zeros(1, 8, 8, 3), top=8, bottom=8, feathering=4)

        assert torch.equal(mask, mask.flip(1))


class TestColours:
    @pytest.mark.parametrize(("color", "channels"), [(0xFF0000, [1, 0, 0]), (0x003300, [0, 0.2, 0]), (255, [0, 0, 1])])
    def test_plain(self, color: int, channels: list[float]) -> None:
        found = run("EmptyImage", width=3, height=2, batch_size=2, color=color)

        assert found.shape == (2, 2, 3, 3)
        assert found[1, 1, 2].tolist() == pytest.approx(channels)

    def test_negative(self) -> None:
        image = picture(channels=4)

        found = run("ImageInvert", image=image)

        assert torch.allclose(found[..., :3], 1 - image[..., :3])
        assert torch.equal(found[..., 3], image[..., 3])

    def test_batch_takes_the_first_ones_size(self) -> None:
        found = run("ImageBatch", image1=picture(4, 4), image2=torch.full((2, 2, 8, 3), 0.5))

        assert found.shape == (3, 4, 4, 3)
        assert torch.equal(found[:1], picture(4, 4))
        assert (found[1:] == 0.5).all()

    def test_batch_of_opaque_and_transparent(self) -> None:
        found = run("ImageBatch", image1=picture(2, 2), image2=torch.zeros(1, 2, 2, 4))

        assert found.shape == (2, 2, 2, 4)
        assert found[0, ..., 3].min() == 1
        assert found[1, ..., 3].max() == 0


class TestLayers:
    def test_laid_at_a_place(self) -> None:
        found = run(
            "ImageCompositeMasked", destination=torch.zeros(1, 4, 4, 3), source=torch.ones(1, 2, 2, 3), x=1, y=2
        )

        assert found[0, :, :, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]

    def test_what_juts_out_is_cut_off(self) -> None:
        found = run(
            "ImageCompositeMasked", destination=torch.zeros(1, 2, 2, 3), source=torch.ones(1, 4, 4, 3), x=1, y=1
        )

        assert found[0, :, :, 0].tolist() == [[0, 0], [0, 1]]

    def test_laid_wholly_outside(self) -> None:
        below = picture()

        assert torch.equal(run("ImageCompositeMasked", destination=below, source=below, x=100, y=100), below)

    def test_mask_of_another_size_and_fewer_pictures_above(self) -> None:
        found = run(
            "ImageCompositeMasked",
            destination=torch.zeros(3, 4, 4, 3),
            source=torch.ones(1, 4, 4, 3),
            mask=torch.full((1, 2, 2), 0.25),
        )

        assert found.shape == (3, 4, 4, 3)
        assert (found == 0.25).all()

    def test_scaled_to_fill(self) -> None:
        found = run(
            "ImageCompositeMasked",
            destination=torch.zeros(1, 4, 6, 3),
            source=torch.ones(1, 1, 1, 4),
            resize_source=True,
        )

        assert found.shape == (1, 4, 6, 3)
        assert found.min() == 1

    def test_given_pictures_stay_as_they_are(self) -> None:
        below = torch.zeros(1, 2, 2, 3)

        run("ImageCompositeMasked", destination=below, source=torch.ones(1, 2, 2, 3))

        assert below.max() == 0


class TestEdges:
    def test_blur_of_a_point_is_the_bell(self) -> None:
        image = torch.zeros(1, 7, 7, 1)
        image[0, 3, 3] = 1

        found = run("ImageBlur", image=image, blur_radius=1, sigma=1.0)[0, :, :, 0]

        bell = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / 2)
        bell = bell / bell.sum()
        assert torch.allclose(found[2:5, 2:5], bell[:, None] * bell, atol=1e-6)
        assert float(found.sum()) == pytest.approx(1)

    @given(radius=st.integers(1, 31), sigma=st.floats(0.1, 10), side=st.integers(1, 12))
    def test_blur_keeps_plain_colours_and_sizes(self, radius: int, sigma: float, side: int) -> None:
        found = run("ImageBlur", image=torch.full((1, side, 5, 3), 0.3), blur_radius=radius, sigma=sigma)

        assert found.shape == (1, side, 5, 3)
        assert torch.allclose(found, torch.tensor(0.3), atol=1e-5)

    def test_a_square_has_a_thin_outline(self) -> None:
        image = torch.zeros(1, 40, 40, 3)
        image[:, 10:30, 10:30] = 1

        found = run("Canny", image=image)

        assert found.shape == image.shape
        assert sorted(found.unique().tolist()) == [0, 1]
        assert torch.equal(found[..., 0], found[..., 2])
        line = found[0, 20, :, 0]
        assert line.nonzero().flatten().tolist() in ([9, 29], [10, 30], [10, 29], [9, 30])
        assert found[0, 14:26, 14:26].max() == 0

    def test_faint_edges_count_only_beside_strong_ones(self) -> None:
        image = torch.zeros(1, 20, 60, 3)
        image[:, 10:, :30] = torch.linspace(1.0, 0.2, 30)[None, None, :, None]
        image[:, 10:, 40:] = 0.2

        found = run("Canny", image=image, low_threshold=0.3, high_threshold=0.99)

        assert found[0, 9:11, 5:25].amax(0)[:, 0].min() == 1
        assert found[0, :, 45:58].max() == 0

    def test_plain_pictures_have_no_edges(self) -> None:
        assert run("Canny", image=torch.full((2, 16, 16, 3), 0.7)).max() == 0

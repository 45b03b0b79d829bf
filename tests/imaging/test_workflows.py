"""The graph that a picture carries."""

from __future__ import annotations

import json
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from keelbill.core.errors import BadImage
from keelbill.imaging.decode import ImageFormat, decode, decode_frames
from keelbill.imaging.encode import encode, encode_png
from keelbill.imaging.metadata import Recipe, read
from keelbill.imaging.workflows import MAX_TEXT_BYTES, read_texts, texts

PIXELS = np.zeros((4, 6, 3), np.uint8)
GRAPH = {"3": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1, "model": ["4", 0]}}}
RECIPE = Recipe(prompt="a café\nat night", model="m", seed=7, width=6, height=4, steps=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class TestTexts:
    def test_prompt_and_every_entry_become_ascii_json(self) -> None:
        found = texts(GRAPH, {"workflow": {"title": "Übung 猫"}, "note": [1]})

        assert list(found) == ["prompt", "workflow", "note"]
        assert json.loads(found["prompt"]) == GRAPH
        assert found["workflow"].isascii()
        assert json.loads(found["workflow"]) == {"title": "Übung 猫"}

    def test_nothing_to_carry(self) -> None:
        assert texts(None, None) == {}
        assert texts(None, {"workflow": None}) == {}

    @pytest.mark.parametrize("name", ["", "keelbill", "parameters", "prompt", "a\x00b", "x" * 80, "ключ", "a b"])
    def test_names_that_would_break_or_forge_a_chunk_are_left_out(self, name: str) -> None:
        assert texts(None, {name: 1, "workflow": 2}) == {"workflow": "2"}

    def test_what_is_too_long_is_left_out(self) -> None:
        assert texts({"a": "x" * MAX_TEXT_BYTES}, {"workflow": 1}) == {"workflow": "1"}

    def test_too_many_entries(self) -> None:
        assert len(texts(None, {f"n{place}": place for place in range(1000)})) == 16


class TestPng:
    def test_round_trip(self) -> None:
        data = encode_png(PIXELS, texts(GRAPH, {"workflow": {"nodes": []}}), 4)

        found = read_texts(data)

        assert json.loads(found["prompt"]) == GRAPH
        assert json.loads(found["workflow"]) == {"nodes": []}

    @given(value=JSON)
    def test_any_graph_comes_back(self, value: object) -> None:
        found = read_texts(encode_png(PIXELS, texts({"1": value}), 1))

        assert json.loads(found["prompt"]) == {"1": value}

    def test_plain_text_chunks_that_every_reader_knows(self) -> None:
        data = encode_png(PIXELS, texts(GRAPH, {"workflow": {"title": "猫"}}), 4)

        assert data.count(b"tEXt") == 2
        assert b"iTXt" not in data

    def test_recipe_and_workflow_side_by_side(self) -> None:
        data = encode(PIXELS, ImageFormat.PNG, RECIPE, workflow='{"nodes":[]}')

        assert read(data) == RECIPE
        assert read_texts(data)["workflow"] == '{"nodes":[]}'
        assert read_texts(data)["parameters"].startswith("a café\nat night\n")

    def test_without_a_workflow_nothing_is_added(self) -> None:
        assert read_texts(encode(PIXELS, ImageFormat.PNG)) == {}

    @pytest.mark.parametrize("compressed", [True, False])
    def test_international_text_of_other_programs(self, compressed: bool) -> None:
        info = PngInfo()
        info.add_itxt("prompt", '{"1": "猫"}', zip=compressed)
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "PNG", pnginfo=info)

        assert read_texts(out.getvalue()) == {"prompt": '{"1": "猫"}'}

    def test_compressed_bomb_is_refused_quickly(self) -> None:
        info = PngInfo()
        info.add(b"zTXt", b"workflow\x00\x00" + zlib.compress(b"x" * 200_000_000))
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "PNG", pnginfo=info)

        with pytest.raises(BadImage):
            read_texts(out.getvalue())

    def test_plain_text_that_is_too_long_is_passed_over(self) -> None:
        info = PngInfo()
        info.add_text("workflow", "x" * (MAX_TEXT_BYTES + 1))
        info.add_text("prompt", "{}")
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "PNG", pnginfo=info)

        assert read_texts(out.getvalue()) == {"prompt": "{}"}

    def test_no_picture(self) -> None:
        with pytest.raises(BadImage, match="cat is not a PNG"):
            read_texts(b"GIF89a", field="cat")


class TestWebp:
    def test_round_trip_beside_the_recipe(self) -> None:
        data = encode(PIXELS, ImageFormat.WEBP, RECIPE, workflow='{"nodes":[]}')

        assert read_texts(data) == {"workflow": '{"nodes":[]}'}
        assert read(data) == RECIPE

    def test_tags_are_those_that_editors_read(self) -> None:
        exif = Image.open(BytesIO(encode(PIXELS, ImageFormat.WEBP, workflow="{}"))).getexif()

        assert exif[0x010F] == "workflow:{}"

    def test_tags_that_another_program_exchanged(self) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Make] = 'Prompt:{"1":{}}'
        exif[ExifTags.Base.Model] = 'Workflow:{"nodes":[]}'
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "WEBP", exif=exif)

        assert read_texts(out.getvalue()) == {"prompt": '{"1":{}}', "workflow": '{"nodes":[]}'}

    def test_a_camera_is_no_workflow(self) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Make] = "Canon"
        exif[ExifTags.Base.Model] = "EOS: 5"
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "WEBP", exif=exif)

        assert read_texts(out.getvalue()) == {}

    def test_damaged_block(self) -> None:
        out = BytesIO()
        Image.fromarray(PIXELS).save(out, "WEBP", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")

        assert read_texts(out.getvalue()) == {}


def test_a_jpeg_carries_the_recipe_and_no_graph() -> None:
    data = encode(PIXELS, ImageFormat.JPEG, RECIPE, workflow='{"nodes":[]}')

    assert read_texts(data) == {}
    assert read(data) == RECIPE


class TestFrames:
    def animation(self, count: int, kind: str = "PNG") -> bytes:
        frames = [Image.new("RGB", (6, 4), (40 * place, 0, 0)) for place in range(count)]
        out = BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], lossless=True)
        return out.getvalue()

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_animated_picture_gives_all_frames(self, kind: str) -> None:
        found = decode_frames(self.animation(3, kind))

        assert [int(frame[0, 0, 0]) for frame in found] == [0, 40, 80]
        assert {frame.shape[:2] for frame in found} == {(4, 6)}

    def test_still_picture_gives_one(self) -> None:
        data = encode(PIXELS, ImageFormat.PNG)

        assert len(decode_frames(data)) == 1
        assert np.array_equal(decode_frames(data)[0], decode(data))

    def test_all_frames_together_are_bounded(self) -> None:
        with pytest.raises(BadImage, match="3 frames of 6x4; at most 50 pixels"):
            decode_frames(self.animation(3), max_pixels=50)

    def test_elsewhere_animations_are_still_refused(self) -> None:
        with pytest.raises(BadImage, match="animated"):
            decode(self.animation(2))

    def test_truncated(self) -> None:
        with pytest.raises(BadImage, match="damaged or truncated"):
            decode_frames(self.animation(3)[:-40])

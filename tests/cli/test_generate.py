"""``keelbill generate``: bad input first, then pictures of a small random model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keelbill.cli import _pictures
from keelbill.cli._orders import Order, slug
from keelbill.core.types import AspectRatio, Size
from keelbill.engine.model import Model
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.imaging.decode import ImageFormat, decode, sniff
from keelbill.imaging.encode import to_pixels
from keelbill.imaging.metadata import Recipe, read
from support.commandline import Run, write_picture


def recipe_of(path: Path) -> Recipe:
    recipe = read(path.read_bytes())
    assert recipe is not None
    return recipe


@pytest.mark.usefixtures("unloadable")
class TestRefusedBeforeLoading:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("--size 1000x1024", "width 1000 is not allowed; width must be a multiple of 16; nearest: 992 or 1008."),
            ("--size 1024x1000", "height 1000 is not allowed; height must be a multiple of 16; nearest: 992 or 1008."),
            ("--size 8192x64", "width 8192 is not allowed; width must be from 16 to 4096 pixels."),
            ("--size 64", "size '64' is not allowed; size must be WIDTHxHEIGHT in pixels, for example 1024x768."),
            ("--size 64x64 --aspect-ratio 1:1", "aspect_ratio must be left out when size is given."),
            ("--aspect-ratio 16:10", "aspect_ratio must be one of"),
            ("--steps 0", "steps 0 is not allowed; steps must be a whole number from 1 to 1000."),
            ("--steps 1001", "steps must be a whole number from 1 to 1000."),
            ("--steps many", "Invalid value for '--steps': 'many' is not a valid integer."),
            ("--cfg -1", "cfg -1.0 is not allowed; cfg must be from 0 to 100."),
            ("--cfg nan", "cfg must be from 0 to 100."),
            ("--seed -1", "seed must be a whole number from 0 to 18446744073709551615."),
            ("--seed 18446744073709551615 --n 2", "seed must be at most 18446744073709551614 for 2 pictures."),
            ("--n 0", "n 0 is not allowed; n must be from 1 to 100 pictures."),
            ("--strength 1.5", "strength 1.5 is not allowed; strength must be from 0 to 1."),
            ("--strength nan --image photo.png", "strength must be from 0 to 1."),
            ("--strength 0.5", "strength must be given together with image."),
            ("--mask photo.png", "mask must be given together with image."),
            ("--sampler eulr", "Did you mean 'euler'?"),
            ("--schedule simpel", "Did you mean 'simple'?"),
            ("--format gif", "format 'gif' is not allowed; format must be one of jpeg, png, webp."),
            ("-o a.tiff", "output must be a file name that ends in .png, .jpg or .webp."),
            ("-o a.png --format webp", "format must be png, because the output is named a.png."),
            ("-o none/a.png", "output must be in a folder that exists."),
            ("--image none.png", "image 'none.png' cannot be read: No such file or directory."),
            ("--image empty.png", "image is empty (0 bytes); it must be a PNG, JPEG or WebP picture."),
            ("--image cut.png", "image is a damaged or truncated png file"),
            ("--image text.png", "image is not a PNG, JPEG or WebP picture; no other format is read."),
            ("--image photo.png --mask empty.png", "mask is empty (0 bytes)"),
            ("--shift 0", "shift 0.0 is not allowed; shift must be above 0 and at most 100."),
            ("--shift nan", "shift must be above 0 and at most 100."),
            ("--dtype float8", "dtype 'float8' is not allowed; dtype must be one of auto, bfloat16, float16, float32."),
            ("--dtype bfloat61", "Did you mean 'bfloat16'?"),
            ("--lora none.safetensors", "lora must be a file that exists, or the name of an installed LoRA."),
            ("--lora photo.png:strong", "lora must be FILE or FILE:STRENGTH"),
            ("--lora photo.png:nan", "lora must be with a strength from -10 to 10."),
            ("--lora photo.png:11", "lora 'photo.png:11' is not allowed"),
            ("--lora nothing:0.5", "nothing"),
            ("--outpaint 1,2,3", "outpaint must be LEFT,TOP,RIGHT,BOTTOM, each from 0 to 2000 pixels"),
            ("--outpaint 0,0,0,0", "one of them above 0."),
            ("--outpaint 0,0,0,2001 --image photo.png", "outpaint '0,0,0,2001' is not allowed"),
            ("--outpaint 0,0,-1,5", "each from 0 to 2000 pixels"),
            ("--outpaint 8,0,0,0", "outpaint must be given together with image."),
            ("--outpaint 8,0,0,0 --image photo.png --mask photo.png", "mask must be left out when outpaint is given"),
            ("--lora a --server http://localhost:1", "lora 'a' is not allowed"),
            ("--outpaint 8,0,0,0 --server http://localhost:1", "outpaint '8,0,0,0' is not allowed"),
            ("--colour red", "No such option '--colour'"),
        ],
    )
    def test_one_sentence(self, run: Run, photo: Path, arguments: str, sentence: str) -> None:
        Path("empty.png").touch()
        Path("cut.png").write_bytes(photo.read_bytes()[:100])
        Path("text.png").write_text("I am a picture.")
        assert sentence in run("generate", "a cat", *arguments.split()).sentence

    @pytest.mark.parametrize("prompt", ["", "   ", "a" * 10_001, "nul\x00", "half \ud800"])
    def test_prompts_that_are_no_text(self, run: Run, prompt: str) -> None:
        assert run("generate", prompt).sentence.startswith("prompt ")

    def test_no_prompt(self, run: Run) -> None:
        assert run("generate").sentence == "Missing argument 'PROMPT'."

    def test_a_prompt_too_long_for_a_jpeg(self, run: Run) -> None:
        assert (
            "use png or webp" in run("generate", "草" * 10_000, "--format", "jpeg", "--negative", "草" * 1000).sentence
        )

    def test_a_folder_that_cannot_be_written_to(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.cli._orders.access", lambda *_: False)
        assert "in a folder that can be written to" in run("generate", "a cat").sentence

    def test_without_the_engine(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_pictures, "find_spec", lambda name: None)
        assert "pip install 'keelbill[server]'" in run("generate", "a cat").sentence


def test_torch_is_not_imported_for_input_that_is_refused() -> None:
    code = (
        "import sys\n"
        "from keelbill.cli.main import main\n"
        "try:\n    main(['generate', 'a cat', '--strength', '1.5'])\n"
        "except SystemExit as stop:\n    print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "2 False"


class TestPictures:
    def test_prints_file_seed_and_seconds(self, run: Run, loaded: list[str]) -> None:
        outcome = run("generate", "A red cat, sitting!", "--seed", "7")
        assert outcome.code == 0
        assert outcome.err == ""
        assert re.fullmatch(r"a-red-cat-sitting-7\.png  seed 7  \d+\.\d s\n", outcome.out)
        assert loaded == ["keelbill-mini"]

    def test_the_picture_is_the_pipelines(self, run: Run, loaded: list[str], tiny: Model) -> None:
        run("generate", "a cat", "--seed", "7", "-o", "cat.png", "--steps", "3")
        expected = Pipeline(tiny).picture(GenerationRequest("a cat", seed=7, steps=3))
        assert np.array_equal(decode(Path("cat.png").read_bytes()), to_pixels(expected.numpy()))

    def test_it_carries_its_recipe(self, run: Run, loaded: list[str]) -> None:
        run(
            *("generate", "a cat", "-o", "cat.png", "--seed", "7", "--negative", "a dog", "--sampler", "heun"),
            *("--schedule", "karras", "--cfg", "2", "--steps", "2", "--size", "80x64", "--model", "some/where/tiny"),
        )
        recipe = recipe_of(Path("cat.png"))
        assert recipe.versions["torch"] == torch.__version__
        assert recipe.device.startswith("cpu ")
        assert recipe == Recipe(
            prompt="a cat",
            negative="a dog",
            model="tiny",
            model_hash="0" * 64,
            seed=7,
            width=80,
            height=64,
            steps=2,
            cfg=2.0,
            sampler="heun",
            schedule="karras",
            shift=1.0,
            device=recipe.device,
            dtype="float32",
            versions=recipe.versions,
            engine="keelbill 0.1.0",
        )

    def test_no_path_is_in_the_file(self, run: Run, loaded: list[str], photo: Path, tmp_path: Path) -> None:
        run("generate", "a cat", "-o", str(tmp_path / "cat.png"), "--image", str(photo.resolve()))
        assert str(tmp_path).encode() not in (tmp_path / "cat.png").read_bytes()

    def test_several_have_seeds_in_a_row_and_equal_the_single_ones(self, run: Run, loaded: list[str]) -> None:
        run("generate", "a cat", "--seed", "7", "--n", "2", "-o", "cat.png")
        run("generate", "a cat", "--seed", "8", "-o", "single.png")
        assert recipe_of(Path("cat-2.png")).seed == 8
        assert np.array_equal(decode(Path("cat-2.png").read_bytes()), decode(Path("single.png").read_bytes()))
        assert not Path("cat.png").exists()

    def test_the_default_name_never_replaces_a_file(self, run: Run, loaded: list[str]) -> None:
        Path("a-cat-7.png").write_text("precious")
        outcome = run("generate", "a cat", "--seed", "7")
        assert outcome.out.startswith("a-cat-7-2.png  seed 7")
        assert Path("a-cat-7.png").read_text() == "precious"

    def test_a_named_file_is_replaced(self, run: Run, loaded: list[str]) -> None:
        Path("cat.png").write_text("old")
        assert run("generate", "a cat", "-o", "cat.png").code == 0
        assert sniff(Path("cat.png").read_bytes()) is ImageFormat.PNG
        assert [path.name for path in Path().iterdir()] == ["cat.png"]

    def test_a_folder_as_output(self, run: Run, loaded: list[str]) -> None:
        Path("cats").mkdir()
        run("generate", "a cat", "-o", "cats", "--seed", "7")
        assert Path("cats/a-cat-7.png").is_file()

    @pytest.mark.parametrize(
        ("arguments", "name", "kind"),
        [
            (["--format", "jpeg"], "a-cat-7.jpg", ImageFormat.JPEG),
            (["--format", "JPG"], "a-cat-7.jpg", ImageFormat.JPEG),
            (["-o", "x.webp"], "x.webp", ImageFormat.WEBP),
            (["-o", "x.JPG"], "x.JPG", ImageFormat.JPEG),
            (["-o", "x", "--format", "webp"], "x.webp", ImageFormat.WEBP),
        ],
    )
    def test_formats(self, run: Run, loaded: list[str], arguments: list[str], name: str, kind: ImageFormat) -> None:
        run("generate", "a cat", "--seed", "7", *arguments)
        assert sniff(Path(name).read_bytes()) is kind
        assert recipe_of(Path(name)).seed == 7

    def test_a_size_beyond_the_model(self, run: Run, loaded: list[str]) -> None:
        assert "at most 384 pixels on each side for tiny" in run("generate", "a cat", "--size", "512x64").sentence

    def test_stopped_by_the_person(self, run: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(Pipeline, "generate", interrupted)
        outcome = run("generate", "a cat", "-o", "cat.png")
        assert (outcome.code, outcome.out) == (130, "")
        assert outcome.err.strip() == "Stopped."
        assert not Path("cat.png").exists()

    def test_too_large_for_the_memory(self, run: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nlong\ntext")

        monkeypatch.setattr(Pipeline, "generate", full)
        assert run("generate", "a cat").sentence == (
            "A picture of 64x64 does not fit the memory of this device. "
            "Ask for a smaller size, or see `keelbill doctor`."
        )


class TestFromAPicture:
    def test_strength_zero_gives_the_picture_back(self, run: Run, loaded: list[str], photo: Path) -> None:
        run("generate", "a cat", "--image", str(photo), "--size", "96x64", "--strength", "0", "-o", "cat.png")
        assert np.array_equal(decode(Path("cat.png").read_bytes()), decode(photo.read_bytes()))

    def test_the_default_strength_keeps_something(self, run: Run, loaded: list[str], photo: Path) -> None:
        run("generate", "a cat", "--image", str(photo), "-o", "cat.png")
        recipe = recipe_of(Path("cat.png"))
        assert recipe.strength == 0.7
        assert len(recipe.image_hash) == 64
        assert recipe.mask_hash == ""

    def test_outside_the_mask_nothing_changes(self, run: Run, loaded: list[str], photo: Path) -> None:
        rows = np.zeros((64, 96, 3))
        rows[:, 48:] = 255
        mask = write_picture("mask.png", rows)
        run("generate", "a cat", "--image", str(photo), "--mask", str(mask), "--size", "96x64", "-o", "cat.png")
        made, given = decode(Path("cat.png").read_bytes()), decode(photo.read_bytes())
        assert np.array_equal(made[:, :48], given[:, :48])
        assert not np.array_equal(made[:, 48:], given[:, 48:])
        assert recipe_of(Path("cat.png")).strength == 1.0

    def test_the_output_has_the_shape_of_the_input(self, run: Run, loaded: list[str]) -> None:
        wide = write_picture("wide.png", np.zeros((50, 400, 3)))
        run("generate", "a cat", "--image", str(wide), "-o", "cat.png")
        made = decode(Path("cat.png").read_bytes())
        assert made.shape[1] / made.shape[0] == 8


class TestSizes:
    def order(self, shape: Size | AspectRatio | None) -> Order:
        return Order("p", "", "m", shape, 1)

    @pytest.mark.parametrize("ratio", list(AspectRatio))
    def test_published_sizes_at_one_megapixel(self, ratio: AspectRatio) -> None:
        assert self.order(ratio).size(1024) == ratio.size

    @pytest.mark.parametrize(
        ("ratio", "size"),
        [("1:1", Size(128, 128)), ("16:9", Size(176, 96)), ("9:21", Size(80, 192)), ("3:2", Size(144, 96))],
    )
    def test_the_same_ratios_at_128(self, ratio: str, size: Size) -> None:
        assert self.order(AspectRatio(ratio)).size(128) == size

    def test_nothing_said(self) -> None:
        assert self.order(None).size(128) == Size(128, 128)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A red cat, sitting!", "a-red-cat-sitting"),
        ("../../etc/passwd", "etc-passwd"),
        ("草莓 on blue", "草莓-on-blue"),
        ("!!!", "picture"),
        ("x" * 300, "x" * 48),
        ("CON", "con"),
        ("a" * 30 + " " + "b" * 30, "a" * 30),
    ],
)
def test_names_of_files(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected

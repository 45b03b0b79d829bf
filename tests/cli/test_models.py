"""``keelbill models``: what is listed, what can be added, and what is said when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from keelbill.cli import models
from keelbill.core.settings import Settings
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.mmdit import MMDiT
from keelbill.storage.hub import Hub
from keelbill.storage.remote import HuggingFace
from support.commandline import Run
from support.hubdouble import HubDouble, hub_double

MAIN = "stabilityai/stable-diffusion-3.5-large-turbo"
VAE_PREFIX = "first_stage_model."


def transformer(prefix: str = "model.diffusion_model.") -> dict[str, Tensor]:
    network = MMDiT(MMDiTConfig(depth=1, width=64, pos_side=4, context_dim=8, pooled_dim=8))
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


def autoencoder(prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{side}.conv_in.weight": torch.zeros(1, 1, 1, 1) for side in ("encoder", "decoder")}


def lora() -> dict[str, Tensor]:
    return {f"transformer.proj_out.lora_{leaf}.weight": torch.zeros(1, 1) for leaf in "AB"}


def save(path: str, tensors: dict[str, Tensor]) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def whole(path: str) -> Path:
    return save(path, {**transformer(), **autoencoder(VAE_PREFIX)})


def listed(run: Run) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(run("models", "list", "--json").out)}


class TestList:
    def test_built_in_and_official_models(self, run: Run) -> None:
        rows = listed(run)
        ours = ["keelbill-mini", "keelbill-mini-turbo"]
        assert list(rows) == [*ours, "sd3-medium", "sd3.5-medium", "sd3.5-large", "sd3.5-large-turbo"]
        assert rows["keelbill-mini"]["origin"] == "built-in"
        assert rows["sd3.5-large"]["installed"] is False

    def test_table(self, run: Run) -> None:
        out = run("models", "list").out
        assert "keelbill-mini" in out
        assert "can be pulled" in out

    def test_files_that_went_away(self, run: Run) -> None:
        path = whole("mine.safetensors")
        run("models", "add", str(path))
        path.unlink()
        assert "files are missing" in run("models", "list").out
        assert listed(run)["mine"]["installed"] is False


class TestAdd:
    def test_pickle(self, run: Run) -> None:
        torch.save(transformer(), "mine.ckpt")
        assert "mine.ckpt is a Python pickle" in run("models", "add", "mine.ckpt").sentence

    def test_another_family(self, run: Run) -> None:
        save("flux.safetensors", {"double_blocks.0.img_attn.qkv.weight": torch.zeros(1)})
        assert "it seems to be Flux" in run("models", "add", "flux.safetensors").sentence

    def test_no_autoencoder(self, run: Run) -> None:
        save("mine.safetensors", transformer())
        sentence = run("models", "add", "mine.safetensors").sentence
        assert (
            sentence == "mine.safetensors has no vae; it has transformer. Name a file with the missing part by --with."
        )

    def test_missing_file(self, run: Run) -> None:
        assert "does not exist" in run("models", "add", "gone.safetensors").err

    def test_whole_file(self, run: Run) -> None:
        path = whole("My Model (v2).safetensors")
        outcome = run("models", "add", str(path))
        assert outcome.code == 0
        assert outcome.out.startswith("my-model-v2: model, small MMDiT, ")
        row = listed(run)["my-model-v2"]
        assert row["path"] == str(path.absolute())
        assert row["origin"] == "added"

    def test_file_with_its_autoencoder_elsewhere(self, run: Run) -> None:
        save("mine.safetensors", transformer())
        vae = save("vae.safetensors", autoencoder())
        assert run("models", "add", "mine.safetensors", "--name", "two", "--with", "vae.safetensors").code == 0
        assert listed(run)["two"]["extras"] == [str(vae.absolute())]

    def test_lora(self, run: Run) -> None:
        save("style.safetensors", lora())
        assert run("models", "add", "style.safetensors").out.startswith("style: lora")

    def test_name_in_use(self, run: Run) -> None:
        whole("mine.safetensors")
        run("models", "add", "mine.safetensors")
        assert "Give another one with --name." in run("models", "add", "mine.safetensors").sentence

    def test_folder_of_another_program(self, run: Run) -> None:
        root = "comfy/models"
        whole(f"{root}/checkpoints/whole.safetensors")
        save(f"{root}/diffusion_models/bare.safetensors", transformer(""))
        save(f"{root}/checkpoints/sdxl.safetensors", {"conditioner.embedders.0.a": torch.zeros(1)})
        save(f"{root}/loras/sub/style.safetensors", lora())
        save(f"{root}/vae/ae.safetensors", autoencoder())
        save(f"{root}/vae/sd3_vae.safetensors", autoencoder())
        torch.save({}, f"{root}/vae/old.safetensors")
        outcome = run("models", "add", "comfy")
        assert outcome.code == 0
        assert "3 added" in outcome.out
        assert (
            "skipped  sdxl.safetensors: sdxl.safetensors is not an SD3-family model: it seems to be SDXL" in outcome.err
        )
        assert "skipped  old.safetensors: old.safetensors is a Python pickle" in outcome.err
        rows = listed(run)
        assert rows["whole"]["extras"] == []
        assert rows["bare"]["extras"] == [str(Path(f"{root}/vae/sd3_vae.safetensors").absolute())]
        assert rows["style"]["kind"] == "lora"

    def test_folder_of_another_program_twice(self, run: Run) -> None:
        whole("comfy/models/checkpoints/whole.safetensors")
        run("models", "add", "comfy")
        run("models", "add", "comfy")
        assert [name for name in listed(run) if name.startswith("whole")] == ["whole"]


class TestVerify:
    def test_changed_file(self, run: Run) -> None:
        path = whole("mine.safetensors")
        run("models", "add", "mine.safetensors")
        assert run("models", "verify", "mine").out == f"learnt   mine  {path.absolute()}\n"
        assert run("models", "verify", "mine").out == f"ok       mine  {path.absolute()}\n"
        path.write_bytes(b"")
        outcome = run("models", "verify", "mine")
        assert outcome.code == 2
        assert outcome.out.startswith("changed  mine")
        assert "1 files are not what they were." in outcome.err

    def test_unknown(self, run: Run) -> None:
        assert "keelbill models pull sd3.5-large" in run("models", "verify", "sd3.5-large").sentence

    def test_everything(self, run: Run) -> None:
        save("style.safetensors", lora())
        run("models", "add", "style.safetensors")
        assert "style" in run("models", "verify").out


class TestRemove:
    @pytest.mark.parametrize("tensors", [lora(), {**transformer(), **autoencoder(VAE_PREFIX)}])
    def test_added(self, run: Run, tensors: dict[str, Tensor]) -> None:
        path = save("mine.safetensors", tensors)
        run("models", "add", "mine.safetensors")
        assert run("models", "remove", "mine").out == "mine is forgotten.\n"
        assert path.exists()
        assert "mine" not in listed(run)

    def test_built_in(self, run: Run) -> None:
        assert "part of the program" in run("models", "remove", "keelbill-mini").sentence


class TestPull:
    @pytest.fixture(autouse=True)
    def double(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
        names = ("sd3.5_large_turbo", *(f"text_encoders/{n}" for n in ("clip_l", "clip_g", "t5xxl_fp8_e4m3fn")))
        files = {f"{name}.safetensors": name.encode() for name in names}
        files |= {f"{folder}/merges.txt": b"a" for folder in ("tokenizer", "tokenizer_2", "tokenizer_3")}
        monkeypatch.delenv("HF_TOKEN", raising=False)
        with hub_double(HubDouble(repos={MAIN: files})) as double:

            def hub() -> Hub:
                settings = Settings()
                return Hub(settings.home, HuggingFace(settings.hf_token, double.endpoint))

            monkeypatch.setattr(models, "_hub", hub)
            yield double

    def test_unknown(self, run: Run) -> None:
        assert "Did you mean 'sd3.5-large-turbo'?" in run("models", "pull", "sd3.5-large-turb").sentence

    def test_not_confirmed(self, run: Run, double: HubDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", StringIO("n\n"))
        outcome = run("models", "pull", "sd3.5-large-turbo")
        assert outcome.code == 130
        assert "under the Stability AI Community License" in outcome.err
        assert double.sent == []

    def test_gated(self, run: Run, double: HubDouble) -> None:
        double.gated.add(MAIN)
        outcome = run("models", "pull", "sd3.5-large-turbo", "--yes")
        assert outcome.code == 2
        assert "accept its licence" in outcome.err
        assert "Traceback" not in outcome.err

    def test_gated_with_a_token_from_the_settings(
        self, run: Run, double: HubDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        double.gated.add(MAIN)
        monkeypatch.setenv("KEELBILL_HF_TOKEN", double.token)
        assert run("models", "pull", "sd3.5-large-turbo", "--yes", "--t5", "none").code == 0

    def test_pull_verify_remove(self, run: Run, home: Path) -> None:
        outcome = run("models", "pull", "sd3.5-large-turbo", "--yes", "--t5", "fp8")
        assert outcome.code == 0
        folder = home / "models" / "sd3.5-large-turbo"
        assert outcome.out.endswith(f" in {folder}\n")
        assert "[1/7] sd3.5_large_turbo.safetensors" in outcome.err
        assert run("models", "verify", "sd3.5-large-turbo").out.count("ok  ") == 7
        assert "7 files were deleted" in run("models", "remove", "sd3.5-large-turbo", "--yes").out
        assert not folder.exists()

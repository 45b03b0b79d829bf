"""Models from disk, as `--model` names them: every bad file first, then a whole small one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from support.commandline import Run
from support.folders import write_embedded, write_pickle


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embedded(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "small"))


def change(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


class TestRefused:
    def sentence(self, run: Run, model: Path | str) -> str:
        return run("generate", "a red apple", "--model", str(model)).sentence

    def test_unknown(self, run: Run) -> None:
        assert self.sentence(run, "keelbill-mina").endswith("Did you mean 'keelbill-mini'?")

    def test_known_but_not_installed(self, run: Run) -> None:
        assert "`keelbill models pull sd3.5-medium` fetches it" in self.sentence(run, "sd3.5-medium")

    @pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "./model.bin"])
    def test_a_pickle(self, run: Run, name: str) -> None:
        write_pickle(Path(name))
        assert "is a Python pickle, which can run any program" in self.sentence(run, name)

    def test_a_pickle_that_calls_itself_safetensors(self, run: Run) -> None:
        write_pickle(Path("model.safetensors"))
        assert "pickle" in self.sentence(run, "./model.safetensors")

    def test_no_bytes(self, run: Run, folder: Path) -> None:
        (folder / "transformer.safetensors").write_bytes(b"")
        assert "transformer.safetensors" in self.sentence(run, folder)

    def test_truncated(self, run: Run, folder: Path) -> None:
        path = folder / "transformer.safetensors"
        path.write_bytes(path.read_bytes()[:-1000])
        assert "transformer.safetensors is truncated" in self.sentence(run, folder)

    def test_nan(self, run: Run, folder: Path) -> None:
        def spoil(tensors: dict[str, Tensor]) -> None:
            tensors["joint_blocks.1.x_block.attn.qkv.weight"][3, 5] = float("nan")

        change(folder / "transformer.safetensors", spoil)
        assert "joint_blocks.1.x_block.attn.qkv.weight" in self.sentence(run, folder)

    def test_a_missing_tensor(self, run: Run, folder: Path) -> None:
        change(folder / "transformer.safetensors", lambda tensors: tensors.pop("joint_blocks.0.x_block.mlp.fc1.bias"))
        assert "joint_blocks.0.x_block.mlp.fc1.bias" in self.sentence(run, folder)

    def test_another_family(self, run: Run) -> None:
        name = "model.diffusion_model.input_blocks.0.0.weight"
        save_file({name: torch.zeros(320, 4, 3, 3)}, Path("sdxl.safetensors"))
        assert "is not an SD3-family model" in self.sentence(run, "./sdxl.safetensors")

    def test_settings_of_the_model_that_are_no_json(self, run: Run, folder: Path) -> None:
        (folder / "config.json").write_text("{")
        assert "config.json is not valid JSON" in self.sentence(run, folder)

    def test_settings_of_a_newer_format(self, run: Run, folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
        assert "config.json must be of format 1" in self.sentence(run, folder)

    def test_a_device_that_is_not_there(self, run: Run, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_DEVICE", "cuda")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert "setting device 'cuda' is not allowed; setting device must be auto or cpu" in self.sentence(run, whole)

    def test_a_setting_that_is_not_allowed(self, run: Run, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_DTYPE", "int3")
        assert "setting dtype 'int3' is not allowed" in self.sentence(run, whole)


def test_a_picture_and_its_proof(run: Run, whole: Path) -> None:
    made = run("generate", "a red apple", "--model", str(whole), "--seed", "1")
    assert made.code == 0
    assert made.out.startswith("a-red-apple-1.png  seed 1")
    proof = run("verify", "a-red-apple-1.png", "--model", str(whole))
    assert proof.code == 0
    assert proof.out.startswith("identical")


def test_threads_and_precision_come_from_the_settings(run: Run, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setenv("KEELBILL_DTYPE", "bfloat16")
    monkeypatch.setenv("KEELBILL_THREADS", "1")
    try:
        run("generate", "a red apple", "--model", str(whole), "-o", "a.png", "--seed", "1")
        monkeypatch.setenv("KEELBILL_DTYPE", "float32")
        out = run("verify", "a.png", "--model", str(whole), "--tolerance", "255").out
    finally:
        torch.set_num_threads(threads)
    assert "precision: made with bfloat16, checked with float32" in out


def test_another_model_of_the_same_name_is_noticed(run: Run, whole: Path, folder: Path) -> None:
    run("generate", "a red apple", "--model", str(whole), "-o", "a.png")
    change(folder / "transformer.safetensors", lambda tensors: tensors["final_layer.linear.bias"].add_(1))
    assert "other weights make another picture" in run("verify", "a.png", "--model", str(folder)).sentence

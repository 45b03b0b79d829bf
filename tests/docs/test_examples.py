"""The Python examples of the pages run, with a small random model in place of the one they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from keelbill.cli.main import main
from keelbill.core.settings import read_settings
from keelbill.engine.samplers import SAMPLERS, denoise
from keelbill.storage import hub
from support.folders import SMALL, write_embedded

ROOT = Path(__file__).parents[2]


def python_of(page: str) -> str:
    """Return the one Python example of a page."""
    _, _, rest = (ROOT / page).read_text(encoding="utf-8").partition("```python\n")
    code, _, after = rest.partition("\n```")
    assert code
    assert "```python" not in after
    return code


def run(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(python_of(page), page, "exec"), names)  # noqa: S102 - our own pages
    return names


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small random model folder, an empty data folder, and an empty working folder."""
    for name in [name for name in os.environ if name.startswith("KEELBILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEELBILL_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return write_embedded(tmp_path / "small")


def test_the_readme_makes_the_same_picture_by_python_and_by_command(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "embedded_folder", lambda name: small if name == "keelbill-mini" else small / "none")
    run("README.md")
    prompt = "a strawberry on a light blue background"
    main(["generate", prompt, "--seed", "7", "-o", "strawberry.png"])
    by_python, by_command = (np.asarray(Image.open(name)) for name in ("strawberry-too.png", "strawberry.png"))
    assert by_python.shape == (64, 64, 3)
    assert np.array_equal(by_python, by_command)


def test_an_adapter_is_applied_and_taken_back(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.Hub.from_settings(read_settings()).add("my-medium", small)
    module = "diffusion_model.joint_blocks.0.x_block.attn.proj"
    factors = {
        f"{module}.lora_down.weight": torch.ones(2, SMALL.width),
        f"{module}.lora_up.weight": torch.ones(SMALL.width, 2),
    }
    save_file(factors, "watercolour.safetensors")
    names = run("docs/how-to/use-official-weights.md")
    before = names["before"]
    assert list(before) == ["joint_blocks.0.x_block.attn.proj.weight"]
    weight = dict(names["model"].transformer.named_parameters())["joint_blocks.0.x_block.attn.proj.weight"]
    assert torch.equal(weight, before["joint_blocks.0.x_block.attn.proj.weight"])


def test_the_sampler_on_the_page_is_euler() -> None:
    example = run("docs/explanation/a-batch-of-strangers.md")["euler"]
    x = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))
    levels = [1.0, 0.7, 0.3, 0.0]

    def half(latent: torch.Tensor, sigma: float) -> torch.Tensor:
        return latent * (1 - sigma) / 2

    questions = example(x, levels, lambda: x)
    wanted = next(questions)
    while True:
        try:
            wanted = questions.send(half(wanted.x, wanted.sigma))
        except StopIteration as end:
            found = end.value
            break
    expected = denoise(SAMPLERS.get("euler"), half, x, levels, lambda: x)
    assert torch.allclose(found, expected, atol=1e-6)

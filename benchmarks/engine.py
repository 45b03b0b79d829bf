"""Our engine against diffusers, with the same random weights, steps and guidance, in one run.

    python benchmarks/engine.py [--quick] [--save]

Prints medians and ratios (above 1: ours is faster), the model's floating-point operations, what was achieved, and
the fraction of the fastest matrix product measured in the same run. On a machine with a CUDA device it adds SD3 Medium
and SD3.5 Large at 512 and 1024 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor

from keelbill.engine.batch import Batch, Finished, Sampling
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.guidance import Branch, ClassifierFree
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.naming import Part, to_folder
from keelbill.engine.samplers import SAMPLERS
from keelbill.engine.schedules import sigmas

EMBEDDED = MMDiTConfig(depth=8, width=384, pos_side=64, context_dim=384, pooled_dim=384)
SD3_MEDIUM = MMDiTConfig(24, 1536, 192, 4096, 2048, qk_norm=False)
SD35_LARGE = MMDiTConfig(38, 2432, 192, 4096, 2048)
CFG = 4.0


@dataclass(frozen=True)
class Case:
    """One line of the table: what both engines compute.

    Args:
        label: How it is called.
        sides: Width and height in pixels of each picture; several make a mixed batch.
        steps: Denoising steps of each picture.
        text: Text tokens of each prompt.
    """

    label: str
    sides: tuple[tuple[int, int], ...]
    steps: int
    text: int

    def flops(self, config: MMDiTConfig) -> float:
        """Operations of the guided run, two per multiply-add."""
        return sum(2 * self.steps * config.flops((w // 16) * (h // 16), self.text) for w, h in self.sides)


MIXED = ((256, 256), (320, 192), (192, 320), (256, 192), (256, 256), (192, 256), (320, 208), (224, 288))


def random_transformer(config: MMDiTConfig, dtype: torch.dtype, device: str, *, strict: bool) -> MMDiT:
    """Make our network with random weights that keep the numbers of a run finite."""
    network = MMDiT(config, strict=strict)
    generator = torch.Generator().manual_seed(0)
    network.init_weights(generator)
    with torch.no_grad():
        for block in network.blocks():
            for stream in (block.x_block, block.context_block):
                torch.nn.init.normal_(stream.modulation.weight, std=0.02, generator=generator)
        torch.nn.init.normal_(network.final_layer.linear.weight, std=0.02, generator=generator)
    positions = network.pos_embed
    network = network.to(device, dtype).eval().requires_grad_(False)
    network.pos_embed = positions.to(device)
    return network


def peer_transformer(network: MMDiT) -> Any:
    """Make the reference library's network with the same weights."""
    from diffusers import SD3Transformer2DModel

    c = network.config
    with torch.device("meta"):
        peer = SD3Transformer2DModel(
            sample_size=c.pos_side,
            in_channels=16,
            num_layers=c.depth,
            attention_head_dim=64,
            num_attention_heads=c.heads,
            joint_attention_dim=c.context_dim,
            caption_projection_dim=c.width,
            pooled_projection_dim=c.pooled_dim,
            out_channels=16,
            pos_embed_max_size=c.pos_side,
            qk_norm="rms_norm" if c.qk_norm else None,
            dual_attention_layers=c.dual_blocks,
        )
    tensors = to_folder(Part.TRANSFORMER, network.state_dict())
    peer.load_state_dict({k: v.to(network.dtype) for k, v in tensors.items()}, assign=True)
    return peer.eval().requires_grad_(False)


@dataclass(frozen=True)
class Inputs:
    """Noise and encoded prompts of one picture."""

    noise: Tensor
    prompts: dict[Branch, Conditioning]


def inputs_of(case: Case, config: MMDiTConfig, dtype: torch.dtype, device: str) -> list[Inputs]:
    """Draw the inputs that both engines get."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        Inputs(
            draw(16, h // 8, w // 8).to(device),
            {
                branch: Conditioning(
                    draw(case.text, config.context_dim).to(device, dtype), draw(config.pooled_dim).to(device, dtype)
                )
                for branch in (Branch.POSITIVE, Branch.NEGATIVE)
            },
        )
        for w, h in case.sides
    ]


def run_ours(network: MMDiT, case: Case, inputs: Sequence[Inputs]) -> list[Tensor]:
    """Sample all pictures as one batch of strangers."""
    batch = Batch(network, token_budget=10**9)
    levels = sigmas("reference", case.steps, 3.0).tolist()
    for item in inputs:
        batch.admit(Sampling(item.noise, levels, SAMPLERS.get("euler"), ClassifierFree(CFG), item.prompts, _no_noise))
    return [event.latents for event in batch.run() if isinstance(event, Finished)]


def run_one_by_one(network: MMDiT, case: Case, inputs: Sequence[Inputs]) -> list[Tensor]:
    """Sample the pictures one after the other."""
    return [latents for item in inputs for latents in run_ours(network, case, [item])]


def _no_noise() -> Tensor:
    raise RuntimeError("Euler draws no noise")


@torch.inference_mode()
def run_peer(peer: Any, case: Case, inputs: Sequence[Inputs]) -> list[Tensor]:
    """Sample the pictures one after the other with the reference network and the reference scheduler."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    out = []
    for item in inputs:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        scheduler.set_timesteps(case.steps, device=item.noise.device)
        x = item.noise[None]
        context = torch.stack([item.prompts[b].context for b in (Branch.NEGATIVE, Branch.POSITIVE)])
        pooled = torch.stack([item.prompts[b].pooled for b in (Branch.NEGATIVE, Branch.POSITIVE)])
        for t in scheduler.timesteps:
            rows = torch.cat([x, x]).to(context.dtype)
            velocity = peer(
                hidden_states=rows,
                timestep=t.expand(2),
                encoder_hidden_states=context,
                pooled_projections=pooled,
                return_dict=False,
            )[0].float()
            guided = velocity[:1] + CFG * (velocity[1:] - velocity[:1])
            x = scheduler.step(guided, t, x, return_dict=False)[0]
        out.append(x[0])
    return out


def median_s(runs: Sequence[Callable[[], object]], *, repeats: int, device: str) -> list[float]:
    """Time several callables in turn, so that a disturbance meets all of them; return the median of each."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for spent, run in zip(times, runs, strict=True):
            begin = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                spent.append(time.perf_counter() - begin)
    return [statistics.median(spent) for spent in times]


def matrix_peak(dtype: torch.dtype, device: str) -> float:
    """Measure the fastest matrix product of this machine, in operations a second."""
    n = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(n, n, dtype=dtype, device=device) for _ in range(2))
    (best,) = median_s([lambda: torch.mm(a, b)], repeats=7, device=device)
    return 2 * n**3 / best


def compare(config: MMDiTConfig, cases: Sequence[Case], device: str, repeats: int) -> list[dict[str, object]]:
    """Measure every case in every precision."""
    lines: list[dict[str, object]] = []
    dtypes = (torch.float32, torch.bfloat16) if device == "cpu" else (torch.bfloat16,)
    networks = {
        (dtype, strict): random_transformer(config, dtype, device, strict=strict)
        for dtype in dtypes
        for strict in (True, False)
    }
    peers = {dtype: peer_transformer(networks[dtype, False]) for dtype in dtypes}
    peaks = {dtype: matrix_peak(dtype, device) for dtype in dtypes}
    for case in cases:
        for dtype in dtypes:
            inputs = inputs_of(case, config, dtype, device)
            ours_strict, ours_fast, peer = networks[dtype, True], networks[dtype, False], peers[dtype]
            runs: list[Callable[[], object]] = [
                partial(run_ours, ours_strict, case, inputs),
                partial(run_ours, ours_fast, case, inputs),
                partial(run_peer, peer, case, inputs),
            ]
            if len(inputs) > 1:
                runs.append(partial(run_one_by_one, ours_strict, case, inputs))
            seconds = median_s(runs, repeats=repeats, device=device)
            gap = max(
                float((a - b).norm() / b.norm())
                for a, b in zip(run_ours(ours_strict, case, inputs), run_peer(peer, case, inputs), strict=True)
            )
            line: dict[str, object] = {
                "case": case.label,
                "dtype": str(dtype).removeprefix("torch."),
                "strict_s": round(seconds[0], 4),
                "fast_s": round(seconds[1], 4),
                "diffusers_s": round(seconds[2], 4),
                "ratio_strict": round(seconds[2] / seconds[0], 2),
                "ratio_fast": round(seconds[2] / seconds[1], 2),
                "gflop": round(case.flops(config) / 1e9, 1),
                "gflop_per_s": round(case.flops(config) / seconds[1] / 1e9, 1),
                "of_matrix_peak": round(case.flops(config) / seconds[1] / peaks[dtype], 2),
                "relative_gap": float(f"{gap:.1e}"),
            }
            if len(inputs) > 1:
                line["together_vs_one_by_one"] = round(seconds[3] / seconds[0], 2)
            lines.append(line)
            print("  ".join(f"{key} {value}" for key, value in line.items()), flush=True)
    return lines


def across_precisions(lines: Sequence[dict[str, object]]) -> list[str]:
    """Set our bfloat16 beside diffusers as it comes (float32)."""
    out = []
    for line in lines:
        if line["dtype"] == "bfloat16":
            plain = [o for o in lines if o["case"] == line["case"] and o["dtype"] == "float32"]
            if plain:
                ratio = float(str(plain[0]["diffusers_s"])) / float(str(line["strict_s"]))
                out.append(f"{line['case']}: ours in bfloat16 {ratio:.2f}x diffusers as it comes (float32)")
    return out


def machine() -> dict[str, str | int]:
    """Describe where the numbers come from."""
    import diffusers

    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, small sizes only")
    parser.add_argument("--save", action="store_true", help="write the result to benchmarks/results/")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    here = machine()
    print(here)
    cases = [
        Case("256 tokens, batch 1", ((256, 256),), 4, 40),
        Case("mixed batch of 8", MIXED, 2, 40),
    ]
    if not options.quick:
        cases.insert(1, Case("1024 tokens, batch 1", ((512, 512),), 2, 40))
    lines = compare(EMBEDDED, cases, "cpu", 3 if options.quick else 7)
    if torch.cuda.is_available():
        for name, config in (("SD3 Medium", SD3_MEDIUM), ("SD3.5 Large", SD35_LARGE)):
            large = [
                Case(f"{name} 1024, 28 steps", ((1024, 1024),), 28, 154),
                Case(f"{name} 1024, 4 steps", ((1024, 1024),), 4, 154),
                Case(f"{name} 512, 28 steps", ((512, 512),), 28, 154),
                Case(f"{name} 512, mixed batch of 8", tuple((2 * w, 2 * h) for w, h in MIXED), 8, 154),
            ]
            lines += compare(config, large, "cuda", 3)
    summary = across_precisions(lines)
    print(*summary, sep="\n")
    if options.save:
        date = datetime.now(UTC).date().isoformat()
        target = Path(__file__).parent / "results" / f"engine-{date}.json"
        command = "python benchmarks/engine.py --save" + (" --quick" if options.quick else "")
        target.write_text(
            json.dumps({"command": command, "machine": here, "lines": lines, "summary": summary}, indent=1) + "\n"
        )
        print(f"Wrote {target.relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()

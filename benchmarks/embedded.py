"""Seconds and peak memory from a prompt to a PNG with the models that ship, cold and warm, each in a fresh process.

    python benchmarks/embedded.py [--rounds 5] [--save]

Cold counts everything from the start of a Python process: imports, loading, painting, enlarging, encoding. Warm is the
median of the rounds after it. The goals are those of two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

CASES = (
    ("keelbill-mini-turbo", 256, 0.6),
    ("keelbill-mini", 256, 3.0),
    ("keelbill-mini-turbo", 1024, 1.6),
    ("keelbill-mini", 1024, 4.0),
)
GOAL_BYTES = 1.5e9
COMMAND_GOAL_S = 6.0


def command_s(model: str) -> float:
    """Return the seconds from the command `keelbill generate` to its file, in a fresh process and an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "car.png"
        arguments = ["generate", "a red car", "--seed", "7", "--model", model, "-o", str(wanted)]
        start = time.perf_counter()
        subprocess.run([str(Path(sys.executable).with_name("keelbill")), *arguments], capture_output=True, check=True)
        taken_s = time.perf_counter() - start
        if not wanted.is_file():
            raise FileNotFoundError(wanted)
        return taken_s


def one_case(model: str, side: int, rounds: int) -> dict[str, float]:
    """Run in a fresh process: the first picture cold, then the rounds."""
    began = time.perf_counter()
    from torch.nn import functional as F

    from keelbill.engine.loader import load_model
    from keelbill.engine.pipeline import GenerationRequest, Pipeline
    from keelbill.engine.upscale import load_upscaler
    from keelbill.imaging.decode import ImageFormat
    from keelbill.imaging.encode import encode, to_pixels
    from keelbill.models import embedded_folder

    loaded = load_model(embedded_folder(model), name=model)
    pipeline, upscaler = Pipeline(loaded), load_upscaler()
    imports_and_loading_s = time.perf_counter() - began

    def picture(seed: int) -> None:
        pixels = pipeline.picture(GenerationRequest("a red car on a white background", seed=seed))
        while pixels.shape[-1] < side:
            pixels = upscaler.enlarge(pixels)
        if pixels.shape[-1] > side:
            pixels = F.interpolate(pixels[None], (side, side), mode="area")[0]
        encode(to_pixels(pixels.numpy()), ImageFormat.PNG)

    picture(0)
    cold_s = time.perf_counter() - began
    warm = []
    for seed in range(1, rounds + 1):
        start = time.perf_counter()
        picture(seed)
        warm.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "loading_s": imports_and_loading_s,
        "cold_s": cold_s,
        "warm_s": statistics.median(warm),
        "peak_bytes": peak,
    }


def main() -> None:
    """Run every case in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/embedded-DATE.json")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(one_case(arguments.case[0], int(arguments.case[1]), arguments.rounds)))
        return
    from keelbill.models import embedded_folder

    results = []
    print(f"{'model':22} {'side':>5} {'cold s':>7} {'warm s':>7} {'goal s':>7} {'warm/goal':>9} {'peak MB':>8}")
    for model, side, goal_s in CASES:
        if not embedded_folder(model).is_dir():
            print(f"{model:22} {side:5} not shipped")
            continue
        command = [sys.executable, __file__, "--rounds", str(arguments.rounds), "--case", model, str(side)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(run.stdout.splitlines()[-1])
        results.append({"model": model, "side": side, "goal_s": goal_s, **found})
        print(
            f"{model:22} {side:5} {found['cold_s']:7.2f} {found['warm_s']:7.2f} {goal_s:7.1f} "
            f"{found['warm_s'] / goal_s:9.2f} {found['peak_bytes'] / 1e6:8.0f}"
        )
    commands = {model: command_s(model) for model in dict.fromkeys(model for model, _, _ in CASES)}
    for model, taken_s in commands.items():
        print(f"{model:22} from the command to the file: {taken_s:.2f} s, goal {COMMAND_GOAL_S:g} s")
    if arguments.save:
        date = datetime.now(UTC).date().isoformat()
        said = {"date": date, "machine": platform.machine(), "cores": os.cpu_count(), "command": " ".join(sys.argv)}
        path = Path(__file__).parent / "results" / f"embedded-{date}.json"
        path.write_text(
            json.dumps({**said, "goal_peak_bytes": GOAL_BYTES, "command_s": commands, "cases": results}, indent=1)
            + "\n"
        )
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()

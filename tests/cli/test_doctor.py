"""``keelbill doctor``: machines that lack something first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from keelbill.cli import _machine, _pictures, doctor
from keelbill.cli._machine import Device, Processor, device, matrix_rate, processor
from keelbill.core.errors import BadWeights
from keelbill.engine.memory import SD3_MEDIUM, SD35_LARGE, Precision, plan
from keelbill.engine.model import Model
from keelbill.storage.hub import Hub
from support.commandline import Run

XEON = (
    "processor\t: 0\nmodel name\t: Some Xeon\n"
    "flags\t: fpu avx2 avx512f avx512_bf16 amx_tile amx_bf16\n\nprocessor\t: 1\n"
)
PLAIN = Processor("Some Chip", 2, ())


class TestMachinesThatLackSomething:
    def test_without_the_engine(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_pictures, "find_spec", lambda name: None)
        outcome = run("doctor")
        assert outcome.code == 2
        assert "processor: " in outcome.out
        assert outcome.err == (
            "keelbill: This needs the engine, which is not installed. Install it with: pip install 'keelbill[server]'\n"
        )

    def test_a_model_that_cannot_be_loaded(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(name: str) -> Model:
            raise BadWeights(f"{name} is truncated.")

        monkeypatch.setattr(_pictures, "load", broken)
        outcome = run("doctor", "--quick")
        assert outcome.code == 0
        assert "The default model keelbill-mini cannot run here: keelbill-mini is truncated." in outcome.out

    def test_a_processor_that_nobody_knows(self) -> None:
        found = processor("")
        assert found.features == ()
        assert found.name
        assert not found.has_fast_bfloat16

    def test_no_memory_for_official_models(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert doctor._official(Device("cpu", "x", 2**30, shared=True), PLAIN, quick=True) == (
            "No official model fits its memory."
        )
        assert "SD3 Medium (not installed): does not fit: about " in capsys.readouterr().out


class TestWithoutAGpu:
    def test_ends_with_what_it_can_run_and_how_fast(self, run: Run, loaded: list[str]) -> None:
        outcome = run("doctor")
        assert outcome.code == 0
        assert "tiny: 64x64, 4 steps, guidance 3, float32 on cpu" in outcome.out
        assert "measured: " in outcome.out
        assert "TFLOP/s in " in outcome.out
        last = outcome.out.strip().splitlines()[-2:]
        assert last[0].startswith("This machine runs tiny and should take about ")
        assert "official model" in last[1] or "it can also run" in last[1]

    def test_quick_measures_nothing(self, run: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> float:
            raise AssertionError("measured")

        monkeypatch.setattr(doctor, "measure", refuse)
        monkeypatch.setattr(doctor, "matrix_rate", refuse)
        assert "run `keelbill doctor` without --quick for its speed" in run("doctor", "--quick").out

    def test_it_writes_nothing(self, run: Run, loaded: list[str], home: Path) -> None:
        run("doctor", "--quick")
        assert not home.exists()
        assert list(Path().iterdir()) == []


class TestNumbers:
    def test_measured_steps_are_positive(self, tiny: Model) -> None:
        measured = doctor.measure(tiny)
        assert 0 < measured.step_s < 5
        assert measured.picture_s(10) >= 10 * measured.step_s

    def test_the_matrix_rate_is_plausible(self) -> None:
        assert 1e8 < matrix_rate("cpu", torch.float32, budget_s=0) < 1e15

    @pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4 s"), (89, "89.0 s"), (600, "10 min"), (7200, "2.0 h")])
    def test_durations(self, seconds: float, text: str) -> None:
        assert doctor.outlook(seconds) == text

    def test_a_plan_with_its_time(self) -> None:
        found = plan(SD3_MEDIUM, device_bytes=80 * 2**30, host_bytes=2**36, precision=Precision.BFLOAT16)
        # 472 TFLOP at half of 472 TFLOP/s
        line = doctor.plan_line(SD3_MEDIUM, found, 472e12)
        assert line.endswith("about 2.0 s for 1024x1024 in 28 steps")
        assert "(estimate)" in line

    def test_installed_members_are_recognised(self, home: Path) -> None:
        for name, family in (("mine", "SD3 Medium"), ("my-turbo", "SD3.5 Large"), ("big", "SD3.5 Large")):
            Path(name).mkdir()
            Hub(home).add(name, Path(name), family=family)
        names = doctor.installed_names()
        assert names["SD3 Medium"] == "mine"
        assert names["SD3.5 Large Turbo"] == "my-turbo"
        assert names["SD3.5 Large"] == "big"

    def test_no_time_for_what_does_not_fit(self) -> None:
        found = plan(SD35_LARGE, device_bytes=2**30, host_bytes=2**30, precision=Precision.BFLOAT16)
        assert " in 28 steps" not in doctor.plan_line(SD35_LARGE, found, 1e12)


class TestMachines:
    def test_a_processor_with_matrix_tiles(self) -> None:
        found = processor(XEON)
        assert found.name == "Some Xeon"
        assert found.features == ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")
        assert found.has_fast_bfloat16

    def test_the_processor_is_the_device_where_there_is_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(_machine, "host_memory", lambda: (16 * 2**30, 2**30))
        assert device("auto", PLAIN) == Device("cpu", "Some Chip", 16 * 2**30, shared=True)

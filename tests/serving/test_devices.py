"""Who gets which accelerator, without one: the machine is described, not asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.core.settings import Settings
from keelbill.serving.devices import cuda_devices, threads_each, usable_cores, worker_devices
from keelbill.serving.local import local_pool


class TestWorkerDevices:
    @pytest.mark.parametrize(
        ("accelerators", "expected"),
        [(0, ["auto"]), (1, ["auto"]), (2, ["cuda:0", "cuda:1"]), (4, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"])],
    )
    def test_each_accelerator_gets_a_worker(self, accelerators: int, expected: list[str]) -> None:
        assert worker_devices(Settings(), accelerators=accelerators) == expected

    def test_a_number_of_workers_wins_over_what_is_found(self) -> None:
        assert worker_devices(Settings(workers=1), accelerators=4) == ["cuda:0"]
        assert worker_devices(Settings(workers=3), accelerators=2) == ["cuda:0", "cuda:1", "cuda:0"]

    def test_named_devices_are_used_in_turn(self) -> None:
        named = Settings(devices="cuda:2, cuda:3")
        assert worker_devices(named, accelerators=8) == ["cuda:2", "cuda:3"]
        assert worker_devices(Settings(devices="cuda:2,cuda:3", workers=4), accelerators=8) == [
            "cuda:2",
            "cuda:3",
            "cuda:2",
            "cuda:3",
        ]

    @pytest.mark.parametrize("device", ["cpu", "mps"])
    def test_another_kind_of_device_leaves_accelerators_alone(self, device: str) -> None:
        settings = Settings.model_validate({"device": device})
        assert worker_devices(settings, accelerators=4) == [device]
        assert worker_devices(settings.model_copy(update={"workers": 2}), accelerators=4) == [device, device]


class TestThreads:
    @pytest.mark.parametrize(("cores", "workers", "each"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1), (16, 0, 16)])
    def test_the_processor_is_divided(self, cores: int, workers: int, each: int) -> None:
        assert threads_each(Settings(), workers, cores=cores) == each

    def test_a_number_of_threads_is_for_each_worker(self) -> None:
        assert threads_each(Settings(threads=3), 4, cores=2) == 3

    def test_only_cores_that_this_process_may_use_count(self) -> None:
        assert usable_cores() >= 1


class TestCudaDevices:
    @pytest.mark.parametrize(
        ("visible", "count"),
        [("0", 1), ("0,1", 2), ("GPU-8932f937,GPU-44ab", 2), ("", 0), ("-1", 0), ("0,-1,1", 1), (" 2 , 3 ", 2)],
    )
    def test_the_environment_decides(self, visible: str, count: int, tmp_path: Path) -> None:
        assert cuda_devices({"CUDA_VISIBLE_DEVICES": visible}, tmp_path) == count

    def test_else_the_folder_of_the_driver(self, tmp_path: Path) -> None:
        for name in ("0000:01:00.0", "0000:02:00.0"):
            (tmp_path / name).mkdir()
        assert cuda_devices({}, tmp_path) == 2

    @pytest.mark.parametrize(
        ("said", "count"),
        [("GPU 0: A card (UUID: GPU-1)\nGPU 1: A card (UUID: GPU-2)\n", 2), ("No devices were found\n", 0)],
    )
    def test_else_the_tool_of_the_driver(
        self, said: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        tool.chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        assert cuda_devices({}, tmp_path / "no driver") == count

    def test_no_driver_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert cuda_devices({}, tmp_path / "no driver") == 0


def test_a_pool_of_two_devices_halves_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keelbill.serving.devices.usable_cores", lambda: 12)
    pool = local_pool(Settings(home=tmp_path, devices="cuda:0,cuda:1"))
    setups = [child.setup for child in pool._children.values()]
    assert [(setup.name, setup.device, setup.threads) for setup in setups] == [
        ("worker-0", "cuda:0", 6),
        ("worker-1", "cuda:1", 6),
    ]

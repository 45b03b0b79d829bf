"""The worker's loop, in this process, with small random models."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from keelbill.core.errors import BadWeights, NotFound, UnknownModel
from keelbill.engine.model import Model
from keelbill.engine.upscale import Upscaler
from keelbill.imaging.decode import ImageFormat, decode
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import read
from keelbill.imaging.workflows import read_texts
from keelbill.serving.finish import Classifier, Finisher
from keelbill.serving.messages import (
    Beat,
    Cancel,
    Cancelled,
    Failed,
    FromWorker,
    Progress,
    Retrying,
    Run,
    Said,
    Setup,
    Started,
    Stop,
    Succeeded,
)
from keelbill.serving.studio import Studios
from keelbill.serving.worker import Worker
from support import models
from support.pools import Audience, small_job

GREY = encode(np.full((48, 80, 3), 128, dtype=np.uint8), ImageFormat.PNG)


def read_blob(ref: str) -> bytes:
    if ref == "slow":
        time.sleep(0.5)
    if ref in {"slow", "grey"}:
        return GREY
    raise NotFound(f"There is no blob {ref!r}.")


def load(name: str) -> Model:
    if name not in {"tiny", "other", "third"}:
        raise UnknownModel("model", name, ["tiny", "other", "third"])
    return models.model()


def no_upscaler() -> Upscaler:
    raise BadWeights("There is no upscaler.")


class Room(Audience):
    """A worker in a thread and what it says."""

    def __init__(
        self,
        classify: Callable[[], Classifier] | None = None,
        jobs: int = 4,
        upscaler: Callable[[], Upscaler] = no_upscaler,
    ) -> None:
        super().__init__()
        self.beats: list[Beat] = []
        setup = Setup(name="w", home="", blobs="", model="tiny", device="cpu", jobs=jobs)
        self.studios = Studios(load, "tiny")
        finisher = Finisher(classify, upscaler)
        self.worker = Worker(setup, self.hear, self.studios, read_blob, finisher)

    def hear(self, report: FromWorker) -> None:
        if isinstance(report, Said):
            self.on_event(report.job_id, report.epoch, report.event)
        else:
            self.beats.append(report)

    def wait(self, true: Callable[[], object], timeout_s: float = 120.0) -> None:
        until = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < until, self.events
            time.sleep(0.002)

    def done(self, *names: str) -> None:
        self.wait(lambda: all(self.end(name) for name in names))

    def picture(self, name: str) -> Succeeded:
        end = self.end(name)
        assert isinstance(end, Succeeded), end
        return end


@contextmanager
def working(room: Room) -> Iterator[Room]:
    thread = threading.Thread(target=room.worker.run)
    thread.start()
    try:
        room.wait(lambda: any(beat.slots for beat in room.beats))
        yield room
    finally:
        room.worker.inbox.put(Stop())
        thread.join(120)
    assert not thread.is_alive()


class TestMemory:
    """Out of memory: all that ran is made again, one after the other, and only what fails alone is given up."""

    def shortage(self, monkeypatch: pytest.MonkeyPatch, room: Room, times: int) -> None:
        batch = room.studios.get("").batch
        step, left = batch.step, [times]

        def short() -> object:
            if left[0] > 0:
                left[0] -= 1
                raise MemoryError
            return step()

        monkeypatch.setattr(batch, "step", short)

    def test_is_short_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with working(Room()) as room:
            self.shortage(monkeypatch, room, 1)
            for name in ("a", "b"):
                room.worker.inbox.put(Run(small_job(name)))
            room.done("a", "b")
            assert Retrying(1, "out of memory") in room.of("a")
            assert room.picture("a").image == room.picture("b").image

    def test_is_short_again_when_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with working(Room()) as room:
            self.shortage(monkeypatch, room, 2)
            room.worker.inbox.put(Run(small_job("a")))
            room.done("a")
            end = room.end("a")
            assert isinstance(end, Failed)
            assert (end.code, end.retriable) == ("out_of_memory", True)
            assert "64x64" in end.message
            room.worker.inbox.put(Run(small_job("b")))
            room.done("b")
            assert isinstance(room.end("b"), Succeeded)

    def test_is_short_while_it_decodes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with working(Room()) as room:
            pipeline = room.studios.get("").pipeline
            whole, left = pipeline.decode, [1]

            def short(latents: object) -> object:
                if left[0]:
                    left[0] -= 1
                    raise MemoryError
                return whole(latents)  # type: ignore[arg-type]

            monkeypatch.setattr(pipeline, "decode", short)
            room.worker.inbox.put(Run(small_job("a")))
            room.done("a")
            assert isinstance(room.end("a"), Succeeded)

    def test_cancelled_while_it_waits_to_be_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        room = Room()
        room.studios.get("")
        self.shortage(monkeypatch, room, 1)
        room.worker.inbox.put(Run(small_job("a", steps=900)))
        room.worker.inbox.put(Run(small_job("b", steps=900)))
        with working(room):
            room.wait(lambda: Retrying(1, "out of memory") in room.of("b"))
            for name in ("b", "a"):
                room.worker.inbox.put(Cancel(name, "enough"))
            room.done("a", "b")
            assert room.end("b") == Cancelled("enough")


class TestModels:
    def test_a_model_that_is_not_installed(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a", model="ghost")))
            room.done("a")
            end = room.end("a")
            assert isinstance(end, Failed)
            assert end.code == "unknown_model"
            assert "'ghost'" in end.message

    def test_two_models_at_a_time(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a", steps=20)))
            room.worker.inbox.put(Run(small_job("b", model="other", steps=20)))
            room.done("a", "b")
            assert isinstance(room.end("a"), Succeeded)
            assert isinstance(room.end("b"), Succeeded)
            assert set(room.worker.beat().models) == {"tiny", "", "other"}

    def test_the_longest_unused_is_dropped(self) -> None:
        studios = Studios(load, "tiny", kept=2)
        for name in ("", "other", "", "third"):
            studios.get(name)
        assert set(studios.names) == {"tiny", "", "third"}

    def test_a_load_is_announced(self) -> None:
        with working(Room()) as room:
            assert room.beats[0].activity == "loading"
            assert room.worker.beat().activity == "idle"


class TestPictures:
    def test_they_open_in_a_graph_editor(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a")))
            room.worker.inbox.put(Run(small_job("b", output_format="webp")))
            room.done("a", "b")
            png, webp = (read_texts(room.picture(name).image) for name in ("a", "b"))
            assert {"workflow", "parameters"} <= set(png)
            assert {node["type"] for node in json.loads(png["workflow"])["nodes"]} >= {"KSampler", "SaveImage"}
            assert '"KSampler"' in webp["workflow"]


class TestModeration:
    class Strict:
        def score(self, pixels: NDArray[np.uint8]) -> float:
            assert pixels.shape == (64, 64, 3)
            return 0.9

    def test_what_scores_high_is_blurred(self) -> None:
        with working(Room(self.Strict)) as room:
            room.worker.inbox.put(Run(small_job("a", filter_above=0.8)))
            room.worker.inbox.put(Run(small_job("b", filter_above=0.95)))
            room.done("a", "b")
            a, b = room.picture("a"), room.picture("b")
            assert (a.filtered, b.filtered, a.score) == (True, False, 0.9)
            assert decode(a.image).std() < decode(b.image).std()
            assert read(a.image) == read(b.image)

    def test_above_one_it_is_not_asked(self) -> None:
        with working(Room(self.Strict)) as room:
            room.worker.inbox.put(Run(small_job("a", filter_above=1.01)))
            room.done("a")
            assert (room.picture("a").filtered, room.picture("a").score) == (False, -1)


class TestInputs:
    def test_a_reference_that_leads_nowhere(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a", image="f" * 64)))
            room.done("a")
            end = room.end("a")
            assert isinstance(end, Failed)
            assert end.code == "not_found"

    def test_a_picture_to_start_from(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a", image="grey", width=0, height=0, strength=0.5)))
            room.done("a")
            assert (room.picture("a").width, room.picture("a").height) == (80, 48)

    def test_cancelled_while_it_is_read(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a", image="slow")))
            room.worker.inbox.put(Cancel("a", "gone"))
            room.done("a")
            assert room.end("a") == Cancelled("gone")
            room.worker.inbox.put(Run(small_job("b")))
            room.done("b")

    def test_reading_does_not_hold_up_the_steps_of_others(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("slow", image="slow")))
            room.worker.inbox.put(Run(small_job("quick", steps=1)))
            room.done("quick")
            assert room.end("slow") is None
            room.done("slow")


class TestReports:
    def test_time_is_told_by_phase(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a")))
            room.done("a")
            phases = room.picture("a").phases
            assert set(phases) == {"text", "denoise", "decode", "enlarge", "encode"}
            assert room.picture("a").seconds == pytest.approx(sum(phases.values()) / 1000)

    def test_a_second_job_joins_between_two_steps(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("long", steps=200)))
            room.wait(lambda: any(isinstance(event, Progress) for event in room.of("long")))
            room.worker.inbox.put(Run(small_job("short")))
            room.done("short")
            assert room.end("long") is None
            room.worker.inbox.put(Cancel("long", "enough"))
            room.done("long")

    def test_what_comes_during_a_step_pauses_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        room = Room()
        batch = room.studios.get("").batch
        step, seen = batch.step, list[bool]()

        def watched() -> object:
            was_paused = batch.is_paused
            if not seen:  # the second job comes when the first one's step has begun
                room.worker.inbox.put(Run(small_job("b")))
            events = step()
            seen.append(was_paused or batch.is_paused)
            return events

        monkeypatch.setattr(batch, "step", watched)
        with working(room):
            room.worker.inbox.put(Run(small_job("a")))
            room.done("a", "b")
            assert seen[:2] == [True, True]
            assert room.picture("a").image == room.picture("b").image
            assert room.worker.beat().steps < len(seen)

    def test_slots_are_told(self) -> None:
        with working(Room(jobs=1)) as room:
            assert room.worker.beat().slots == 1
            room.worker.inbox.put(Run(small_job("a", steps=300)))
            room.wait(lambda: room.of("a") and room.worker.beat().slots == 0)
            assert isinstance(room.of("a")[0], Started)
            room.worker.inbox.put(Cancel("a", "enough"))
            room.wait(lambda: room.worker.beat().slots == 1)

    def test_too_many_steps_are_refused_with_the_field(self) -> None:
        with working(Room()) as room:
            room.worker.inbox.put(Run(small_job("a", steps=5000)))
            room.done("a")
            end = room.end("a")
            assert isinstance(end, Failed)
            assert end.code == "invalid_input"
            assert "5000" in end.message


def test_enlarging_does_not_keep_those_waiting_that_need_none() -> None:
    is_over = threading.Event()

    def slow() -> Upscaler:
        assert is_over.wait(60)
        raise BadWeights("There is no upscaler.")

    with working(Room(upscaler=slow)) as room:
        try:
            room.worker.inbox.put(Run(small_job("large", width=640, height=448, steps=1)))
            room.wait(lambda: room.of("large") and isinstance(room.of("large")[-1], Progress))
            room.worker.inbox.put(Run(small_job("small")))
            room.done("small")
            assert room.end("large") is None
        finally:
            is_over.set()
        room.done("large")


def test_a_picture_comes_with_its_small_form() -> None:
    with working(Room()) as room:
        room.worker.inbox.put(Run(small_job("a", width=640, height=448)))
        room.done("a")
    small = decode(room.picture("a").thumb, max_bytes=2**20)
    assert small.shape == (224, 320, 3)

"""Jobs that tell what happens: failures, broken lines and cancelling first."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill import client as sdk
from keelbill.client import Cancelled, Client, Done, Event, Progress, Queued, Retrying, Started
from keelbill.client.events import EventReader, Finished, event_of
from support.apidouble import USUAL_EVENTS, ApiDouble, Scripted


class TestThatGoWrong:
    def test_a_server_without_jobs(self, double: ApiDouble, client: Client) -> None:
        double.native = False
        with pytest.raises(sdk.NotFoundError):
            list(client.stream("a cat"))

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("out_of_memory", sdk.ServerError),
            ("content_moderation", sdk.ModerationError),
            ("invalid_input", sdk.BadRequestError),
        ],
    )
    def test_a_job_that_fails(
        self, double: ApiDouble, client: Client, code: str, kind: type[sdk.KeelbillError]
    ) -> None:
        double.events = [*USUAL_EVENTS[:3], ("failed", {"code": code, "message": "It went wrong."})]
        events = client.stream("a cat")
        assert [type(next(events)) for _ in range(3)] == [Queued, Started, Progress]
        with pytest.raises(kind, match=r"It went wrong\. Nothing was charged\."):
            next(events)
        assert double.cancelled == [], "there is nothing left to cancel"

    def test_somebody_else_cancels(self, double: ApiDouble, client: Client) -> None:
        double.events = [("cancelled", {"reason": "by its owner"})]
        with pytest.raises(Cancelled, match="by its owner"):
            list(client.stream("a cat"))

    def test_leaving_the_loop_cancels_the_job(self, double: ApiDouble, client: Client) -> None:
        double.events = list(USUAL_EVENTS)
        for event in client.stream("a cat"):
            if isinstance(event, Progress):
                break
        assert double.cancelled == ["j1"]

    def test_a_line_that_stays_broken(self, double: ApiDouble, client: Client) -> None:
        double.events = [("queued", {"position": 1})]
        with pytest.raises(sdk.ConnectionFailedError, match="the stream ended before the job"):
            list(client.stream("a cat"))
        assert double.cancelled == ["j1"]

    def test_a_refusal_while_watching(self, double: ApiDouble, client: Client) -> None:
        events = client.stream("a cat")
        double.events = list(USUAL_EVENTS)
        assert isinstance(next(events), Queued)
        events.close()
        double.script = [Scripted(202, {"id": "j1"}), Scripted(401, {"name": "unauthorized", "errors": ["no"]})]
        with pytest.raises(sdk.AuthenticationError):
            list(client.stream("a cat"))

    @pytest.mark.parametrize(
        "data", ["{", "[]", "{}", '{"step": "x", "total": 2}', '{"step": 1, "total": 2, "preview": "é"}']
    )
    def test_events_that_cannot_be_read(self, data: str) -> None:
        with pytest.raises(sdk.UnexpectedAnswerError, match="'progress' cannot be read"):
            event_of("progress", data)

    def test_an_event_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.client.events.MAX_EVENT_BYTES", 100)
        with pytest.raises(sdk.UnexpectedAnswerError, match="longer than 100 bytes"):
            list(EventReader().feed(b"data: " + b"x" * 200))


class TestThatGoWell:
    def test_from_the_queue_to_the_picture(self, double: ApiDouble, client: Client) -> None:
        double.events = list(USUAL_EVENTS)
        *before, last = client.stream("a cat", seed=7, model="sd3", aspect_ratio="16:9", previews=True)
        assert before == [
            Queued(2, 1.5),
            Started(1),
            Progress(1, 2, b"\xff\xd8\xff small"),
            Progress(2, 2),
        ]
        assert isinstance(last, Done)
        assert (last.picture.seed, last.picture.model) == (7, "sd3")
        assert double.cancelled == []
        assert json.loads(double.asked[0].body) == {
            "prompt": "a cat",
            "model": "sd3",
            "aspect_ratio": "16:9",
            "seed": 7,
            "previews": True,
        }

    def test_the_same_picture_as_by_generate(self, double: ApiDouble, client: Client) -> None:
        double.events = list(USUAL_EVENTS)
        last = list(client.stream("a cat", seed=7))[-1]
        assert isinstance(last, Done)
        assert last.picture.data == client.generate("a cat", seed=7).data == client.repeat(last.picture).data

    def test_a_broken_line_is_mended_without_losing_or_repeating(self, double: ApiDouble, client: Client) -> None:
        double.events = [*USUAL_EVENTS[:3], ("break", {}), *USUAL_EVENTS[3:]]
        events = list(client.stream("a cat"))
        assert [type(event) for event in events] == [Queued, Started, Progress, Progress, Done]
        watched = [asked.headers.get("last-event-id", "") for asked in double.asked if asked.path.endswith("/events")]
        assert watched == ["", "3"]

    def test_a_second_attempt(self, double: ApiDouble, client: Client) -> None:
        double.events = [("retrying", {"attempt": 2, "reason": "worker lost"}), *USUAL_EVENTS]
        assert next(iter(client.stream("a cat"))) == Retrying(2, "worker lost")

    def test_news_that_this_version_does_not_know(self, double: ApiDouble, client: Client) -> None:
        double.events = [("weather", {"sun": 1}), *USUAL_EVENTS]
        assert len(list(client.stream("a cat"))) == 5


WIRE = b': hello\r\n\r\nid: 1\nevent: queued\ndata: {"position":\ndata:  3}\n\nevent: succeeded\ndata: {}\r\n\r\n'


class TestReading:
    @given(st.lists(st.integers(0, len(WIRE)), max_size=12))
    def test_any_cut_of_the_bytes_gives_the_same_events(self, cuts: list[int]) -> None:
        reader = EventReader()
        events: list[Event | Finished] = []
        places = [0, *sorted(cuts), len(WIRE)]
        for start, end in pairwise(places):
            events += reader.feed(WIRE[start:end])
        assert events == [Queued(3, 0.0), Finished()]
        assert reader.is_over
        assert reader.last_id == "1"

    def test_what_is_told_again_after_a_break_is_left_out(self) -> None:
        reader = EventReader()
        told = b'event: progress\ndata: {"step": 2, "total": 4}\n\n'
        assert list(reader.feed(told)) == [Progress(2, 4)]
        reader.reconnect()
        assert list(reader.feed(told + told.replace(b"2", b"3") + told.replace(b"2", b"3"))) == [
            Progress(3, 4),
            Progress(3, 4),
        ]

    def test_a_half_read_event_is_forgotten_on_a_new_line(self) -> None:
        reader = EventReader()
        assert list(reader.feed(b"id: 4\nevent: queued\ndata: {")) == []
        reader.reconnect()
        assert list(reader.feed(b'event: started\ndata: {"attempt": 2}\n\n')) == [Started(2)]
        assert reader.last_id == "4"

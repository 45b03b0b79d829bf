"""Logs: one object a line, and neither keys nor prompts in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from keelbill.identity.keys import make_key
from keelbill.telemetry import logs

PROMPT = "canary prompt about a blue heron"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where everything is logged; what was configured before comes back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class FullDisk(io.StringIO):
    """A stream whose disk is full now and then."""

    is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nothing(stream: io.StringIO) -> None:
    disk = FullDisk()
    logs.configure("json", stream=disk)
    disk.is_full = True
    structlog.get_logger("test").error("lost")
    logging.getLogger("library").error("lost too")
    disk.is_full = False
    structlog.get_logger("test").info("kept")
    assert [line["event"] for line in lines(disk)] == ["kept"]
    assert stream.getvalue() == ""


def test_one_object_a_line(stream: io.StringIO) -> None:
    structlog.get_logger("test").info("request", status=200, text="two\nlines")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["status"]) == ("request", "info", 200)
    assert line["ts"].endswith("Z")


def test_secrets_and_prompts_by_type(stream: io.StringIO) -> None:
    key = make_key()
    structlog.get_logger("test").info(
        "x", key=logs.Secret(key), prompt=logs.Prompt(PROMPT), deep={"list": [logs.Prompt(PROMPT)]}, raw=b"bytes"
    )
    (line,) = lines(stream)
    assert line["key"] == "[secret]"
    assert line["prompt"] == f"[prompt of {len(PROMPT)} characters]"
    assert line["raw"] == "[5 bytes]"
    assert PROMPT not in stream.getvalue()


def test_key_inside_a_sentence(stream: io.StringIO) -> None:
    key = make_key()
    structlog.get_logger("test").warning(f"refused {key}", url=f"/v1?token={key}&a=1", repr=[{"k": key}])
    logging.getLogger("elsewhere").warning("refused %s", key)
    assert key not in stream.getvalue()
    assert len(lines(stream)) == 2


def test_exception_without_its_message(stream: io.StringIO) -> None:
    try:
        raise ValueError(PROMPT)
    except ValueError:
        structlog.get_logger("test").exception("failed")
        logging.getLogger("elsewhere").exception("failed too")
    first, second = lines(stream)
    for line in (first, second):
        assert line["exception"]["type"] == "ValueError"
        assert "test_logs.py" in line["exception"]["frames"][0]
    assert PROMPT not in stream.getvalue()


def test_reason_of_the_system_is_told(stream: io.StringIO) -> None:
    try:
        open("/nowhere/at/all")  # noqa: PTH123, SIM115
    except OSError:
        structlog.get_logger("test").exception("failed")
    assert lines(stream)[0]["exception"]["reason"] == "No such file or directory"


def test_operator_may_turn_prompts_on(stream: io.StringIO) -> None:
    logs.configure("json", show_prompts=True, stream=stream)
    structlog.get_logger("test").info("x", prompt=logs.Prompt(PROMPT))
    assert lines(stream)[0]["prompt"] == PROMPT


def test_text_for_people(stream: io.StringIO) -> None:
    logs.configure("text", stream=stream)
    structlog.get_logger("test").info("started", port=8000)
    assert "started" in stream.getvalue()
    assert "port=8000" in stream.getvalue()


def test_noisy_neighbours_are_quiet(stream: io.StringIO) -> None:
    logging.getLogger("httpx").info("request to https://example/?key=1")
    assert stream.getvalue() == ""


def test_what_the_quick_encoder_refuses_is_logged_too(stream: io.StringIO) -> None:
    structlog.get_logger("test").info("odd", half="\ud800", large=2**70)
    (line,) = lines(stream)
    assert (line["half"], line["large"]) == ("\ud800", 2**70)

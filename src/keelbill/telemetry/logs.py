"""Structured logs: one JSON object a line, or text for people. Knows no request; keeps secrets and prompts out by type.

A value that must not be logged is wrapped in `Secret` or `Prompt`. As a second fence, anything shaped like one of our
keys is cut wherever it occurs, and an exception is logged by its type and place, not by its message, which may quote
what a user wrote.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_KEY = re.compile(r"sk-[0-9A-Za-z]{12,}")
_TOKEN = re.compile(r"(?i)((?:token|code|secret|password|key|signature)=)[^&\s\"']+")
_PLAIN = frozenset({int, float, bool, type(None)})
_QUIET = ("uvicorn.access", "httpx", "httpcore", "asyncio", "sqlalchemy", "alembic", "stripe", "multipart")


class Secret:
    """A value that never appears in a log.

    Args:
        value: Such as a key, a password or a token.
    """

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "[secret]"

    __str__ = __repr__


class Prompt:
    """What a user wrote; logs show its length only, unless the operator turned prompts on.

    Args:
        text: The prompt.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"[prompt of {len(self.text)} characters]"

    __str__ = __repr__


class Forgiving:
    """A stream that loses lines rather than stop the work that they tell of, as when its disk is full.

    Args:
        stream: Where lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def write(self, text: str) -> int:
        """Write, or lose what cannot be written."""
        try:
            return self._stream.write(text)
        except OSError:
            self.lost += 1
            return len(text)

    def flush(self) -> None:
        """Flush, or lose what cannot be written."""
        try:
            self._stream.flush()
        except OSError:
            self.lost += 1


class Redactor:
    """Cleans the fields of a log line, however deep.

    Args:
        show_prompts: Whether prompts may appear.
    """

    def __init__(self, *, show_prompts: bool) -> None:
        self._show_prompts = show_prompts

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Return the line with every value cleaned."""
        error = event.pop("exc_info", None)
        if error:
            event["exception"] = self._describe(sys.exc_info()[1] if error is True else error)
        return {name: value if _is_clean(value) else self._clean(value) for name, value in event.items()}

    def _clean(self, value: Any) -> Any:  # Any: a log line holds whatever its caller had
        if isinstance(value, str):
            return scrub(value)
        if isinstance(value, bool | int | float | None):
            return value
        if isinstance(value, Prompt):
            return scrub(value.text) if self._show_prompts else repr(value)
        if isinstance(value, MutableMapping):
            return {str(name): self._clean(item) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item) for item in value]
        if isinstance(value, bytes | bytearray):
            return f"[{len(value)} bytes]"
        return scrub(repr(value))

    def _describe(self, error: object) -> dict[str, Any] | None:
        if isinstance(error, tuple):
            error = error[1]
        if not isinstance(error, BaseException):
            return None
        described: dict[str, Any] = {
            "type": type(error).__name__,
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in _frames(error)],
        }
        if isinstance(error, OSError) and error.strerror:
            described["reason"] = error.strerror
        if self._show_prompts:
            described["message"] = str(error)
        if error.__cause__ is not None:
            described["cause"] = self._describe(error.__cause__)
        return described


def _is_clean(value: object) -> bool:
    """Whether a value may stay as it is; a quick look that is right for nearly all values of a request's line."""
    return "sk-" not in value and "=" not in value if isinstance(value, str) else type(value) in _PLAIN


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__, limit=-12)


def scrub(text: str) -> str:
    """Cut everything that has the shape of a key or of a secret in a query string."""
    if "sk-" in text:
        text = _KEY.sub("sk-[cut]", text)
    return _TOKEN.sub(r"\1[cut]", text) if "=" in text else text


def _json(event: EventDict, **_: object) -> str:
    """Write a line whose values are cleaned; every request needs it, so the quicker of two encoders goes first."""
    try:
        return msgspec.json.encode(event).decode()
    except (UnicodeEncodeError, OverflowError):  # half of a surrogate pair, or a number of more than 64 bits
        return json.dumps(event)


def configure(style: Literal["text", "json"], *, show_prompts: bool = False, stream: TextIO | None = None) -> None:
    """Send every log of this process to a stream.

    Args:
        style: One JSON object a line, or text for people.
        show_prompts: Whether prompts may appear.
        stream: Standard error if none is given.
    """
    stream = stream or sys.stderr
    forgiving: Any = Forgiving(stream)  # what the loggers use of a text stream
    stamp: Processor = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")
    shared: list[Processor] = [structlog.stdlib.add_log_level, stamp, Redactor(show_prompts=show_prompts)]
    render: Processor = (
        structlog.processors.JSONRenderer(serializer=_json)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="ts")
    )
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=forgiving),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(forgiving)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            keep_exc_info=False,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)

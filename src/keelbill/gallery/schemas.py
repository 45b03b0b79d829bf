"""A picture of the history and questions about pictures, as other parts see them. Knows neither HTTP nor tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from keelbill.core.types import Micro

PAGE: Final = 50
MAX_PAGE: Final = 200

Source = Literal["studio", "api", "graph"]
"""Asked for with a session, with a key, or by a graph of nodes whoever ran it."""


@dataclass(frozen=True)
class NewPicture:
    """A finished picture that belongs into the history.

    Attributes:
        id: 32 hex digits.
        org_id: Who owns it.
        user_id: The member who made it.
        job_id: The job that made it.
        blob_ref: Where its bytes are.
        media_type: Such as ``image/png``.
        size_bytes: Of the file.
        width: In pixels.
        height: In pixels.
        prompt: What the user wrote.
        negative: What the user did not want.
        model: That made it.
        requested_model: As the client named it.
        seed: That decided the noise.
        kind: What was done, such as ``generate``.
        service: Item of the price list.
        recipe: JSON of everything that was asked for; empty in lists, which do not show it.
        filtered: Whether it was blurred.
        price: Micro-credits that were taken.
        key_id: The API key with which it was asked for, "" for a session.
        thumb_ref: Where its small form is, "" if nobody has made one yet.
    """

    id: str
    org_id: str
    user_id: str
    job_id: str
    blob_ref: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    prompt: str
    negative: str
    model: str
    requested_model: str
    seed: int
    kind: str
    service: str
    recipe: str
    filtered: bool
    price: Micro
    key_id: str = ""
    thumb_ref: str = ""


@dataclass(frozen=True)
class Picture(NewPicture):
    """A picture of the history.

    Attributes:
        number: Grows with every picture of the installation; only for pages, never shown.
        favourite: Whether somebody marked it.
        created_ms: Milliseconds since 1970.
        tags: In alphabetical order; empty where a list does not load them.
    """

    number: int = 0
    favourite: bool = False
    created_ms: int = 0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Album:
    """A named set of pictures.

    Attributes:
        id: 32 hex digits.
        name: 1 to 200 characters, unique in the organisation.
        pictures: How many it holds.
        created_ms: Milliseconds since 1970.
    """

    id: str
    name: str
    pictures: int
    created_ms: int


@dataclass(frozen=True)
class Filter:
    """Which pictures are wanted; what is not given does not matter.

    Attributes:
        text: Words that prompt or negative prompt contain, the last one perhaps unfinished.
        model: That made it, or as the client named it.
        kind: What was done.
        favourite: Whether it is marked.
        album_id: An album that holds it.
        tag: That it carries.
        from_ms: Made at or after, milliseconds since 1970.
        until_ms: Made before.
        user_id: Who made it.
        size: Width and height in pixels.
        key_id: The API key with which it was asked for.
        source: From where it was asked for.
    """

    text: str = ""
    model: str = ""
    kind: str = ""
    favourite: bool | None = None
    album_id: str = ""
    tag: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    user_id: str = ""
    size: tuple[int, int] | None = None
    key_id: str = ""
    source: Source | Literal[""] = ""


@dataclass(frozen=True)
class Page:
    """Some pictures, newest first.

    Attributes:
        pictures: At most as many as were asked for.
        next_cursor: Continues the list, "" at its end.
    """

    pictures: tuple[Picture, ...]
    next_cursor: str

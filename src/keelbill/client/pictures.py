"""A finished picture and what can be done with it, without a server. Knows files, Pillow and notebooks."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Literal

from PIL import Image

from keelbill.client.errors import BadRequestError
from keelbill.client.wire import Part, Request
from keelbill.imaging import metadata
from keelbill.imaging.metadata import Recipe

FinishReason = Literal["SUCCESS", "CONTENT_FILTERED"]
SUFFIXES: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_SAME: Final = {".jpeg": ".jpg"}
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A picture from a server.

    Attributes:
        data: The file, byte for byte as it came.
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``.
        seed: That decided the noise; nothing where the service draws nothing.
        finish_reason: ``CONTENT_FILTERED`` if the server blurred it.
        model: Name that was asked for; "" where the service has no choice of models.
        request_id: Under which the server knows the request.
        credits_charged: What it cost; nothing if the server does not say.
        is_replay: Whether this is the answer of an earlier call with the same idempotency key.
        request: What was asked, so that it can be asked again.
    """

    data: bytes = field(repr=False)
    media_type: str
    seed: int | None = None
    finish_reason: FinishReason = "SUCCESS"
    model: str = ""
    request_id: str = ""
    credits_charged: Decimal | None = None
    is_replay: bool = False
    request: Request | None = field(default=None, repr=False, compare=False)

    def __bytes__(self) -> bytes:
        return self.data

    @property
    def is_filtered(self) -> bool:
        """Whether the server judged the picture and blurred it."""
        return self.finish_reason == "CONTENT_FILTERED"

    @property
    def recipe(self) -> Recipe | None:
        """What made the picture, read from its file; nothing if it carries none.

        Raises:
            BadRecipe: There is a recipe, and it cannot be read.
        """
        return metadata.read(self.data, max_bytes=len(self.data))

    def to_pil(self) -> Image.Image:
        """Return the pixels as a Pillow image."""
        with Image.open(BytesIO(self.data)) as opened:
            opened.load()
            return opened

    def save(self, path: str | os.PathLike[str] = ".", *, overwrite: bool = False) -> Path:
        """Write the file.

        A folder gets a new name made of the seed. A name without an ending gets the right one. A file that is there
        already stays, unless `overwrite` is true or it holds the same bytes.

        Returns:
            The path that was written.

        Raises:
            BadRequestError: The name ends in that of another format.
            FileExistsError: There is another file of this name.
        """
        suffix = SUFFIXES.get(self.media_type, ".png")
        wanted = Path(path)
        if wanted.is_dir():
            return self._save_new(wanted, f"picture-{self.seed}" if self.seed is not None else "picture", suffix)
        if not wanted.suffix:
            wanted = wanted.with_suffix(suffix)
        ending = wanted.suffix.lower()
        if _SAME.get(ending, ending) != suffix:
            raise BadRequestError(
                f"path: {wanted.name} must end in {suffix}, because this picture is {self.media_type}.",
                hint="Ask for another output_format, or convert it with to_pil().save().",
            )
        if overwrite:
            _replace(wanted, self.data)
        elif not (wanted.is_file() and wanted.read_bytes() == self.data):
            _create(wanted, self.data)
        return wanted

    def show(self) -> None:
        """Show the picture: below the cell in a notebook, else in the system's viewer."""
        notebook = _notebook_display()
        if notebook is None:
            self.to_pil().show()
        else:
            notebook(self)

    def _repr_png_(self) -> bytes:
        if self.data.startswith(_PNG):
            return self.data
        out = BytesIO()
        self.to_pil().save(out, "PNG", compress_level=1)
        return out.getvalue()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Show it in notebooks, as JPEG if it is one, else as PNG, which every notebook can show."""
        kind, data = ("image/jpeg", self.data) if self.media_type == "image/jpeg" else ("image/png", self._repr_png_())
        return {kind: base64.b64encode(data).decode(), "text/plain": repr(self)}

    def _save_new(self, folder: Path, stem: str, suffix: str) -> Path:
        number = 1
        while True:
            path = folder / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
            try:
                _create(path, self.data)
            except FileExistsError:
                number += 1
            else:
                return path


ImageSource = bytes | str | os.PathLike[str] | BinaryIO | Image.Image | Picture
"""A picture to send: a file's bytes, its path, an open file, a Pillow image, or a picture from a server."""


def part_of(name: str, source: ImageSource) -> Part:
    """Turn a picture to send into a part of a form.

    Raises:
        BadRequestError: A file cannot be read, or it is no PNG, JPEG or WebP picture.
    """
    data = read_source(name, source)
    return Part(name, data, _media_type(name, data))


def read_source(name: str, source: ImageSource) -> bytes:
    """Return the bytes of a picture to send.

    Raises:
        BadRequestError: A file cannot be read.
    """
    if isinstance(source, Picture):
        return source.data
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Image.Image):
        out = BytesIO()
        source.save(out, "PNG", compress_level=1)
        return out.getvalue()
    if isinstance(source, str | os.PathLike):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise BadRequestError(f"{name}: {os.fspath(source)!r} cannot be read ({error.strerror}).") from error
    return source.read()


def recipe_of(source: ImageSource) -> Recipe | None:
    """Return the recipe that a picture carries, or nothing.

    Raises:
        BadRequestError: The file cannot be read.
        BadImage: It is no picture.
        BadRecipe: There is a recipe, and it cannot be read.
    """
    data = read_source("picture", source)
    return metadata.read(data, field="picture", max_bytes=max(1, len(data)))


def _media_type(name: str, data: bytes) -> str:
    if data.startswith(_PNG):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise BadRequestError(f"{name}: must be a PNG, JPEG or WebP picture; these {len(data):,} bytes are none.")


def _create(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise FileExistsError(f"{path} is there already; give overwrite=True to replace it.") from error


def _replace(path: Path, data: bytes) -> None:
    """Replace a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _notebook_display() -> Callable[[object], object] | None:
    """Return IPython's ``display`` where a notebook runs, else nothing."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    shell = get_ipython()
    return display if shell is not None and hasattr(shell, "kernel") else None

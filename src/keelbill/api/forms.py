"""Reads request bodies within hard limits: multipart forms and JSON. Knows no field's meaning.

The body is counted while it streams in, whatever its Content-Length says. Files above 256 KiB go to an unnamed
temporary file, written outside the event loop, so that memory stays bounded and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from typing import IO, Any, Literal
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from keelbill.api.visits import visit_of
from keelbill.core.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia

MAX_PARTS = 24
MAX_PART_HEADER_BYTES = 16 * 1024
MAX_NAME_BYTES = 100
MAX_TEXT_BYTES = 64 * 1024
MAX_FILES = 3
SPOOL_BYTES = 256 * 1024
FORM_OVERHEAD_BYTES = 64 * 1024
"""What a form may add to the largest file, on routes that promise a size of the file and not of the body."""

MAX_PREAMBLE_BYTES = 4096
"""What may stand before the first boundary, where it means nothing (RFC 2046, 5.1.1)."""

CHARSETS = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "windows-1252": "cp1252",
}
"""How text that names its charset is read. A well-known HTTP library of Java labels every text field iso-8859-1, which
browsers read as windows-1252 (WHATWG Encoding)."""

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=\s*\"?utf-8'[^';]*'([^;\"\s]+)", re.IGNORECASE)
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_EXPONENT = re.compile(r"[eE]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Upload:
    """One uploaded file.

    Attributes:
        name: Of the form field.
        filename: As the client gave it; never a path of ours.
        content_type: As the client gave it; the bytes decide, not this.
        size: In bytes.
    """

    def __init__(self, name: str, filename: str, content_type: str) -> None:
        self.name = name
        self.filename = filename
        self.content_type = content_type
        self.size = 0
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    @property
    def is_spooled(self) -> bool:
        """Whether the bytes lie in a temporary file."""
        return self._file is not None

    async def read(self) -> bytes:
        """Return all bytes."""
        if self._file is None:
            return bytes(self._memory)
        return await asyncio.to_thread(self._read_file, self._file) + self._memory

    def close(self) -> None:
        """Forget the bytes; the temporary file is gone afterwards."""
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()

    def add(self, data: bytes) -> None:
        """Take more bytes; `settle` moves them out of memory."""
        self._memory += data
        self.size += len(data)

    async def settle(self) -> None:
        """Write what waits in memory to the temporary file, if it is much; each time costs a change of threads."""
        if len(self._memory) > SPOOL_BYTES:
            waiting, self._memory = self._memory, bytearray()
            await asyncio.to_thread(self._write_file, bytes(waiting))

    def _write_file(self, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="keelbill-upload-")  # noqa: SIM115  closed by `close`
        self._file.write(data)

    @staticmethod
    def _read_file(file: IO[bytes]) -> bytes:
        file.seek(0)
        return file.read()


@dataclass
class Form:
    """A form that was read.

    Attributes:
        fields: Text by name; a field that is present but empty is left out, as if it were absent.
        files: File by name.
        lists: Files under a name that may be repeated.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)
    lists: dict[str, list[Upload]] = field(default_factory=dict)

    @property
    def uploads(self) -> list[Upload]:
        """All files."""
        return [*self.files.values(), *(upload for uploads in self.lists.values() for upload in uploads)]

    def close(self) -> None:
        """Forget all files."""
        for upload in self.uploads:
            upload.close()


Known = Collection[str] | Callable[[str], bool] | None


@dataclass
class _Part:
    """The part that is being read; `upload` and `text` are empty handed when it is to be ignored."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    charset: str = "utf-8"
    is_named: bool = False
    upload: Upload | None = None
    text: bytearray | None = None


@dataclass
class _Reader:
    """Collects a form from the parser's callbacks; every limit is checked here."""

    known: Known
    unknown: Literal["ignore", "refuse"]
    repeated_files: Collection[str]
    last_wins: Callable[[str], bool]
    form: Form = field(default_factory=Form)
    ended: bool = False
    _part: _Part = field(default_factory=_Part)
    _parts: int = 0
    _files: int = 0
    _header_bytes: int = 0
    _header_name: bytearray = field(default_factory=bytearray)
    _header_value: bytearray = field(default_factory=bytearray)
    _seen: set[str] = field(default_factory=set)
    closing: list[Upload] = field(default_factory=list)

    def callbacks(self) -> dict[str, Any]:
        """Return what the parser calls; its own type names the same keys."""
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_part_data": self.on_part_data,
            "on_part_end": self.on_part_end,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"body: must have at most {MAX_PARTS} parts")
        self._part = _Part()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_PART_HEADER_BYTES:
            raise InvalidRequest(f"body: the headers of all parts must have at most {MAX_PART_HEADER_BYTES} bytes")

    def on_header_end(self) -> None:
        name = bytes(self._header_name).lower()
        if name in self._part.headers:
            raise InvalidRequest("body: a part names one of its headers twice")
        self._part.headers[name] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def on_headers_finished(self) -> None:
        part = self._part
        disposition, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise InvalidRequest('body: every part needs the header content-disposition: form-data; name="…"')
        part.name = _name(options[b"name"])
        encoding = part.headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in (b"binary", b"8bit", b"7bit"):
            raise InvalidRequest(f"{part.name}: content-transfer-encoding must be binary")
        kind, parameters = parse_options_header(part.headers.get(b"content-type", b""))
        part.charset = parameters.get(b"charset", b"utf-8").decode("latin-1").lower()
        filename = _file_name(part.headers, options)
        part.is_named = bool(filename)
        if filename or _is_nameless_file(kind, options):
            part.upload = Upload(part.name, filename or part.name, kind.decode("latin-1"))
            self.closing.append(part.upload)
        else:
            part.text = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.upload is not None:
            if not part.upload.size and end > start:
                self._count_file()
            if self._is_known(part.name):
                part.upload.add(data[start:end])
            else:
                part.upload.size += end - start
        elif part.text is not None:
            if len(part.text) + end - start > MAX_TEXT_BYTES:
                raise InvalidRequest(f"{part.name}: must have at most {MAX_TEXT_BYTES} bytes")
            part.text += data[start:end]

    def _count_file(self) -> None:
        self._files += 1
        if self._files > MAX_FILES:
            raise InvalidRequest(f"body: must have at most {MAX_FILES} files")

    def on_part_end(self) -> None:
        part = self._part
        known = self._is_known(part.name)
        if not known and self.unknown == "refuse":
            raise InvalidRequest(f"{part.name}: unknown field")
        if part.upload is not None:
            if part.upload.size or part.is_named:
                self._keep_file(part.upload, known)
        elif part.text is not None:
            self._keep_text(part.name, part.charset, bytes(part.text), known)

    def _keep_file(self, upload: Upload, known: bool) -> None:
        if upload.name in self.repeated_files and known:
            self.form.lists.setdefault(upload.name, []).append(upload)
            return
        if not known or (not upload.size and self.known is None):
            return
        self._note(upload.name)
        self.form.files[upload.name] = upload

    def _keep_text(self, name: str, charset: str, data: bytes, known: bool) -> None:
        if not known:
            return
        if not self.last_wins(name):
            self._note(name)
        if charset not in CHARSETS:
            raise InvalidRequest(f"{name}: must be UTF-8 text, not {charset[:40]!r}")
        try:
            text = data.decode(CHARSETS[charset])
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{name}: must be UTF-8 text; give the part a filename if it is a file") from error
        if text:
            self.form.fields[name] = text

    def _note(self, name: str) -> None:
        if name in self._seen:
            raise InvalidRequest(f"{name}: must be sent once")
        self._seen.add(name)

    def _is_known(self, name: str) -> bool:
        if self.known is None:
            return True
        return self.known(name) if callable(self.known) else name in self.known

    def on_end(self) -> None:
        self.ended = True

    async def settle(self) -> None:
        if self._part.upload is not None:
            await self._part.upload.settle()

    def close(self) -> None:
        for upload in self.closing:
            upload.close()


def _name(raw: bytes) -> str:
    if not 0 < len(raw) <= MAX_NAME_BYTES:
        raise InvalidRequest(f"body: names of fields must have 1 to {MAX_NAME_BYTES} bytes")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("body: names of fields must be UTF-8") from error
    if not name.isprintable():
        raise InvalidRequest("body: names of fields must be printable")
    return name


def _file_name(headers: dict[bytes, bytes], options: dict[bytes, bytes]) -> str:
    """Return the name of a file; older clients send names beyond ASCII as ``filename*`` alone (RFC 5987)."""
    name = options.get(b"filename", b"")
    if not name and (extended := _EXTENDED_NAME.search(headers.get(b"content-disposition", b""))):
        name = unquote_to_bytes(extended[1])
    return name.decode("utf-8", "replace")


def _is_nameless_file(kind: bytes, options: dict[bytes, bytes]) -> bool:
    """Whether a part without a file name says by its type that it is a file."""
    return kind.startswith(b"image/") or (kind == b"application/octet-stream" and b"filename" not in options)


def _never(_: str) -> bool:
    return False


async def read_form(
    request: Request,
    *,
    max_bytes: int,
    known: Known = None,
    unknown: Literal["ignore", "refuse"] = "ignore",
    repeated_files: Collection[str] = ("image[]",),
    last_wins: Callable[[str], bool] = _never,
) -> Form:
    """Read a multipart form.

    Args:
        request: Whose body has not been read.
        max_bytes: Largest body on the wire.
        known: Names of the fields that the route reads, or a test for them; nothing means all.
        unknown: What happens to other fields.
        repeated_files: Names under which several files may come.
        last_wins: Whether a text field of this name may be repeated, the last one counting.

    Returns:
        The form; its files are closed when the answer has been sent.

    Raises:
        InvalidRequest: Not a multipart form, or one that breaks a limit; the message names field and limit.
        PayloadTooLarge: The body is larger than `max_bytes`, whatever it announced.
        UnsupportedMedia: The body is compressed.
    """
    reader = _Reader(known, unknown, repeated_files, last_wins)
    boundary = _boundary(request.headers.getlist("content-type"))
    callbacks: Any = reader.callbacks()
    parser = MultipartParser(boundary, callbacks, max_header_size=MAX_PART_HEADER_BYTES)
    preamble = _Preamble(b"--" + boundary)
    visit_of(request).closers.append(reader.close)
    try:
        async for chunk in _body(request, max_bytes):
            if not reader.ended:  # what follows the closing boundary means nothing (RFC 2046, 5.1.1) but counts
                parser.write(preamble.without(chunk))
                await reader.settle()
    except FormParserError as error:
        raise InvalidRequest(f"body: is no valid multipart form ({error})") from error
    if not reader.ended:
        raise InvalidRequest("body: must end with the closing boundary")
    return reader.form


def _boundary(content_types: list[str]) -> bytes:
    if not content_types:
        raise InvalidRequest("content-type: required")
    kind, options = parse_options_header(content_types[0])
    if len(content_types) > 1 or kind != b"multipart/form-data":
        raise InvalidRequest("content-type: must be multipart/form-data")
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("content-type: the boundary must have 1 to 70 legal characters")
    return boundary


class _Preamble:
    """Drops what stands before the first boundary; the parser knows no preamble."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        self._waiting: bytes | None = b""

    def without(self, chunk: bytes) -> bytes:
        """Return the part of a piece of the body that the parser is to see."""
        if self._waiting is None:
            return chunk
        head = self._waiting + chunk
        start = 0 if head.startswith(self._delimiter) else head.find(b"\r\n" + self._delimiter) + 2
        if start != 1:
            self._waiting = None
            return head[start:]
        if len(head) > MAX_PREAMBLE_BYTES:
            raise InvalidRequest("body: must begin with the boundary that content-type names")
        self._waiting = head
        return b""


async def _body(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body's pieces, and refuse it as soon as it is too large or says that it will be."""
    encodings = request.headers.get("content-encoding", "").replace(" ", "").lower()
    if encodings not in ("", "identity"):
        raise UnsupportedMedia(f"content-encoding: must be identity, not {encodings[:40]!r}")
    too_large = PayloadTooLarge(f"body: must have at most {max_bytes} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        if chunk:
            yield chunk


async def read_bytes(request: Request, *, max_bytes: int) -> bytes:
    """Read a body as it came, for those who check a signature over it.

    Raises:
        PayloadTooLarge: The body is larger than `max_bytes`.
        UnsupportedMedia: The body is compressed.
    """
    body = bytearray()
    async for chunk in _body(request, max_bytes):
        body += chunk
    return bytes(body)


async def read_json(request: Request, *, max_bytes: int = 2**20, max_depth: int = 64) -> object:
    """Read a JSON body.

    Args:
        request: Whose body has not been read.
        max_bytes: Largest body on the wire.
        max_depth: Levels of arrays and objects.

    Returns:
        Objects as dicts, numbers as int or float; strings hold whole characters only.

    Raises:
        InvalidRequest: Not JSON in UTF-8, too deep, a repeated name, NaN, an exponent, half of a surrogate pair.
        PayloadTooLarge: The body is larger than `max_bytes`.
        UnsupportedMedia: The body is compressed.
    """
    kind = parse_options_header(request.headers.get("content-type", ""))[0]
    if not kind:
        raise InvalidRequest("content-type: required")
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise InvalidRequest("content-type: must be application/json")
    return parse_json(await read_bytes(request, max_bytes=max_bytes), max_depth=max_depth)


def parse_json(body: bytes, *, max_depth: int = 64) -> object:
    """Parse strict JSON; see `read_json`.

    Raises:
        InvalidRequest: See `read_json`.
    """
    try:
        text = body.decode("utf-8-sig")  # some editors and shells begin every file with a mark (RFC 8259, section 8.1)
    except UnicodeDecodeError as error:
        raise InvalidRequest("body: must be JSON in UTF-8") from error
    _check_depth(text, max_depth)
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
            parse_float=_parse_float,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"body: must be JSON ({str(error)[:100]})") from error
    if "\\u" in text:
        _refuse_surrogates(value)
    return value


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            if depth > max_depth:
                raise InvalidRequest(f"body: must be nested at most {max_depth} levels deep")
        elif mark in "]}":
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidRequest(f"{name[:MAX_NAME_BYTES]}: must be sent once")
            seen.add(name)
    return found


def _refuse_constant(name: str) -> object:
    raise InvalidRequest(f"body: {name} is not a number of JSON")


def _parse_int(digits: str) -> int:
    if len(digits) > 20:
        raise InvalidRequest("body: numbers must have at most 20 digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    if _EXPONENT.search(digits) or len(digits) > 40:
        raise InvalidRequest("body: numbers must be written with at most 40 decimal digits and no exponent")
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidRequest("body: numbers must be finite")
    return value


def _refuse_surrogates(value: object) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise InvalidRequest("body: strings must not contain half of a surrogate pair")
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_surrogates(name)
            _refuse_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)

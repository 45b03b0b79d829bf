"""Multipart forms and JSON within their limits, read piece by piece."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from keelbill.api.forms import (
    MAX_FILES,
    MAX_PARTS,
    MAX_PREAMBLE_BYTES,
    MAX_TEXT_BYTES,
    SPOOL_BYTES,
    Form,
    parse_json,
    read_form,
    read_json,
)
from keelbill.api.visits import KEY, Visit
from keelbill.core.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia

MAX = 10 * 2**20
BOUNDARY = "frontier"


def part(name: str, content: bytes | str, *, filename: str | None = None, headers: str = "") -> bytes:
    data = content.encode() if isinstance(content, str) else content
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{file}\r\n{headers}\r\n'
    return head.encode() + data + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def asked(
    body: bytes | Iterable[bytes], content_type: str | None = f"multipart/form-data; boundary={BOUNDARY}", **more: str
) -> Request:
    """Return a request whose body comes in the pieces given."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    headers = [] if content_type is None else [(b"content-type", content_type.encode())]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    remaining = iter(messages)

    async def receive() -> Message:
        return next(remaining)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, KEY: Visit("0" * 32)}
    return Request(scope, receive)


async def read(request: Request, **options: Any) -> Form:
    options.setdefault("max_bytes", MAX)
    try:
        return await read_form(request, **options)
    finally:
        for close in request.scope[KEY].closers:
            close()


async def problem(request: Request, **options: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await read(request, **options)
    return caught.value.message


class TestReading:
    async def test_text_and_file(self) -> None:
        body = multipart(part("prompt", "ein Käse"), part("image", b"\x89PNG", filename="a.png"))
        request = asked(body)
        form = await read_form(request, max_bytes=MAX)
        assert form.fields == {"prompt": "ein Käse"}
        assert await form.files["image"].read() == b"\x89PNG"
        assert form.files["image"].filename == "a.png"

    async def test_one_byte_at_a_time(self) -> None:
        body = multipart(part("prompt", "a\r\n--front"), part("image", b"x\r\n" * 9, filename="a"))
        request = asked([bytes([value]) for value in body])
        form = await read_form(request, max_bytes=MAX)
        assert form.fields == {"prompt": "a\r\n--front"}
        assert await form.files["image"].read() == b"x\r\n" * 9

    async def test_large_file_is_spooled_and_whole(self) -> None:
        content = random.Random(1).randbytes(SPOOL_BYTES * 2 + 17)
        body = multipart(part("image", content, filename="a"))
        request = asked(body[start : start + 60_000] for start in range(0, len(body), 60_000))
        form = await read_form(request, max_bytes=MAX)
        assert form.files["image"].is_spooled
        assert await form.files["image"].read() == content
        form.close()

    async def test_large_file_followed_by_text_in_one_piece(self) -> None:
        content = random.Random(2).randbytes(SPOOL_BYTES + 100)
        body = multipart(part("image", content, filename="a"), part("seed", "7"))
        request = asked([body[:SPOOL_BYTES], body[SPOOL_BYTES:]])
        form = await read_form(request, max_bytes=MAX)
        assert await form.files["image"].read() == content
        assert form.fields == {"seed": "7"}
        form.close()

    async def test_empty_text_is_absent(self) -> None:
        assert (await read(asked(multipart(part("negative_prompt", ""), part("prompt", "a"))))).fields == {
            "prompt": "a"
        }

    async def test_empty_file_that_only_forces_multipart(self) -> None:
        form = await read(asked(multipart(part("none", b"", filename="none"), part("prompt", "a"))))
        assert form.files == {}
        assert form.fields == {"prompt": "a"}

    async def test_text_with_a_type_of_its_own(self) -> None:
        body = multipart(part("prompt", "ä", headers="content-type: text/plain; charset=utf-8\r\n"))
        assert (await read(asked(body))).fields == {"prompt": "ä"}

    async def test_text_with_an_empty_file_name(self) -> None:
        assert (await read(asked(multipart(part("prompt", "a", filename=""))))).fields == {"prompt": "a"}

    @pytest.mark.parametrize("charset", ["ISO-8859-1", "latin1", '"windows-1252"'], ids=range(3))
    async def test_text_labelled_by_an_older_library(self, charset: str) -> None:
        body = multipart(
            part("prompt", "Käse".encode("latin-1"), headers=f"content-type: text/plain; charset={charset}\r\n")
        )
        assert (await read(asked(body))).fields == {"prompt": "Käse"}

    @pytest.mark.parametrize("head", ["name=prompt", "NAME=prompt", 'filename=""; name="prompt"'], ids=range(3))
    async def test_ways_to_write_a_name(self, head: str) -> None:
        body = f"--{BOUNDARY}\r\nContent-Disposition: Form-Data; {head}\r\n\r\na\r\n--{BOUNDARY}--\r\n"
        assert (await read(asked(body.encode()))).fields == {"prompt": "a"}

    @pytest.mark.parametrize(
        "name",
        [
            "; filename*=UTF-8''%E2%82%AC%2Ejpg",
            "; filename*=utf-8'en'%E2%82%AC.jpg",
            '; filename="\u20ac.jpg"',
            "; filename=\u20ac.jpg; filename*=utf-8''other.jpg",
        ],
        ids=range(4),
    )
    async def test_file_name_beyond_ascii(self, name: str) -> None:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image"{name}\r\n\r\n'
        form = await read(asked(head.encode() + b"\xff\xd8" + f"\r\n--{BOUNDARY}--\r\n".encode()))
        assert form.files["image"].filename == "\u20ac.jpg"
        assert form.files["image"].size == 2

    @pytest.mark.parametrize("kind", ["image/png", "application/octet-stream"])
    async def test_a_file_without_a_name(self, kind: str) -> None:
        form = await read(asked(multipart(part("image", b"\x89PNG", headers=f"content-type: {kind}\r\n"))))
        assert form.files["image"].size == 4

    async def test_text_of_an_older_library_with_an_empty_file_name(self) -> None:
        body = multipart(part("prompt", "a", filename="", headers="content-type: application/octet-stream\r\n"))
        assert (await read(asked(body))).fields == {"prompt": "a"}

    @pytest.mark.parametrize("kind", ["image/png", "application/octet-stream"])
    async def test_a_page_whose_file_was_not_chosen(self, kind: str) -> None:
        body = multipart(part("image", b"", filename="", headers=f"content-type: {kind}\r\n"), part("prompt", "a"))
        form = await read(asked(body), known={"image", "prompt"})
        assert (form.files, form.fields) == ({}, {"prompt": "a"})

    @pytest.mark.parametrize("size", [1, 7, 10_000])
    async def test_what_precedes_the_first_boundary_means_nothing(self, size: int) -> None:
        body = b"A form in parts.\r\n--front\r\n" + multipart(part("prompt", "a"))
        request = asked(body[start : start + size] for start in range(0, len(body), size))
        assert (await read(request)).fields == {"prompt": "a"}

    async def test_quoted_boundary(self) -> None:
        body = multipart(part("prompt", "a"))
        form = await read(asked(body, f'multipart/form-data; boundary="{BOUNDARY}"'))
        assert form.fields == {"prompt": "a"}

    async def test_unknown_parts_are_ignored(self) -> None:
        body = multipart(part("style", "False"), part("extra", b"x" * 9000, filename="b"), part("prompt", "a"))
        form = await read(asked(body), known={"prompt"})
        assert form.fields == {"prompt": "a"}
        assert form.files == {}

    async def test_unknown_parts_are_refused_on_our_routes(self) -> None:
        assert await problem(asked(multipart(part("x", "1"))), known={"prompt"}, unknown="refuse") == "x: unknown field"

    async def test_what_follows_the_closing_boundary_means_nothing(self) -> None:
        body = multipart(part("prompt", "a")) + part("prompt", "late")
        assert (await read(asked([body[:200], body[200:]]))).fields == {"prompt": "a"}

    async def test_repeated_files(self) -> None:
        body = multipart(part("image[]", b"1", filename="a"), part("image[]", b"2", filename="b"))
        request = asked(body)
        form = await read_form(request, max_bytes=MAX)
        assert [await upload.read() for upload in form.lists["image[]"]] == [b"1", b"2"]

    async def test_last_one_wins_where_the_route_says_so(self) -> None:
        body = multipart(part("t[0]", "old"), part("t[0]", "new"))
        assert (await read(asked(body), last_wins=lambda name: name.startswith("t["))).fields == {"t[0]": "new"}

    async def test_files_are_closed_after_the_answer(self) -> None:
        request = asked(multipart(part("image", b"x" * (SPOOL_BYTES + 1), filename="a")))
        form = await read(request)
        assert form.files["image"].is_spooled
        with pytest.raises(ValueError, match="closed"):
            await form.files["image"].read()


class TestLimits:
    async def test_parts(self) -> None:
        parts = [part(f"f{number}", "1") for number in range(MAX_PARTS)]
        assert len((await read(asked(multipart(*parts)))).fields) == MAX_PARTS
        assert "24 parts" in await problem(asked(multipart(*parts, part("one_more", "1"))))

    async def test_files(self) -> None:
        files = [part(f"f{number}", b"1", filename="a") for number in range(MAX_FILES)]
        assert len((await read(asked(multipart(*files, part("none", b"", filename="none"))))).files) == MAX_FILES
        assert "3 files" in await problem(asked(multipart(*files, part("more", b"1", filename="a"))))

    async def test_text(self) -> None:
        assert (await read(asked(multipart(part("p", "x" * MAX_TEXT_BYTES))))).fields["p"]
        assert (
            await problem(asked(multipart(part("p", "x" * (MAX_TEXT_BYTES + 1))))) == "p: must have at most 65536 bytes"
        )

    async def test_name(self) -> None:
        assert (await read(asked(multipart(part("n" * 100, "1"))))).fields
        assert "100 bytes" in await problem(asked(multipart(part("n" * 101, "1"))))

    async def test_headers_of_all_parts(self) -> None:
        padding = f"x-padding: {'y' * 3900}\r\n"
        parts = [part(f"f{number}", "1", headers=padding) for number in range(5)]
        assert "headers of all parts" in await problem(asked(multipart(*parts)))

    async def test_one_endless_header(self) -> None:
        assert "body:" in await problem(asked(multipart(part("f", "1", headers=f"x: {'y' * 20_000}\r\n"))))

    async def test_duplicate_text(self) -> None:
        assert await problem(asked(multipart(part("seed", "1"), part("seed", "2")))) == "seed: must be sent once"

    async def test_duplicate_with_an_empty_twin(self) -> None:
        assert await problem(asked(multipart(part("seed", ""), part("seed", "2")))) == "seed: must be sent once"

    async def test_text_and_file_of_one_name(self) -> None:
        body = multipart(part("image", "x"), part("image", b"x", filename="a"))
        assert await problem(asked(body)) == "image: must be sent once"

    async def test_body_that_announces_too_much(self) -> None:
        with pytest.raises(PayloadTooLarge):
            await read(asked(b"", content_length="11"), max_bytes=10)

    async def test_body_larger_than_it_announces(self) -> None:
        body = multipart(part("image", b"x" * 2000, filename="a"))
        with pytest.raises(PayloadTooLarge):
            await read(asked(body, content_length="5"), max_bytes=1000)

    async def test_body_of_exactly_the_limit(self) -> None:
        body = multipart(part("image", b"x" * 500, filename="a"))
        assert (await read(asked(body), max_bytes=len(body))).files
        with pytest.raises(PayloadTooLarge):
            await read(asked(body), max_bytes=len(body) - 1)

    @pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "deflate"])
    async def test_compressed_body(self, coding: str) -> None:
        with pytest.raises(UnsupportedMedia, match="identity"):
            await read(asked(multipart(), content_encoding=coding))


class TestRefused:
    async def test_no_type(self) -> None:
        assert await problem(asked(b"", None)) == "content-type: required"

    @pytest.mark.parametrize(
        "kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "nonsense"]
    )
    async def test_other_type(self, kind: str) -> None:
        assert await problem(asked(b"prompt=a", kind)) == "content-type: must be multipart/form-data"

    @pytest.mark.parametrize(
        "boundary", ["", "x" * 71, 'a"b', "a\tb", "ends-with-space ", "a;b", "a\u00e9", "a<b>"], ids=range(8)
    )
    async def test_boundary(self, boundary: str) -> None:
        assert "boundary" in await problem(asked(b"", f'multipart/form-data; boundary="{boundary}"'))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"--",
            b"not a form",
            b"--frontier\r\n\r\nno headers\r\n--frontier--\r\n",
            b"--frontier\r\ncontent-disposition: attachment; name=a\r\n\r\nx\r\n--frontier--\r\n",
            b"--frontier\r\ncontent-disposition: form-data\r\n\r\nx\r\n--frontier--\r\n",
            b"--frontier\r\ncontent-disposition: form-data; name=\r\n\r\nx\r\n--frontier--\r\n",
            b'--frontier\r\ncontent-disposition: form-data; name="\xff\xfe"\r\n\r\nx\r\n--frontier--\r\n',
            b"--frontier\r\nbad header name\r\n\r\nx\r\n--frontier--\r\n",
            part("prompt", "cut"),
            part("prompt", "cut") + b"--frontier",
            multipart(part("a", "1", headers='content-disposition: form-data; name="b"\r\n')),
            multipart(part("a", "1", headers="content-transfer-encoding: base64\r\n")),
            multipart(part("a", b"\xff\xfe")),
            multipart(part("a", b"x", headers="content-type: text/plain; charset=utf-16\r\n")),
        ],
        ids=range(15),
    )
    async def test_broken_form(self, body: bytes) -> None:
        assert await problem(asked(body))

    async def test_a_body_with_another_boundary(self) -> None:
        body = multipart(part("prompt", "a" * MAX_PREAMBLE_BYTES)).replace(BOUNDARY.encode(), b"another")
        assert "boundary that content-type names" in await problem(asked(body))

    async def test_a_picture_sent_as_text(self) -> None:
        told = await problem(asked(multipart(part("image", b"\x89PNG"))))
        assert told == "image: must be UTF-8 text; give the part a filename if it is a file"

    async def test_noise_never_breaks_the_reader(self) -> None:
        chance = random.Random(20261122)
        good = multipart(part("prompt", "a"), part("image", b"\x89PNG" * 50, filename="a.png"))
        for _ in range(400):
            body = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                place = chance.randrange(len(body))
                match chance.randrange(3):
                    case 0:
                        body[place] = chance.randrange(256)
                    case 1:
                        del body[place : place + chance.randint(1, 20)]
                    case _:
                        body[place:place] = chance.choice([b"\r\n", b"--frontier", b'"', b"\x00", b": "])
            cut = chance.randrange(1, len(body))
            request = asked([bytes(body[:cut]), bytes(body[cut:])])
            with contextlib.suppress(InvalidRequest):
                read_fields = (await read(request)).fields
                assert all(isinstance(text, str) for text in read_fields.values())


class TestJson:
    async def test_plain(self) -> None:
        assert await read_json(asked(b'{"a": [1, 2.5, "\\u00e4", null]}', "application/json; charset=utf-8")) == {
            "a": [1, 2.5, "ä", None]
        }

    @pytest.mark.parametrize("kind", [None, "text/plain", "multipart/form-data; boundary=x"])
    async def test_other_type(self, kind: str | None) -> None:
        with pytest.raises(InvalidRequest, match="content-type"):
            await read_json(asked(b"{}", kind))

    async def test_too_large(self) -> None:
        with pytest.raises(PayloadTooLarge):
            await read_json(asked(b"[" + b"1," * 600 + b"1]", "application/json"), max_bytes=1000)

    async def test_whole_surrogate_pair(self) -> None:
        assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"

    def test_a_mark_of_the_byte_order_is_passed_over(self) -> None:
        assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b"{'a': 1}",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": -Infinity}',
            b'{"a": 1e3}',
            b'{"a": 1, "a": 2}',
            b'{"a": 123456789012345678901234567890}',
            b'{"a": "\\ud800"}',
            b'{"\\udc00": 1}',
            b'{"a": "\\ud83d"}',
            b'"a\x00b"',
            b"[" * 65 + b"]" * 65,
            b"[" * 100_000,
            b'{"a":' * 70 + b"1" + b"}" * 70,
            b"[] []",
        ],
        ids=range(18),
    )
    def test_refused(self, body: bytes) -> None:
        with pytest.raises(InvalidRequest):
            parse_json(body)

    def test_brackets_inside_text_do_not_count(self) -> None:
        assert parse_json(b'["' + b"[" * 1000 + b'"]') == ["[" * 1000]

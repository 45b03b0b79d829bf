from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.identity.mail import ConsoleMailer, Letter, MailFailed, Postman, SmtpMailer, invitation_letter
from support.identities import LetterBox

LETTER = Letter(
    "ada@example.org", "Confirm your address", "Open http://localhost/verify#token=abc", "http://x/#token=abc"
)


class TestConsole:
    async def test_the_link_is_in_the_log_and_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        mailer = ConsoleMailer()

        with caplog.at_level(logging.WARNING):
            await mailer.send(LETTER)

        assert "http://x/#token=abc" in caplog.text
        assert mailer.recent[0] == LETTER


class TestPostman:
    async def test_sends_in_the_background(self) -> None:
        box = LetterBox()
        postman = Postman(box)

        postman.post(LETTER)
        assert box.letters == []
        await postman.flush()

        assert box.letters == [LETTER]

    async def test_tries_again(self) -> None:
        box = LetterBox()
        box.failures = 2
        postman = Postman(box, pause_s=0.001)

        postman.post(LETTER)
        await postman.flush()

        assert box.letters == [LETTER]

    async def test_gives_up_and_goes_on_with_the_next(self, caplog: pytest.LogCaptureFixture) -> None:
        box = LetterBox()
        box.failures = 3
        postman = Postman(box, pause_s=0.001)

        postman.post(LETTER)
        postman.post(Letter("bob@example.org", "Second", "text"))
        await postman.flush()

        assert [letter.to for letter in box.letters] == ["bob@example.org"]
        assert "token=abc" not in caplog.text


class TestSmtp:
    async def test_a_message_arrives(self) -> None:
        async with _mail_server() as (port, received):
            await SmtpMailer(f"smtp://127.0.0.1:{port}", "keelbill@localhost").send(LETTER)

        text = "\n".join(received)
        assert "To: ada@example.org" in text
        assert "#token=" in text

    async def test_a_server_that_refuses(self) -> None:
        async with _mail_server(refuses=True) as (port, _):
            with pytest.raises(MailFailed, match="did not take"):
                await SmtpMailer(f"smtp://127.0.0.1:{port}", "keelbill@localhost").send(LETTER)

    async def test_no_server(self) -> None:
        with pytest.raises(MailFailed):
            await SmtpMailer("smtp://127.0.0.1:1", "keelbill@localhost").send(LETTER)

    async def test_a_name_cannot_add_headers(self) -> None:
        letter = invitation_letter("ada@example.org", "http://x", "Evil\r\nBcc: everyone@example.org")

        assert "\n" not in letter.subject

    @pytest.mark.parametrize("url", ["http://example.org", "smtp://", "mail.example.org"])
    def test_other_addresses_are_refused(self, url: str) -> None:
        with pytest.raises(InvalidInput, match="smtp://"):
            SmtpMailer(url, "keelbill@localhost")


def test_a_letter_does_not_show_its_link() -> None:
    assert "token" not in repr(LETTER)


@asynccontextmanager
async def _mail_server(*, refuses: bool = False) -> AsyncIterator[tuple[int, list[str]]]:
    """A mail server of a few lines (RFC 5321) on a real socket."""
    received: list[str] = []
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 localhost\r\n")
        in_text = False
        while line := (await reader.readline()).decode():
            if in_text:
                in_text = line != ".\r\n"
                received.append(line.rstrip())
                answer = b"" if in_text else b"250 taken\r\n"
            elif line.upper().startswith("DATA"):
                in_text, answer = True, b"354 go on\r\n"
            elif line.upper().startswith("RCPT") and refuses:
                answer = b"550 nobody here\r\n"
            elif line.upper().startswith("QUIT"):
                writer.write(b"221 bye\r\n")
                break
            else:
                answer = b"250 ok\r\n"
            writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    began = perf_counter()
    try:
        yield server.sockets[0].getsockname()[1], received
        await asyncio.wait_for(done.wait(), 60)
        assert perf_counter() - began < 60
    finally:
        server.close()
        await server.wait_closed()

"""Mail: the few messages we send, and two ways to send them. Knows no accounts.

Sending happens in the background, after the answer: otherwise an address that has an account would be answered more
slowly than one that has none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from keelbill.core.errors import AppError, InvalidInput

if TYPE_CHECKING:
    from aiosmtplib import SMTP

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
TRIES = 3
PAUSE_S = 2.0
MAX_WAITING = 1000


class MailFailed(AppError):
    """A mail server did not take a message."""

    code = "mail_failed"
    status = 503


@dataclass(frozen=True)
class Letter:
    """A message in plain text.

    Attributes:
        to: One mail address.
        subject: One line.
        text: The whole body; its link is a secret.
        link: The address in the body, for the console; "" if there is none.
    """

    to: str
    subject: str
    text: str = field(repr=False)
    link: str = field(default="", repr=False)


class Mailer(Protocol):
    """Sends one message."""

    async def send(self, letter: Letter) -> None:
        """Send a message.

        Raises:
            MailFailed: It was not taken.
        """
        ...


class ConsoleMailer:
    """Writes links to the server's log: for an installation without a mail server, whose owner reads the log."""

    def __init__(self) -> None:
        self.recent: deque[Letter] = deque(maxlen=20)

    async def send(self, letter: Letter) -> None:
        """Log who gets which link, and keep the last twenty letters for the admin page."""
        self.recent.append(letter)
        log.warning("No mail server is set. Mail for %s: %s: %s", letter.to, letter.subject, letter.link or "(no link)")


class SmtpMailer:
    """Hands messages to a mail server.

    Args:
        url: ``smtp://user:password@host:port`` (STARTTLS where the server offers it; it must off this machine if there
            is a password) or ``smtps://…`` (TLS from the start).
        sender: The address in ``From``.

    Raises:
        InvalidInput: `url` is of another kind.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise InvalidInput("smtp_url", f"{parts.scheme}://…", "smtp://user:password@host:port or smtps://…")
        self._host = parts.hostname
        self._is_tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._is_tls else 587)
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._sender = sender

    async def send(self, letter: Letter) -> None:
        """Send a message over a connection of its own, within 10 seconds."""
        from aiosmtplib import SMTPException

        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = letter.to
        message["Subject"] = letter.subject
        message.set_content(letter.text)
        try:
            async with asyncio.timeout(TIMEOUT_S), self._connection() as server:
                await server.send_message(message)
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            raise MailFailed(f"The mail server did not take a message ({type(error).__name__}).") from error

    def _connection(self) -> SMTP:
        from aiosmtplib import SMTP

        is_local = self._host in ("localhost", "127.0.0.1", "::1")
        return SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user or None,
            password=self._password or None,
            use_tls=self._is_tls,
            start_tls=None if self._is_tls or is_local or not self._password else True,
            timeout=TIMEOUT_S,
        )


class Postman:
    """Sends messages one after another in the background; what fails is tried three times, then logged and dropped.

    Args:
        mailer: How messages are sent.
        pause_s: Before the second try; doubles before the third.
    """

    def __init__(self, mailer: Mailer, *, pause_s: float = PAUSE_S) -> None:
        self.mailer = mailer
        self._pause_s = pause_s
        self._letters: deque[Letter] = deque()
        self._work: asyncio.Task[None] | None = None

    def post(self, letter: Letter) -> None:
        """Take a message and return at once; needs a running event loop."""
        if len(self._letters) >= MAX_WAITING:
            log.error("The mail queue is full; a message was dropped.")
            return
        self._letters.append(letter)
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._deliver(), name="mail")

    async def flush(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until everything is sent, or give up after a time."""
        if self._work is None:
            return
        try:
            await asyncio.wait_for(self._work, timeout_s)
        except TimeoutError:
            log.error("%d messages were not sent before the end.", len(self._letters) + 1)

    async def _deliver(self) -> None:
        while self._letters:
            await self._deliver_one(self._letters.popleft())

    async def _deliver_one(self, letter: Letter) -> None:
        for number in range(1, TRIES + 1):
            try:
                await self.mailer.send(letter)
            except MailFailed as error:
                log.warning("Mail was not sent (try %d of %d): %s", number, TRIES, error.message)
                if number < TRIES:
                    await asyncio.sleep(self._pause_s * 2 ** (number - 1))
            else:
                return


def verification_letter(to: str, link: str) -> Letter:
    """Return the message that proves an address."""
    text = f"Welcome!\n\nOpen this link within 24 hours to confirm your address:\n\n{link}\n\n"
    return Letter(to, "Confirm your address", text + "If you did not sign up, ignore this message.\n", link)


def reset_letter(to: str, link: str) -> Letter:
    """Return the message with which somebody sets a new password."""
    text = f"Open this link within one hour to set a new password:\n\n{link}\n\n"
    return Letter(to, "Set a new password", text + "If you did not ask for it, ignore this message.\n", link)


def already_letter(to: str, link: str) -> Letter:
    """Return the message for somebody who signs up again."""
    text = f"Somebody signed up with your address, and you have an account already. Sign in here:\n\n{link}\n\n"
    return Letter(to, "You have an account already", text + "If it was not you, ignore this message.\n", link)


def invitation_letter(to: str, link: str, org_name: str) -> Letter:
    """Return the message that invites somebody to an organisation."""
    name = " ".join(org_name.split())
    text = f"You are invited to work in {name}. Open this link within seven days:\n\n{link}\n"
    return Letter(to, f"Invitation to {name}", text, link)

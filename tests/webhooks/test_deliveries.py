"""Messages are queued with the event, delivered signed, tried five times, and never sent to an inner address."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import httpx
import pytest
from sqlalchemy import select, update

from keelbill.core.errors import Conflict, InvalidInput, InvalidRequest, NotFound
from keelbill.core.settings import Settings
from keelbill.db.base import Database
from keelbill.webhooks.addresses import Resolver
from keelbill.webhooks.caller import Caller
from keelbill.webhooks.courier import MAX_TRIES, PAUSES_S, Courier
from keelbill.webhooks.errors import CallFailed, ForbiddenAddress
from keelbill.webhooks.models import webhook
from keelbill.webhooks.schemas import EVENTS, Delivery, Webhook
from keelbill.webhooks.seals import Seals
from keelbill.webhooks.service import Webhooks
from keelbill.webhooks.signatures import is_authentic
from support.jobbook import ManualClock

ANN, BOB = "a" * 32, "b" * 32
URL = "https://example.com/hook"
SEALS = Seals(bytes(range(32)))


async def outside(host: str, port: int) -> list[str]:
    return ["93.184.215.14"]


@dataclass
class Receiver:
    """Somebody else's server."""

    answers: list[int | Exception] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, headers={"location": "https://127.0.0.1/inner"})


@dataclass
class Post:
    """Webhooks with a receiver and a clock."""

    database: Database
    clock: ManualClock = field(default_factory=ManualClock)
    receiver: Receiver = field(default_factory=Receiver)
    resolver: Resolver = outside

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(self.database, self.clock, Settings(webhooks=True), SEALS)
        transport = httpx.MockTransport(self.receiver.handle)
        self.courier = Courier(self.database, self.clock, Caller(resolver=self.resolver, transport=transport), SEALS)

    async def register(self, org_id: str = ANN, url: str = URL, events: Sequence[str] = EVENTS) -> Webhook:
        return (await self.webhooks.register(org_id, url, events)).webhook

    def is_signed(self, secret: str, request: httpx.Request) -> bool:
        return is_authentic(secret, dict(request.headers), request.content, self.clock.now_ms() // 1000)

    async def emit(self, org_id: str = ANN, event: str = "job.succeeded") -> int:
        return await self.database.write(
            lambda c: self.webhooks.emit(c, org_id, event, {"id": "x"})  # type: ignore[arg-type]
        )

    async def log(self, hook: Webhook) -> list[Delivery]:
        return await self.webhooks.deliveries(hook.org_id, hook.id)


@pytest.fixture
def post(database: Database) -> Post:
    return Post(database)


class TestRegistering:
    async def test_the_secret_is_shown_once(self, post: Post) -> None:
        made = await post.webhooks.register(ANN, URL)
        assert made.secret.startswith("whsec_")
        assert made.webhook.events == EVENTS
        assert await post.webhooks.of_org(ANN) == [made.webhook]

    async def test_addresses_inside_are_refused(self, post: Post) -> None:
        with pytest.raises(ForbiddenAddress):
            await post.register(ANN, "http://example.com/")

    @pytest.mark.parametrize("events", [[], ["job.exploded"], ["job.failed", ""]])
    async def test_events(self, post: Post, events: list[str]) -> None:
        with pytest.raises(InvalidRequest, match="events"):
            await post.register(ANN, URL, events)

    async def test_ten_an_account(self, post: Post) -> None:
        for _ in range(10):
            await post.register(ANN, URL)
        with pytest.raises(Conflict):
            await post.register(ANN, URL)
        await post.register(BOB, URL)

    async def test_of_another_account(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        message = await post.webhooks.ping(ANN, hook.id)
        for attempt in (
            post.webhooks.change(BOB, hook.id, enabled=False),
            post.webhooks.roll_secret(BOB, hook.id),
            post.webhooks.remove(BOB, hook.id),
            post.webhooks.deliveries(BOB, hook.id),
            post.webhooks.redeliver(BOB, hook.id, message.id),
            post.webhooks.ping(BOB, hook.id),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert await post.webhooks.of_org(BOB) == []
        assert await post.webhooks.of_org(ANN) == [hook]

    async def test_a_delivery_of_another_webhook(self, post: Post) -> None:
        first, second = await post.register(ANN, URL), await post.register(ANN, URL)
        message = await post.webhooks.ping(ANN, first.id)
        with pytest.raises(NotFound):
            await post.webhooks.redeliver(ANN, second.id, message.id)

    async def test_turned_off(self, database: Database) -> None:
        webhooks = Webhooks(database, ManualClock(), Settings(), SEALS)
        with pytest.raises(NotFound):
            await webhooks.register(ANN, URL)
        assert await database.write(lambda c: webhooks.emit(c, ANN, "job.failed", {})) == 0


class TestSecrets:
    async def test_a_copy_of_the_database_signs_nothing(self, post: Post) -> None:
        made = await post.webhooks.register(ANN, URL)
        await post.webhooks.roll_secret(ANN, made.webhook.id)
        row = str(await post.database.read(lambda c: c.execute(select(webhook)).one()))
        assert made.secret not in row
        assert "whsec" not in row

    async def test_both_sign_until_the_overlap_ends(self, post: Post) -> None:
        old = await post.webhooks.register(ANN, URL)
        new = await post.webhooks.roll_secret(ANN, old.webhook.id, overlap_s=60)
        assert new.secret != old.secret
        assert new.webhook == old.webhook
        for pause in (0, 59, 1):
            post.clock.move(pause)
            await post.emit()
            await post.courier.deliver_due()
        first, last_second, after = post.receiver.requests
        for request in (first, last_second):
            assert len(request.headers["webhook-signature"].split()) == 2
            assert post.is_signed(new.secret, request)
            assert post.is_signed(old.secret, request)
        assert post.is_signed(new.secret, after)
        assert not post.is_signed(old.secret, after)

    async def test_without_overlap_the_old_one_is_void_at_once(self, post: Post) -> None:
        old = await post.webhooks.register(ANN, URL)
        new = await post.webhooks.roll_secret(ANN, old.webhook.id, overlap_s=0)
        await post.emit()
        await post.courier.deliver_due()
        (request,) = post.receiver.requests
        assert post.is_signed(new.secret, request)
        assert not post.is_signed(old.secret, request)

    @pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1])
    async def test_overlap_out_of_range(self, post: Post, overlap_s: int) -> None:
        hook = await post.register()
        with pytest.raises(InvalidInput, match="overlap_s"):
            await post.webhooks.roll_secret(ANN, hook.id, overlap_s)

    async def test_a_secret_that_is_copied_to_another_address_opens_nothing(self, post: Post) -> None:
        mine, theirs = await post.register(ANN), await post.register(BOB)
        stolen = select(webhook.c.sealed).where(webhook.c.id == mine.id)
        sealed = await post.database.read(lambda c: c.execute(stolen).scalar_one())
        copy = update(webhook).where(webhook.c.id == theirs.id).values(sealed=sealed)
        await post.database.write(lambda c: c.execute(copy).rowcount)
        await post.emit(BOB)
        await post.courier.deliver_due()
        assert post.receiver.requests == []

    async def test_another_server_secret_sends_nothing_and_says_why(self, post: Post) -> None:
        hook = await post.register()
        await post.emit()
        caller = Caller(resolver=outside, transport=httpx.MockTransport(post.receiver.handle))
        await Courier(post.database, post.clock, caller, Seals(bytes(32))).deliver_due()
        assert post.receiver.requests == []
        (delivery,) = await post.log(hook)
        assert (delivery.state, delivery.last_status) == ("waiting", 0)
        assert "make a new one" in delivery.last_error


class TestDelivery:
    async def test_signed_and_complete(self, post: Post) -> None:
        made = await post.webhooks.register(ANN, URL + "?a=1")
        assert await post.emit() == 1
        assert await post.courier.deliver_due() == 1
        (request,) = post.receiver.requests
        assert str(request.url) == "https://93.184.215.14/hook?a=1", "the vetted address is dialled"
        assert request.headers["host"] == "example.com"
        assert request.extensions["sni_hostname"] == "example.com"
        assert post.is_signed(made.secret, request)
        assert json.loads(request.content) == {
            "type": "job.succeeded",
            "timestamp": "2026-01-01T00:16:40.000Z",
            "data": {"id": "x"},
        }
        (delivery,) = await post.log(made.webhook)
        assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 204)
        assert await post.courier.deliver_due() == 0

    async def test_only_those_who_want_the_event(self, post: Post) -> None:
        await post.register(ANN, URL, ["job.failed"])
        await post.register(BOB, URL)
        off = await post.register(ANN, URL)
        await post.webhooks.change(ANN, off.id, enabled=False)
        assert await post.emit() == 0

    async def test_nothing_is_sent_if_the_event_did_not_happen(self, post: Post) -> None:
        await post.register(ANN, URL)

        def fails(connection: object) -> None:
            post.webhooks.emit(connection, ANN, "job.succeeded", {})  # type: ignore[arg-type]
            raise InvalidRequest("it did not happen")

        with pytest.raises(InvalidRequest):
            await post.database.write(fails)
        assert await post.courier.deliver_due() == 0

    async def test_five_tries_with_growing_pauses(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        post.receiver.answers = [500, 302, httpx.ConnectError("refused"), 404, 503]
        await post.emit()
        for pause in PAUSES_S:
            assert await post.courier.deliver_due() == 1
            post.clock.move(pause - 1)
            assert await post.courier.deliver_due() == 0, "not before its time"
            post.clock.move(1)
        assert await post.courier.deliver_due() == 1
        (delivery,) = await post.log(hook)
        assert (delivery.state, delivery.attempts, delivery.last_status) == ("given_up", MAX_TRIES, 503)
        assert len({request.headers["webhook-id"] for request in post.receiver.requests}) == 1
        assert (await post.webhooks.of_org(ANN))[0].failures == 1

    async def test_redirects_are_not_followed(self, post: Post) -> None:
        await post.register(ANN, URL)
        post.receiver.answers = [302]
        await post.emit()
        await post.courier.deliver_due()
        assert [request.url.host for request in post.receiver.requests] == ["93.184.215.14"]

    async def test_by_hand_once_more(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        post.receiver.answers = [410]
        await post.emit()
        await post.courier.deliver_due()
        (delivery,) = await post.log(hook)
        assert delivery.state == "given_up"
        again = await post.webhooks.redeliver(ANN, hook.id, delivery.id)
        assert (again.id, again.attempts) == (delivery.id, 0)
        await post.courier.deliver_due()
        assert (await post.log(hook))[0].state == "delivered"

    async def test_who_keeps_failing_is_turned_off(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        post.receiver.answers = [500] * 100
        for _ in range(5):
            await post.emit()
        for _ in range(MAX_TRIES):
            await post.courier.deliver_due()
            post.clock.move(1800)
        (now,) = await post.webhooks.of_org(ANN)
        assert not now.enabled
        assert await post.emit() == 0
        assert all(delivery.state == "given_up" for delivery in await post.log(hook))
        on = await post.webhooks.change(ANN, hook.id, enabled=True)
        assert (on.enabled, on.failures) == (True, 0)

    async def test_a_success_forgets_failures(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        post.receiver.answers = [500] * MAX_TRIES
        await post.emit()
        for _ in range(MAX_TRIES):
            await post.courier.deliver_due()
            post.clock.move(1800)
        assert (await post.webhooks.of_org(ANN))[0].failures == 1
        await post.webhooks.ping(ANN, hook.id)
        await post.courier.deliver_due()
        assert (await post.webhooks.of_org(ANN))[0].failures == 0

    async def test_a_name_that_moves_inside_is_not_called(self, database: Database) -> None:
        async def rebound(host: str, port: int) -> list[str]:
            return ["169.254.169.254"]

        post = Post(database, resolver=rebound)
        hook = await post.register(ANN, URL)
        await post.emit()
        await post.courier.deliver_due()
        assert post.receiver.requests == []
        assert "public" in (await post.log(hook))[0].last_error

    async def test_of_two_couriers_one_takes_a_message(self, post: Post) -> None:
        await post.register(ANN, URL)
        await post.emit()
        taken = await asyncio.gather(post.courier.deliver_due(), post.courier.deliver_due())
        assert sorted(taken) == [0, 1]

    async def test_removed_while_it_is_called(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        await post.emit()
        real = post.receiver.handle

        async def removes(request: httpx.Request) -> httpx.Response:
            await post.webhooks.remove(ANN, hook.id)
            return await real(request)

        caller = Caller(resolver=outside, transport=httpx.MockTransport(removes))
        assert await Courier(post.database, post.clock, caller, SEALS).deliver_due() == 1
        assert await post.webhooks.of_org(ANN) == []

    async def test_the_background_task_wakes_up(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        post.courier._idle_s = 60.0
        task = asyncio.create_task(post.courier.run())
        await asyncio.sleep(0.05)
        await post.emit()
        post.courier.wake()
        async with asyncio.timeout(60):
            while (await post.log(hook))[0].state != "delivered":
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_old_ones_are_forgotten(self, post: Post) -> None:
        hook = await post.register(ANN, URL)
        await post.emit()
        await post.courier.deliver_due()
        post.clock.move(31 * 86_400)
        await post.emit()
        assert await post.webhooks.forget_old() == 1
        assert [delivery.state for delivery in await post.log(hook)] == ["waiting"]


class _Closing:
    """Closes a stream's writer, whatever happened to it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    async def aclose(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class TestCaller:
    """Over a real socket."""

    @pytest.fixture
    async def serve(self) -> AsyncIterator[Callable[[bytes | None], int]]:
        answers: list[bytes | None] = []
        visits: list[asyncio.Task[None] | None] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits.append(asyncio.current_task())
            # The caller may hang up at any point.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                async with contextlib.aclosing(_Closing(writer)):
                    await reader.readuntil(b"\r\n\r\n")
                    if answers[0] is None:
                        await asyncio.sleep(0.5)
                    else:
                        writer.write(answers[0])
                        await writer.drain()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)

        def start(content: bytes | None) -> int:
            answers.append(content)
            return int(server.sockets[0].getsockname()[1])

        yield start
        server.close()
        await asyncio.gather(*(visit for visit in visits if visit))
        await server.wait_closed()

    async def test_at_home(self, serve: Callable[[bytes | None], int]) -> None:
        port = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert await Caller(allow_private=True).post(f"http://localhost:{port}/x", b"{}", {}) == 200

    async def test_not_at_home(self, serve: Callable[[bytes | None], int]) -> None:
        port = serve(b"HTTP/1.1 200 OK\r\n\r\n")
        with pytest.raises(ForbiddenAddress):
            await Caller().post(f"https://localhost:{port}/x", b"{}", {})

    async def test_an_endless_answer_is_not_read(self, serve: Callable[[bytes | None], int]) -> None:
        port = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 65536)
        assert await Caller(allow_private=True).post(f"http://127.0.0.1:{port}/", b"{}", {}) == 200

    @pytest.mark.parametrize("answer", [None, b"not HTTP\r\n\r\n", b""], ids=["silent", "nonsense", "closed"])
    async def test_no_answer(self, serve: Callable[[bytes | None], int], answer: bytes | None) -> None:
        port = serve(answer)
        with pytest.raises(CallFailed):
            await Caller(allow_private=True, timeout_s=0.2).post(f"http://127.0.0.1:{port}/", b"{}", {})

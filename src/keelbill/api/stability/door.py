"""What every paid route does between its parameters and its answer: pictures, balance, moderation, jobs.

Knows neither the form of the request nor that of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from starlette.requests import Request

from keelbill.api.caller import authorise
from keelbill.api.platform import Platform
from keelbill.api.stability.services import Picture, PictureField
from keelbill.api.visits import visit_of
from keelbill.core.errors import BadImage, InvalidRequest, PaymentRequired
from keelbill.core.principal import Principal
from keelbill.core.types import Micro, Size, credits_of
from keelbill.imaging.clean import CleanImage
from keelbill.jobs.schemas import Idempotency, ImageRequest, Outcome, Ticket
from keelbill.serving.messages import ImageTask
from keelbill.storage.hub import Hub, Kind
from keelbill.storage.published import PUBLIC_MODELS, Engine, engine_for

_CLIENT_HEADERS = ("stability-client-id", "stability-client-user-id", "stability-client-version", "organization")
_INSTALLED_FOR_S = 10.0
_ASYNC_DEADLINE_S = 3600.0
_UNFILTERED = 1.01


@dataclass
class Call:
    """One request on a paid route.

    Attributes:
        request: As it came.
        principal: Who asks.
        started_s: When it began, on the monotonic clock.
        front: Which front door, for usage.
        request_id: That the answer and the logs carry.
        client: What it says about itself.
    """

    request: Request
    principal: Principal
    started_s: float
    front: str
    request_id: str = ""
    client: dict[str, str] = field(default_factory=dict)

    async def gone(self) -> bool:
        """Wait until the client has hung up. Call it only after the body was read."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        return True


class Door:
    """The way from a checked request to its pictures.

    Args:
        platform: All services.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._installed: frozenset[str] = frozenset()
        self._installed_until_s = float("-inf")

    async def receive(self, request: Request, front: str) -> Call:
        """Find out who asks and count the request against the rate limit.

        Raises:
            Unauthorized: No valid key.
            RateLimited: Too many requests.
        """
        started_s = self.platform.clock.monotonic_s()
        principal = await authorise(request, self.platform)
        client = {name: request.headers[name][:256] for name in _CLIENT_HEADERS if name in request.headers}
        return Call(request, principal, started_s, front, visit_of(request).request_id, client)

    async def engine(self, model: str) -> Engine:
        """Choose the installed model that stands for a published one; "" and other names mean the server's default."""
        public = PUBLIC_MODELS.get(model)
        if public is None:
            return Engine()
        now_s = self.platform.clock.monotonic_s()
        if now_s >= self._installed_until_s:
            hub = Hub.from_settings(self.platform.settings)
            models = await asyncio.to_thread(hub.list, Kind.MODEL)
            self._installed = frozenset(model.name for model in models)
            self._installed_until_s = now_s + _INSTALLED_FOR_S
        return engine_for(public, installed=self._installed, default=self.platform.settings.model)

    def order(
        self,
        call: Call,
        item: str,
        task: ImageTask,
        *,
        requested_model: str = "",
        price: Micro | None = None,
        is_async: bool = False,
    ) -> ImageRequest:
        """Say what is wanted in the terms of the jobs.

        Args:
            call: The request.
            item: Of the price list.
            task: What to make.
            requested_model: By the name that the client gave.
            price: In micro-credits, where it is not the item's.
            is_async: Whether the client polls for the result.
        """
        settings = self.platform.settings
        filter_above = settings.filter_above if settings.moderation == "on" else _UNFILTERED
        return ImageRequest(
            service=item,
            task=msgspec.structs.replace(task, filter_above=filter_above),
            front=call.front,
            route=call.request.url.path,
            requested_model=requested_model,
            request_id=call.request_id,
            price=price,
            deadline_s=_ASYNC_DEADLINE_S if is_async else settings.request_deadline_s,
            is_async=is_async,
            client=call.client,
        )

    async def clean(
        self, fields: Sequence[PictureField], files: Mapping[str, bytes], texts: Collection[str] = ()
    ) -> tuple[dict[str, CleanImage], list[str]]:
        """Rebuild the pictures of a request from their pixels.

        Args:
            fields: Those that the service takes; other files are passed over.
            files: Contents by field.
            texts: Names of text fields that were sent; a picture cannot be one.

        Returns:
            The pictures by field, and a sentence for each that is missing or cannot be used.
        """
        known = [(wanted, files[wanted.name]) for wanted in fields if wanted.name in files]
        problems = []
        for wanted in fields:
            if wanted.name not in files and wanted.name in texts:
                problems.append(f"{wanted.name}: must be sent as a file")
            elif wanted.name not in files and wanted.required:
                problems.append(f"{wanted.name}: required")
        results = await asyncio.gather(*(self._clean(wanted, data) for wanted, data in known))
        pictures: dict[str, CleanImage] = {}
        for (wanted, _), result in zip(known, results, strict=True):
            if isinstance(result, CleanImage):
                pictures[wanted.name] = result
            else:
                problems += result
        return pictures, problems

    async def _clean(self, wanted: PictureField, data: bytes) -> CleanImage | list[str]:
        limits = wanted.limits
        try:
            return await self.platform.decoder.decode(
                data,
                field=wanted.name,
                min_side=limits.least_side,
                max_side=limits.most_side,
                min_pixels=limits.least_pixels,
                max_pixels=limits.most_pixels,
                max_aspect=2.5 if limits.shape_limited else None,
            )
        except (BadImage, InvalidRequest) as error:
            return list(error.problems)

    async def store(self, pictures: Mapping[str, CleanImage]) -> dict[str, Picture]:
        """Keep the pictures of a request where workers find them."""
        refs = await asyncio.gather(*(asyncio.to_thread(self.platform.blobs.put, p.png) for p in pictures.values()))
        return {
            name: Picture(ref, Size(picture.width, picture.height), picture.has_alpha)
            for ref, (name, picture) in zip(refs, pictures.items(), strict=True)
        }

    def price(self, item: str, steps: int | None = None) -> Micro:
        """Return what one picture costs by an item of the price list, with so many steps."""
        return self.platform.ledger.prices.price(item, steps)

    async def afford(self, call: Call, total: int, idempotency: Idempotency | None) -> None:
        """Check early that the balance covers a request; the ledger checks again when it takes the hold.

        A retry under an idempotency key may be paid for already, so that only the ledger can tell.

        Raises:
            PaymentRequired: It does not.
        """
        if idempotency is not None or self.platform.settings.billing == "unlimited":
            return
        org_id = call.principal.org_id
        balance = await self.platform.db.glance(lambda c: self.platform.ledger.balance(c, org_id))
        if balance.available < total:
            raise PaymentRequired(
                f"credits: {credits_of(total):f} needed, {credits_of(balance.available):f} available.",
                hint="Add credits, or use a smaller model.",
            )

    async def moderate(self, call: Call, *prompts: str) -> None:
        """Judge what is to be painted; what is to be avoided is not judged.

        Raises:
            ContentRefused: It is refused.
        """
        written = [prompt for prompt in prompts if prompt]
        if written:
            await self.platform.moderation.check_prompt(call.principal, *written, request_id=call.request_id)

    async def run(self, call: Call, requests: Sequence[ImageRequest], idempotency: Idempotency | None) -> list[Outcome]:
        """Pay for some pictures, all or none, wait for them and return them in order.

        Raises:
            PaymentRequired: The balance or a cap is below the price.
            AppError: Whatever else kept them from being made; nothing was charged then.
        """
        outcomes = await self.platform.jobs.run_many(
            call.principal, list(requests), idempotency, disconnected=call.gone
        )
        visit = visit_of(call.request)
        visit.job_id = outcomes[0].job_id
        if not outcomes[0].replayed:
            visit.is_generation = True
            visit.credits_micro = sum(outcome.charged for outcome in outcomes)
            visit.wait_ms = max(outcome.queue_ms + outcome.run_ms for outcome in outcomes)
        return outcomes

    async def submit(self, call: Call, request: ImageRequest, idempotency: Idempotency | None) -> Ticket:
        """Pay for a picture that the client polls for; errors as of `run`."""
        ticket = await self.platform.jobs.submit(call.principal, request, idempotency)
        visit = visit_of(call.request)
        visit.job_id = ticket.job_id
        price = self.platform.ledger.prices.price(request.service) if request.price is None else request.price
        visit.credits_micro = 0 if ticket.replayed else price
        return ticket

    def elapsed_ms(self, call: Call) -> float:
        """Return milliseconds since the request began."""
        return (self.platform.clock.monotonic_s() - call.started_s) * 1000

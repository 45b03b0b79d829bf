"""The composition root: makes every part of the server, joins them, starts and stops them. Knows no routes.

Only this module knows which part needs which. It imports nothing heavy: networks live in worker processes.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from keelbill.api.background import Repeater
from keelbill.api.comfy.examples import offer_examples
from keelbill.api.flood import Flood
from keelbill.api.gauges import LoadWatch
from keelbill.api.ratelimit import RateLimiter
from keelbill.api.traces import TimedBook, Traces
from keelbill.core.clock import Clock, SystemClock
from keelbill.core.ids import new_id
from keelbill.core.settings import Settings
from keelbill.db import migrate
from keelbill.db.base import Database, metadata, open_database
from keelbill.db.notices import listen
from keelbill.gallery import repository as gallery_repository
from keelbill.gallery.service import Gallery
from keelbill.graph.packs import load_enabled
from keelbill.identity import notices
from keelbill.identity.secret import load_secret
from keelbill.identity.wiring import Identity, build_identity
from keelbill.imaging.sandbox import DecodeService
from keelbill.jobs import repository as job_repository
from keelbill.jobs.book import Book, Parts
from keelbill.jobs.departures import Departures
from keelbill.jobs.janitor import Janitor
from keelbill.jobs.service import Jobs
from keelbill.ledger import audit
from keelbill.ledger.cashier import Cashier
from keelbill.ledger.payments import Payments
from keelbill.ledger.prices import PriceList
from keelbill.ledger.recharger import Disabled, Recharger
from keelbill.ledger.service import Ledger
from keelbill.ledger.stripe import Stripe
from keelbill.moderation.service import Moderation
from keelbill.serving.admission import Limits
from keelbill.serving.gateway import Gateway
from keelbill.serving.pool import WorkerPool
from keelbill.storage.blobs import BlobStore
from keelbill.storage.hub import Hub
from keelbill.storage.published import PUBLIC_MODELS
from keelbill.storage.pulls import Pulls
from keelbill.telemetry.export import Export, Recorder, read_export
from keelbill.telemetry.metrics import Metrics
from keelbill.usage.service import Usage
from keelbill.webhooks.caller import Caller
from keelbill.webhooks.courier import Courier
from keelbill.webhooks.seals import Seals
from keelbill.webhooks.service import Webhooks
from keelbill.workspace.runs import Runs
from keelbill.workspace.schemas import Limits as WorkspaceLimits
from keelbill.workspace.secrets import Secrets
from keelbill.workspace.service import Workspace

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from keelbill.identity.authenticate import Authenticator
    from keelbill.identity.keyring import Keys
    from keelbill.identity.service import Accounts

log = structlog.get_logger("keelbill.platform")

IDENTITY_SWEEP_S = 300.0
BOOKS_EVERY_S = 86_400.0
BOOKS_FIRST_S = 0.0
DEPARTURES_EVERY_S = 5.0
MODERATION_SWEEP_S = 3_600.0
WORKSPACE_SWEEP_S = 3_600.0
LAG_EVERY_S = 1.0
STRANGERS_LIMIT = 60
STRANGERS_WINDOW_S = 10.0
"""Requests without a valid credential that an address may make in this window."""


@dataclass
class Platform:
    """Every part of a running server.

    Attributes:
        settings: What the operator chose.
        clock: The time.
        telemetry: The metrics.
        db: The database.
        blobs: Pictures as files.
        ledger: Credits.
        identity: People, organisations, keys and sessions.
        gallery: Finished pictures.
        usage: Totals.
        webhooks: Addresses that users want called.
        courier: Who calls them.
        book: The jobs' durable half.
        gateway: The queue before the workers.
        jobs: The jobs as front doors see them.
        janitor: Takes up what an earlier process left.
        moderation: The rules for prompts.
        decoder: Opens uploaded pictures safely.
        workspace: Files and settings of the graph editor.
        runs: Graphs that run or ran.
        secrets: Keys of accounts for other services.
        limiter: Requests of accounts.
        strangers: Requests without a valid credential.
        flood: Credentials that are over their limit right now.
        pulls: Models that are being fetched.
        departures: Cancels what waits for people who have gone.
        export: What of traces is sent to a collector, if anything.
        traces: Follows requests once the server has started, if traces are sent.
        cashier: Sells credits by card; nothing if the operator did not set that up.
        started_ms: When everything ran, in milliseconds since 1970.
        is_started: Whether everything runs.
        is_draining: Whether the server is on its way out.
        migrates: Whether `start` brings the database to this version's form.
        mismatches: Differences that the last check of the books found; nothing before the first.
    """

    settings: Settings
    clock: Clock
    telemetry: Metrics
    db: Database
    blobs: BlobStore
    ledger: Ledger
    identity: Identity
    gallery: Gallery
    usage: Usage
    webhooks: Webhooks
    courier: Courier
    book: Book
    gateway: Gateway
    jobs: Jobs
    janitor: Janitor
    moderation: Moderation
    decoder: DecodeService
    workspace: Workspace
    runs: Runs
    secrets: Secrets
    limiter: RateLimiter
    strangers: RateLimiter
    flood: Flood
    pulls: Pulls
    departures: Departures
    export: Export | None = None
    traces: Traces | None = None
    cashier: Cashier | None = None
    started_ms: int = 0
    is_started: bool = False
    is_draining: bool = False
    migrates: bool = False
    mismatches: int | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _repeaters: list[Repeater] = field(default_factory=list)
    _drained: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._loads = LoadWatch(self.telemetry)

    @property
    def accounts(self) -> Accounts:
        """People and organisations."""
        return self.identity.accounts

    @property
    def keys(self) -> Keys:
        """API keys."""
        return self.identity.keys

    @property
    def authenticator(self) -> Authenticator:
        """Turns credentials into principals."""
        return self.identity.authenticator

    @property
    def payments(self) -> Payments | None:
        """Purchases of credits, if they are sold by card."""
        return self.cashier.payments if self.cashier else None

    @property
    def recharger(self) -> Recharger | None:
        """Automatic purchases, if credits are sold by card."""
        return self.cashier.recharger if self.cashier else None

    async def start(self) -> None:
        """Start every part; what an earlier process left is taken up before this returns."""
        self.blobs.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self.db.start()
        if self.export is not None:
            await asyncio.to_thread(self._trace, self.export)
        if self.migrates:
            await asyncio.to_thread(_migrate, self.db)
        await self.identity.start()
        await offer_examples(self.workspace)
        await self.decoder.start()
        await self.gateway.start()
        await self.janitor.recover()
        self._tasks = [asyncio.create_task(self.janitor.run(), name="janitor")]
        if self.db.dialect == "postgresql":
            hearing = listen(self.db, self.book.bulletin.hear)
            self._tasks.append(asyncio.create_task(hearing, name="notices"))
        if self.webhooks.is_on:
            self._tasks.append(asyncio.create_task(self.courier.run(), name="courier"))
        if self.cashier is not None:
            self._tasks.append(asyncio.create_task(self.cashier.run(), name="cashier"))
        self._repeaters = [
            Repeater("identity", IDENTITY_SWEEP_S, lambda: self.db.write(self.identity.sweep)),
            Repeater("books", BOOKS_EVERY_S, self.check_books, first_s=BOOKS_FIRST_S),
            Repeater("workspace", WORKSPACE_SWEEP_S, self.workspace.sweep),
            Repeater("departures", DEPARTURES_EVERY_S, self.departures.settle),
            Repeater("moderation", MODERATION_SWEEP_S, lambda: self.db.write(self.moderation.sweep)),
        ]
        for repeater in self._repeaters:
            repeater.start()
        self._tasks.append(asyncio.create_task(self._watch_loop(), name="loop lag"))
        self.started_ms = self.clock.now_ms()
        self.is_started = True

    async def drain(self, seconds: float | None = None) -> None:
        """Take no more jobs, tell those that wait, and let the running ones finish.

        Args:
            seconds: For running jobs; the setting's if none is given. 0 in a second call ends the wait of the first.
        """
        self.is_draining = True
        await self.gateway.drain(self.settings.drain_s if seconds is None else seconds)

    async def stop(self) -> None:
        """Stop every part, in the opposite order."""
        self.is_draining = True
        for repeater in self._repeaters:
            await repeater.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.gateway.stop()
        await self.runs.close()
        await self.decoder.close()
        await self.identity.close()
        await self.db.close()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
        self.is_started = False

    def _trace(self, export: Export) -> None:
        """Begin to follow requests."""
        self.traces = traces = Traces(Recorder(export), self.telemetry)
        self.gateway.newcomers.append(traces.entered)
        self.gateway.listeners.append(traces.heard)
        if isinstance(self.book, TimedBook):
            self.book.on_stored = traces.stored

    async def check_books(self) -> int:
        """Compare every balance with its movements while work goes on; return how many differ, which should be none.

        The result stays in the database for the administrators, on the metrics and in the answer about readiness.
        """
        found = await audit.audit_beside(self.db)
        self.mismatches = len(found)
        self.telemetry.ledger_mismatch.set(len(found))
        if found:
            log.error("books_differ", mismatches=len(found), first=[str(each) for each in found[:10]])
        await self.db.write(lambda c: audit.remember(c, new_id(), self.clock.now_ms(), found))
        return len(found)

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.telemetry.loop_lag.set(max(loop.time() - due, 0.0))
            self._loads.look(self.gateway.workers())


def build_platform(
    settings: Settings, *, pool: WorkerPool | None = None, clock: Clock | None = None, migrates: bool = False
) -> Platform:
    """Make every part and join them; nothing starts yet. Packs of nodes that are enabled are imported.

    Args:
        settings: What the operator chose.
        pool: The workers; those that the settings ask for if none are given.
        clock: The time; the machine's if none is given.
        migrates: Whether its start brings the database to this version's form.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.node_packs:
        load_enabled(settings.node_packs)
    clock = clock or SystemClock()
    secret = load_secret(settings.home)
    telemetry = Metrics(frozenset(PUBLIC_MODELS), default_model=settings.model)
    database = open_database(settings.database)
    database.on_commit = telemetry.committed
    blobs = BlobStore(settings.blobs_folder, min_free_bytes=settings.min_free_disk_bytes)
    ledger = Ledger(clock, PriceList.load(settings.home / "prices.toml", clock), settings)
    usage = Usage(database, clock)
    seals = Seals(secret)
    webhooks = Webhooks(database, clock, settings, seals)
    courier = Courier(
        database,
        clock,
        Caller(allow_private=settings.webhook_private_targets),
        seals,
        on_try=partial(telemetry.heard, "outgoing"),
    )
    workspace = Workspace(database, blobs, clock, WorkspaceLimits(size_bytes=settings.workspace_bytes))
    runs = Runs(database, workspace, clock)
    gallery = Gallery(
        database,
        blobs,
        clock,
        forget_job=lambda connection, job_id: _forget(workspace, connection, job_id),
        needed_elsewhere=lambda connection, ref: _is_needed(workspace, runs, connection, ref),
    )
    parts = Parts(
        database,
        blobs,
        ledger,
        gallery,
        usage,
        webhooks,
        clock,
        settings,
        other_refs=(workspace.all_refs, runs.input_refs),
    )
    export = read_export(os.environ)
    book = (TimedBook if export else Book)(parts, on_message=courier.wake, runs=runs)
    limits = Limits(account_jobs=settings.max_account_jobs, queued_jobs=settings.max_queued_jobs)
    gateway = Gateway(pool or _pool(settings, blobs), book, clock, limits=limits, meter=telemetry)
    gateway.listeners.append(runs.listen)
    jobs = Jobs(book, gateway)
    identity = build_identity(
        database,
        clock,
        settings,
        secret,
        on_org_created=lambda connection, org_id: _open_wallet(ledger, connection, org_id),
        on_verified=lambda connection, org_id, who: _grant(ledger, connection, org_id, who),
        on_key_revoked=lambda connection, org_id, key_id: _tell(webhooks, connection, org_id, key_id),
        after_key_revoked=jobs.cancel_of_key,
    )
    return Platform(
        settings=settings,
        clock=clock,
        telemetry=telemetry,
        db=database,
        blobs=blobs,
        ledger=ledger,
        identity=identity,
        gallery=gallery,
        usage=usage,
        webhooks=webhooks,
        courier=courier,
        book=book,
        gateway=gateway,
        export=export,
        jobs=jobs,
        janitor=Janitor(book, gateway),
        moderation=Moderation(database, clock, settings, secret),
        decoder=DecodeService(max_bytes=settings.max_image_bytes),
        workspace=workspace,
        runs=runs,
        secrets=Secrets(database, clock, secret),
        limiter=RateLimiter(clock, settings.rate_limit, settings.rate_window_s, servers=book.leases.count),
        strangers=RateLimiter(clock, STRANGERS_LIMIT, STRANGERS_WINDOW_S, servers=book.leases.count),
        flood=Flood(clock),
        pulls=Pulls(Hub.from_settings(settings)),
        departures=Departures(book, gateway),
        cashier=_cashier(settings, database, ledger, clock, telemetry, identity),
        migrates=migrates,
    )


def _migrate(database: Database) -> None:
    migrate.upgrade(database)
    if not migrate.newest():
        migrate.import_models()
        metadata.create_all(database.engine)


def _open_wallet(ledger: Ledger, connection: Connection, org_id: str) -> None:
    ledger.open_wallet(connection, org_id)


def _grant(ledger: Ledger, connection: Connection, org_id: str, who: str) -> None:
    ledger.grant_free(connection, org_id, who)


def _forget(workspace: Workspace, connection: Connection, job_id: str) -> None:
    """Let job and workspace forget the pictures of a job that are no longer in the gallery."""
    job_repository.forget_result(connection, job_id)
    workspace.forget(connection, job_id, gallery_repository.refs_of_job(connection, job_id))


def _is_needed(workspace: Workspace, runs: Runs, connection: Connection, ref: str) -> bool:
    return (
        job_repository.wants_blob(connection, ref)
        or workspace.is_needed(connection, ref)
        or ref in runs.input_refs(connection)
    )


def _tell(webhooks: Webhooks, connection: Connection, org_id: str, key_id: str) -> None:
    webhooks.emit(connection, org_id, "key.revoked", {"id": key_id})


def _cashier(
    settings: Settings, database: Database, ledger: Ledger, clock: Clock, telemetry: Metrics, identity: Identity
) -> Cashier | None:
    if settings.billing == "unlimited" or not (settings.stripe_secret_key and settings.stripe_webhook_secret):
        return None
    stripe = Stripe(settings.stripe_secret_key, settings.stripe_webhook_secret, settings.stripe_api_base)
    payments = Payments(database, ledger, stripe, clock, on_message=partial(telemetry.heard, "stripe"))

    async def tell_owners(switched_off: Disabled) -> None:
        await notices.tell_owners(
            database,
            identity.postman,
            switched_off.org_id,
            lambda to: notices.recharge_off_letter(to, identity.accounts.rules.base_url, switched_off.reason),
        )

    return Cashier(payments, Recharger(database, ledger, stripe, clock), tell_owners)


def _pool(settings: Settings, blobs: BlobStore) -> WorkerPool:
    if settings.cluster:
        from keelbill.serving.cluster import cluster_pool

        return cluster_pool(settings, settings.cluster)
    if settings.scripted_engine:
        from keelbill.serving.scripted import ScriptedPool

        return ScriptedPool(workers=settings.workers, slots=16, read=blobs.read)
    from keelbill.serving.local import local_pool

    return local_pool(settings)

"""Takes in a graph: checks it, prices it, takes secrets out, and hands it to the jobs. Knows no HTTP.

Other front doors that run graphs use it too.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection

from keelbill.api.comfy.models import ModelNames, folders_of, picture_place
from keelbill.api.comfy.pricing import quoted
from keelbill.api.comfy.secrets import drawn_keys, typed_keys, without_secrets
from keelbill.api.comfy.texts import pictures_of, prompts_of, takes_pictures
from keelbill.core.errors import InvalidInput, InvalidRequest
from keelbill.core.principal import Principal
from keelbill.graph.apiformat import require_shallow
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.quote import Quote
from keelbill.graph.registry import load_builtin
from keelbill.graph.validate import Validated, validate
from keelbill.jobs.schemas import ImageRequest
from keelbill.serving.messages import GraphTask, ImageTask
from keelbill.workspace.names import place_of
from keelbill.workspace.schemas import Account, NewRun, StoredFile

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

T = TypeVar("T")

DEADLINE_S: Final = 1800.0
MAX_PRIORITY: Final = 1000
MAX_ID: Final = 128
PREVIEW_METHODS: Final = frozenset({"auto", "latent2rgb", "taesd"})
UNFILTERED: Final = 1.01
KEY_FILE: Final = "sai_platform_key.txt"
SECRET_NAME: Final = "image_service"  # noqa: S105  the name of a secret, not one


@dataclass(frozen=True)
class Submission:
    """A graph as a client sends it.

    Attributes:
        prompt: In the API format, of any shape.
        extra: What came with it.
        client_id: Of the socket that is told, "" for none.
        prompt_id: Chosen by the client, "" for a fresh one.
        number: Its place in the queue; lower ones go first.
        in_front: Whether it goes before all that wait.
        targets: Output nodes that are wanted; nothing means all.
        sees_previews: Whether the client's socket understands previews.
        route: Path of the request, for usage.
        front: Which front door it came through.
        request_id: Of the HTTP request.
        is_small: Whether it is looked through at once; others are in a thread, so that nobody waits for them.
    """

    prompt: Any
    extra: dict[str, Any] = field(default_factory=dict)
    client_id: str = ""
    prompt_id: str = ""
    number: float | None = None
    in_front: bool = False
    targets: tuple[str, ...] | None = None
    sees_previews: bool = False
    route: str = "/comfy/prompt"
    front: str = "graph"
    request_id: str = ""
    is_small: bool = False


@dataclass(frozen=True)
class Submitted:
    """A graph that waits for its turn.

    Attributes:
        prompt_id: By which clients know it.
        job_id: By which the server knows it.
        number: Its place as clients see it.
        price: Micro-credits that are set aside.
        node_errors: What is wrong with outputs that were left out.
    """

    prompt_id: str
    job_id: str
    number: float
    price: int
    node_errors: dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """A graph that can be run, with its price.

    Attributes:
        valid: The graph.
        quote: Its price and its work.
        texts: Words in it that say what is to be seen.
        files: The pictures that it names.
        typed: Keys that somebody typed into its nodes.
        key: For the image service that its nodes call, "" if this server paints itself.
    """

    valid: Validated
    quote: Quote
    texts: list[str]
    files: dict[str, StoredFile]
    typed: list[str]
    key: str


async def check_graph(platform: Platform, models: ModelNames, principal: Principal, asked: Submission) -> Checked:
    """Check a graph and work out its price; nothing is stored and nobody pays.

    Args:
        platform: The parts of the server.
        models: Names of model files.
        principal: Whose files it may name.
        asked: The graph.

    Raises:
        GraphInvalid: No output of it can be made, or it asks for more than it may.
    """
    account = Account(principal.org_id, principal.user_id)
    nodes = load_builtin()
    typed, cleaned = await _aside(asked, partial(_cleaned, asked))
    folders = await folders_of(platform, models, account, with_pictures=takes_pictures(cleaned, nodes))
    files = await _pictures(platform, account, pictures_of(cleaned, nodes))
    folders.add([file.place for file in files.values()])
    valid = await _aside(asked, partial(validate, cleaned, nodes, folders, targets=asked.targets))
    _check_prefixes(valid.graph)
    named = pictures_of(valid.graph, nodes)
    if missing := {name: area for name, area in named.items() if name not in files}:
        files |= await _pictures(platform, account, missing)
    for name in named:
        if name not in files:
            raise GraphInvalid("invalid_prompt", f"There is no picture {name!r}.")
    files = {name: files[name] for name in named}
    key, is_own = await _key(platform, account, typed)
    quote = await quoted(platform, models, valid.graph, files, is_served_elsewhere=is_own)
    return Checked(valid, quote, prompts_of(valid.graph, valid.outputs, nodes), files, typed, key)


async def submit_graph(platform: Platform, models: ModelNames, principal: Principal, asked: Submission) -> Submitted:
    """Take a graph in.

    Args:
        platform: The parts of the server.
        models: Names of model files.
        principal: Who pays.
        asked: The graph.

    Raises:
        GraphInvalid: No output of it can be made.
        InvalidRequest: Something around it is wrong.
        RunExists: The prompt id was used before.
        ContentRefused: The moderation rules refuse its words.
        PaymentRequired: The balance or a cap does not cover it.
        QuotaFull: The account keeps as many files as it may.
        RateLimited: Too many jobs of the account wait or run.
        Unavailable: The server takes no jobs now.
    """
    account = Account(principal.org_id, principal.user_id)
    prompt_id = _prompt_id(asked.prompt_id)
    if asked.prompt_id:
        await platform.runs.require_new(prompt_id)
    await platform.workspace.require_room(account)
    checked = await check_graph(platform, models, principal, asked)
    valid, quote, texts, keys = checked.valid, checked.quote, checked.texts, checked.typed
    await platform.moderation.check_prompt(principal, *texts, request_id=asked.request_id)
    refs = {name: file.blob_ref for name, file in checked.files.items()}
    extra = await _aside(asked, partial(_cleaned_extra, asked, keys))
    pnginfo = extra.get("extra_pnginfo")
    workflow = pnginfo.get("workflow") if isinstance(pnginfo, dict) else None
    wants_previews = extra.get("preview_method") in PREVIEW_METHODS
    settings = platform.settings
    task = ImageTask(
        kind="graph",
        model=quote.model,
        width=quote.width,
        height=quote.height,
        steps=quote.steps,
        recipe_prompt=texts[0] if texts else "",
        previews=wants_previews or asked.sees_previews,
        filter_above=settings.filter_above if settings.moderation == "on" else UNFILTERED,
        graph=GraphTask(
            prompt=json.dumps(valid.graph),
            outputs=valid.outputs,
            extra=json.dumps(pnginfo) if isinstance(pnginfo, dict) else "",
            files=refs,
            tenant=account.tenant,
            priority=_priority(asked),
        ),
    )
    run = NewRun(
        prompt_id=prompt_id,
        account=account,
        client_id=_client_id(asked.client_id),
        prompt=json.dumps(valid.graph),
        extra=json.dumps(extra | ({"client_id": asked.client_id} if asked.client_id else {})),
        targets=valid.outputs,
        workflow_id=_workflow_id(workflow),
        number=asked.number,
        in_front=asked.in_front,
        wants_previews=wants_previews,
        input_refs=tuple(sorted(set(refs.values()))),
    )
    request = ImageRequest(
        service="graph",
        task=task,
        front=asked.front,
        route=asked.route,
        requested_model=quote.model,
        request_id=asked.request_id,
        price=quote.price,
        deadline_s=DEADLINE_S,
        is_async=True,
        secret=checked.key,
    )

    number = 0.0

    def write_run(connection: Connection, job_ids: tuple[str, ...]) -> None:
        nonlocal number
        number = platform.runs.take(connection, job_ids[0], run)

    ticket = await platform.jobs.submit(principal, request, beside=write_run)
    shown = int(number) if number.is_integer() else number
    return Submitted(prompt_id, ticket.job_id, shown, quote.price, valid.node_errors)


async def _aside(asked: Submission, work: Callable[[], T]) -> T:
    """Do some work on a graph: at once on a small one, else in a thread."""
    return work() if asked.is_small else await asyncio.to_thread(work)


def _cleaned(asked: Submission) -> tuple[list[str], Any]:
    """Return the keys that were typed into a graph, and the graph without them."""
    require_shallow([asked.prompt, asked.extra])
    typed = typed_keys(asked.prompt)
    return typed, without_secrets(asked.prompt, typed)


def _cleaned_extra(asked: Submission, typed: list[str]) -> Any:
    """Return what came with a graph without keys."""
    return without_secrets(asked.extra, [*typed, *drawn_keys(asked.extra, load_builtin())])


async def _pictures(platform: Platform, account: Account, named: dict[str, str]) -> dict[str, StoredFile]:
    """Return the pictures that names in a graph stand for, as far as there are any."""
    places = {name: picture_place(name, area) for name, area in named.items()}
    return await platform.workspace.files(account, {name: at for name, at in places.items() if at is not None})


async def _key(platform: Platform, account: Account, typed: list[str]) -> tuple[str, bool]:
    """Return the key for the image service that nodes call and whether it is the account's own; "" without one."""
    if not platform.settings.image_service:
        return "", False
    own = typed[0] if typed else await platform.secrets.reveal(account, SECRET_NAME)
    if own:
        return own, True
    return platform.settings.image_service_key or await asyncio.to_thread(_key_file, platform.settings.home), False


def _key_file(home: Path) -> str:
    path = home / KEY_FILE
    return path.read_text("utf-8").strip() if path.is_file() else ""


def _prompt_id(given: str) -> str:
    if not given:
        return str(uuid.uuid4())
    if len(given) > MAX_ID or not given.isprintable():
        raise InvalidRequest(f"prompt_id: must have at most {MAX_ID} printable characters")
    return given


def _client_id(given: str) -> str:
    return given if len(given) <= MAX_ID and given.isprintable() else ""


def _workflow_id(workflow: Any) -> str:
    found = workflow.get("id") if isinstance(workflow, dict) else ""
    return found[:MAX_ID] if isinstance(found, str) and found.isprintable() else ""


def _priority(asked: Submission) -> int:
    """Return a priority within the account; those that name no place come after those before 0."""
    if asked.in_front:
        return MAX_PRIORITY + 1
    return int(max(-MAX_PRIORITY, min(MAX_PRIORITY, -(asked.number or 0))))


def _check_prefixes(graph: dict[str, dict[str, Any]]) -> None:
    """Check that outputs are not to be saved outside the account's own folders.

    Raises:
        GraphInvalid: One is.
    """
    for name, node in graph.items():
        prefix = node["inputs"].get("filename_prefix")
        if not isinstance(prefix, str):
            continue
        try:
            place_of("output", prefix, field="filename_prefix")
        except InvalidInput as error:
            found = {
                "type": "custom_validation_failed",
                "message": "The name is not taken.",
                "details": error.message,
                "extra_info": {"input_name": "filename_prefix", "received_value": prefix[:MAX_ID]},
            }
            told = {"errors": [found], "dependent_outputs": [name], "class_type": node["class_type"]}
            raise GraphInvalid(
                "prompt_outputs_failed_validation", "An output cannot be saved.", node_errors={name: told}
            ) from error

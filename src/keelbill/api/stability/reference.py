"""Writes the reference page of the compatible REST API out of the tables that check requests. Knows no handlers.

``python -m keelbill.api.stability.reference docs/reference/rest-api.md`` writes it; a test fails when it is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from keelbill.api.openai.parameters import SHARED
from keelbill.api.stability.answers import credits_text
from keelbill.api.stability.fields import Choice, Flag, Integer, Number, Parameter, Text
from keelbill.api.stability.services import SERVICES, PictureField, Service
from keelbill.api.stability.sizes import PictureLimits
from keelbill.api.stability.v1_parameters import IMAGE_TO_IMAGE, MASKING, TEXT_TO_IMAGE, UPSCALE, V1_ENGINES
from keelbill.core.sizes import RATIOS, core_size, published_size
from keelbill.ledger.prices import PriceList
from keelbill.prompting.presets import PRESETS
from keelbill.storage.published import DEFAULT_MODEL, PUBLIC_MODELS

_HEAD = """# REST API

<!-- Written by `make docs` from the code; edit the code instead. -->

Keelbill answers the requests that clients of the Stability AI developer platform and of OpenAI's image API send. Change
the host and the key, nothing else. [Use existing clients](../how-to/use-existing-clients.md) shows how. The server
describes itself at `/openapi.json`, and `/docs` shows that as a page.

## Who asks

Send the key as `Authorization: Bearer sk-…`, as `Authorization: sk-…`, or as `X-API-KEY: sk-…`. A key in the address
is refused, because addresses end up in logs. The headers `stability-client-id`, `stability-client-user-id`,
`stability-client-version` and `Organization` are accepted and change nothing.

## What comes back

The services below `/v2beta` take `multipart/form-data` and answer with one picture:

| `Accept` | answer |
|---|---|
| `application/json`, alone or in a list | `{"image": "<base64>", "finish_reason": "SUCCESS", "seed": 1234}` |
| nothing, `*/*`, `image/*` | the picture's bytes, with the headers `finish-reason` and `seed` |
| neither of these | 400 |

`finish_reason` is `SUCCESS`, or `CONTENT_FILTERED` for a picture that the image filter objected to: it is blurred, and
as a rule it costs nothing. Send the `seed` back to get the same picture again. Further headers:

| header | what it says |
|---|---|
| `x-request-id` | names the request, also in the logs and in errors |
| `x-keelbill-model` | which installed model made the picture |
| `x-credits-charged` | what it cost |
| `x-gateway-overhead-ms` | milliseconds that were neither waiting for a turn nor painting |
| `ratelimit-policy`, `ratelimit` | how many requests are left in the window |
| `idempotent-replayed` | `true`: this answers an earlier request with the same `Idempotency-Key` |

## Retries

Send `Idempotency-Key: <1 to 255 visible characters>` with any request that costs. A second request with the same key
and the same content gets the answer of the first one and costs nothing. While the first one still runs, it waits up
to 25 seconds for it, and then gets 409. The same key with other content gets 422. A request that failed leaves its key
free. Without a key, each request is its own and costs again.

## Errors

| family | body |
|---|---|
| `/v2beta`, `/proxy/stability` | `{"id": "…", "name": "bad_request", "errors": ["prompt: required"]}` |
| `/v1` | `{"id": "…", "name": "invalid_prompts", "message": "text_prompts: required"}` |
| `/v1/images`, `/v1/models` | `{"error": {"message": "…", "type": "…", "param": "prompt", "code": "bad_request"}}` |

All problems of a request are named at once.

| status | name | when |
|---|---|---|
| 400 | `bad_request` | a parameter or the content type is wrong |
| 401 | `unauthorized` | no key, or a wrong one |
| 402 | `payment_required` | the balance or a cap is below the price; `/v1` says 429 `insufficient_balance` |
| 403 | `content_moderation`, `permission_denied` | the prompt is refused; the key lacks the scope |
| 404 | `not_found` | no such path, result or engine, or somebody else's |
| 409 | `conflict` | an earlier request with the same `Idempotency-Key` still runs |
| 413 | `payload_too_large` | the body has more than 10 MiB |
| 415 | `unsupported_media_type` | the body is compressed |
| 422 | `unprocessable_entity` | the `Idempotency-Key` was used for something else |
| 429 | `rate_limit_exceeded` | too many requests, or too many that wait; see `Retry-After` |
| 500 | `internal_error` | something failed here; nothing was charged. `/v1` says `server_error` |
| 501 | `not_implemented` | this installation lacks the network for it; nothing was charged |
| 503 | `service_unavailable` | the server is full or going down; see `Retry-After` |

A request that fails is never charged, and neither is one whose prompt is refused.

"""

_POLLING = """## Results of asynchronous services

An asynchronous service answers `{"id": "<64 hex digits>"}` at once. Ask for the result at `GET /v2beta/results/{id}`
(or `GET /v2beta/stable-image/upscale/creative/result/{id}`) with the same key:

| state | answer |
|---|---|
| waiting or running | 202 `{"id": "…", "status": "in-progress"}` |
| done | as above; the JSON has the picture as `image` and as `result` |
| failed | the error, as above |
| unknown, another key's, or over 24 hours old | 404 |

The price is reserved at the start and taken when the picture is there.

"""

_V1 = """## The older API

`POST /v1/generation/{engine}/text-to-image` takes JSON; the other routes take `multipart/form-data`, with prompts as
`text_prompts[0][text]` and `text_prompts[0][weight]`. A prompt with a weight below 0 says what to avoid. The answer is
`{"artifacts": [{"base64": "…", "seed": 123, "finishReason": "SUCCESS"}]}`, or one bare PNG for `Accept: image/png`.
`samples` asks for several pictures: each costs, and either all are paid for or none. A sample costs %s credits up to
30 steps, above that in proportion.

These engines are known; the installed model stands for each: %s.

| path | answer |
|---|---|
| `GET /v1/user/account` | `{"id", "email", "organizations": [{"id", "name", "role", "is_default"}]}` |
| `GET /v1/user/balance` | `{"credits": 25.0}` |
| `GET /v1/engines/list` | `[{"id", "name", "description", "type": "PICTURE"}]` |

"""

_OPENAI = """## OpenAI-style images

`POST /v1/images/generations` takes JSON, `POST /v1/images/edits` takes `multipart/form-data` with `image` (or
`image[]`, of which the first is used) and perhaps a `mask`, whose transparent part is painted anew. Without a mask the
image's own transparent part is painted anew; an image without any is repainted as a whole. The answer is
`{"created": …, "data": [{"b64_json": "…"}]}`. `GET /v1/models` lists the models.

With `response_format` `url` each picture comes as a link instead. Whoever has the link can fetch the picture, without
a key, for one hour.

Other fields of that API are accepted and change nothing. A picture costs what its model costs.

"""

_LONG_LISTS: dict[tuple[str, ...], str] = {
    PRESETS: "[a style](#styles)",
    RATIOS: "[a ratio](#sizes)",
    tuple(PUBLIC_MODELS): "[a model](#models-and-what-they-cost)",
}


def page(prices: PriceList | None = None) -> str:
    """Return the page in Markdown."""
    prices = prices or PriceList.load()
    parts = [_HEAD, *_models(prices), *_sizes(), "## Services\n\n", *(_service(s, prices) for s in SERVICES), _POLLING]
    parts.append(_V1 % (credits_text(prices.price("v1")), ", ".join(f"`{name}`" for name in V1_ENGINES)))
    for title, parameters in (
        ("text-to-image", TEXT_TO_IMAGE),
        ("image-to-image", IMAGE_TO_IMAGE),
        ("image-to-image/masking", MASKING),
        ("image-to-image/upscale", UPSCALE),
    ):
        parts += [f"### {title}\n\n", *_fields(parameters, ())]
    parts += [_OPENAI, *_fields(SHARED, ())]
    return "".join(parts).rstrip() + "\n"


def _models(prices: PriceList) -> Iterator[str]:
    yield "## Models and what they cost\n\n"
    yield "The name decides the price. Where that very model is not installed, the server's default model paints.\n\n"
    yield "| name | credits | stands for |\n|---|---|---|\n"
    for model in PUBLIC_MODELS.values():
        steps = f", {model.steps} steps" if model.steps else ""
        yield f"| `{model.name}` | {credits_text(prices.price(model.name))} | {model.runs}{steps} |\n"
    yield f"\nThe default is `{DEFAULT_MODEL}`.\n\n"


def _sizes() -> Iterator[str]:
    yield "## Sizes\n\n| ratio | size | of core |\n|---|---|---|\n"
    for ratio in RATIOS:
        yield f"| `{ratio}` | {published_size(ratio)} | {core_size(ratio)} |\n"
    yield "\nA picture that starts from an image keeps its shape and gets about 1,048,576 pixels.\n\n"
    yield "## Styles\n\n" + ", ".join(f"`{name}`" for name in PRESETS) + ".\n\n"


def _service(service: Service, prices: PriceList) -> str:
    price = f"{credits_text(prices.price(service.item))} credits" if service.item else "The price of the model"
    kind = ", asynchronous" if service.is_async else ""
    lines = [f"### {service.title}\n\n`POST /v2beta/stable-image/{service.path}`. {price}{kind}.\n\n"]
    if service.missing:
        lines.append(
            f"Answers 501: {service.missing[0].lower()}{service.missing[1:]} The request is checked all the same.\n\n"
        )
    return "".join([*lines, *_fields(service.parameters, service.pictures)])


def _fields(parameters: tuple[Parameter, ...], pictures: tuple[PictureField, ...]) -> Iterator[str]:
    yield "| field | required | accepted | default | what it does |\n|---|---|---|---|---|\n"
    for picture in pictures:
        required = " yes" if picture.required else ""
        yield f"| `{picture.name}` |{required} | {_limits(picture.limits)} | | {picture.about} |\n"
    for parameter in parameters:
        required = "yes" if parameter.required else ""
        default = getattr(parameter, "default", None)
        shown = "" if default in (None, "") else f" `{str(default).lower() if isinstance(default, bool) else default}`"
        yield f"| `{parameter.name}` | {required} | {_accepted(parameter)} |{shown} | {parameter.about} |\n".replace(
            "|  |", "| |"
        )
    yield "\n"


def _accepted(parameter: Parameter) -> str:
    match parameter:
        case Text():
            return f"{parameter.least} to {parameter.most:,} characters"
        case Choice():
            if (names := tuple(parameter.allowed)) in _LONG_LISTS:
                return _LONG_LISTS[names]
            return ", ".join(f"`{word}`" for word in parameter.allowed)
        case Integer():
            step = f", multiples of {parameter.multiple}" if parameter.multiple > 1 else ""
            return f"{parameter.least} to {parameter.most}{step}"
        case Number():
            return f"{parameter.least:g} to {parameter.most:g}"
        case Flag():
            return "`true`, `false`"
        case _:
            return "`auto` or `1024x1024`"


def _limits(limits: PictureLimits) -> str:
    sides = f"from {limits.least_side}" + (f" to {limits.most_side}" if limits.most_side else "")
    shape = ", 1:2.5 to 2.5:1" if limits.shape_limited else ""
    return f"a file; sides {sides}, {limits.least_pixels:,} to {limits.most_pixels:,} pixels{shape}"


def main(path: Path) -> None:
    """Write the page."""
    path.write_text(page(), encoding="utf-8")
    click.echo(f"wrote {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

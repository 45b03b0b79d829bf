"""What ``keelbill doctor --server`` looks at, one finding after the other. Only reads; makes and changes nothing."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Protocol

import httpx

from keelbill import __version__
from keelbill.client import wire
from keelbill.client.accounts import balance_of
from keelbill.client.errors import UnexpectedAnswerError, read_refusal
from keelbill.client.target import Target, has_keelbill_shape, has_typo, stub

BALANCE: Final = "/v1/user/balance"
DEAREST: Final = Decimal("6.5")
SKEW_S: Final = 30.0
CERTIFICATE_DAYS: Final = 14
SAMPLES: Final = 20
SLOW_MS: Final = 1000.0
LONG_WAIT_S: Final = 60.0


class Level(StrEnum):
    """How bad a finding is; only `BROKEN` makes the command fail."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Of the check; the page on troubleshooting has a section of this name.
        level: How bad.
        text: What was found.
        advice: What to do; "" if there is nothing to do.
    """

    name: str
    level: Level
    text: str
    advice: str = ""


@dataclass
class Patient:
    """A server that is looked at, and what is known of it so far."""

    target: Target
    http: httpx.Client
    headers: Mapping[str, str] = field(default_factory=dict)
    is_keelbill: bool = False
    key_works: bool = False
    credits: Decimal | None = None

    def ask(self, path: str, *, with_key: bool = False) -> tuple[httpx.Response, float]:
        """Ask for a path; returns the whole answer and the milliseconds that it took."""
        request = wire.Request("GET", path)
        headers = wire.headers_of(request, self.target, "") if with_key else {"accept": wire.JSON}
        start = time.perf_counter()
        answer = self.http.get(path, headers=headers)
        return answer, (time.perf_counter() - start) * 1000


def examine(target: Target) -> Iterator[Finding]:
    """Look at a server: yields the findings in order and stops where the next ones would make no sense."""
    environment = wire.uses_environment(target)
    with httpx.Client(base_url=target.base_url, timeout=wire.CONNECT_S, trust_env=environment) as http:
        patient = Patient(target, http)
        connection = _connection(patient)
        yield from connection
        if any(finding.level is Level.BROKEN for finding in connection):
            return
        yield _clock(patient)
        yield from _health(patient)
        yield from _key(patient)
        if patient.key_works:
            yield from _account(patient)
        yield _latency(patient)
        yield from _queue(patient)


def _connection(patient: Patient) -> list[Finding]:
    """Connect, and look at the certificate while the line is open."""
    target, start = patient.target, time.perf_counter()
    where = f"{target.base_url} (from {target.url_source})"
    try:
        with patient.http.stream("GET", "/healthz") as answer:
            milliseconds = (time.perf_counter() - start) * 1000
            tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
            answer.read()
    except httpx.HTTPError as error:
        return [_unreachable(error, where)]
    patient.headers = answer.headers
    patient.is_keelbill = answer.status_code == 200 and _table(answer) is not None
    return [Finding("connection", Level.OK, f"{where} answers in {milliseconds:.0f} ms"), _tls(target, tls)]


def _unreachable(error: httpx.HTTPError, where: str) -> Finding:
    if isinstance(error, httpx.TimeoutException):
        text = f"{where} does not answer within {wire.CONNECT_S:g} s"
        return Finding("connection", Level.BROKEN, text, "Look at the address, the port and the firewall.")
    name = "tls" if "certificate" in wire.reason(error) or "TLS" in wire.reason(error) else "connection"
    return Finding(name, Level.BROKEN, f"{where}: {wire.reason(error)}", wire.advice(error))


class _Tls(Protocol):
    """What is needed of an open TLS connection."""

    def getpeercert(self) -> dict[str, object] | None: ...

    def version(self) -> str | None: ...


def _tls(target: Target, tls: _Tls | None) -> Finding:
    if tls is None:
        if target.is_local:
            return Finding("tls", Level.OK, "plain HTTP, which does not leave this machine")
        advice = "Put the server behind HTTPS, and make a new key: this one has travelled in the clear."
        return Finding("tls", Level.NOTE, "plain HTTP: everybody on the way can read the key", advice)
    certificate = tls.getpeercert() or {}
    ends = certificate.get("notAfter")
    if not isinstance(ends, str):
        return Finding("tls", Level.OK, f"{tls.version()}, certificate trusted")
    days = int((ssl.cert_time_to_seconds(ends) - time.time()) // 86_400)
    text = f"{tls.version()}, certificate trusted for another {days} days"
    if days < CERTIFICATE_DAYS:
        return Finding("tls", Level.NOTE, text, "The operator should renew it now.")
    return Finding("tls", Level.OK, text)


def _clock(patient: Patient) -> Finding:
    try:
        theirs = parsedate_to_datetime(patient.headers.get("date", ""))
    except (ValueError, TypeError):
        return Finding("clock", Level.NOTE, "the server does not tell the time")
    skew_s = (datetime.now(UTC) - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds()
    if abs(skew_s) <= SKEW_S:
        return Finding("clock", Level.OK, "both clocks agree")
    ahead = "ahead of" if skew_s > 0 else "behind"
    text = f"this machine is {abs(skew_s):.0f} s {ahead} the server"
    return Finding(
        "clock", Level.NOTE, text, "Set both clocks by the network: certificates and signatures depend on it."
    )


def _health(patient: Patient) -> Iterator[Finding]:
    if not patient.is_keelbill:
        text = "no /healthz: not a Keelbill server, or hidden by a proxy"
        yield Finding("version", Level.NOTE, text, "Nothing to do if it is another Stability-compatible server.")
        return
    yield _version(patient)
    answer, _ = patient.ask("/readyz")
    found = _table(answer) or {}
    names, slower = _names(found.get("failing")), _names(found.get("degraded"))
    if answer.status_code == 503:
        advice = "Wait a moment if it is starting or stopping; else the operator's log says more."
        yield Finding("ready", Level.BROKEN, f"takes no work now: {names or 'it does not say why'}", advice)
    elif slower:
        advice = "Pictures wait until they are back; the operator's log says more."
        yield Finding("ready", Level.NOTE, f"takes work, but not all parts are there: {slower}", advice)
    elif answer.status_code == 200:
        yield Finding("ready", Level.OK, "takes work")
    else:
        yield Finding("ready", Level.NOTE, f"/readyz answers {answer.status_code}", "Perhaps a proxy hides it.")


def _version(patient: Patient) -> Finding:
    answer, _ = patient.ask("/healthz")
    version = (_table(answer) or {}).get("version")
    if not isinstance(version, str):
        return Finding("version", Level.OK, "Keelbill, version not told")
    if version.split(".")[:2] == __version__.split(".")[:2]:
        return Finding("version", Level.OK, f"Keelbill {version}")
    text = f"Keelbill {version}, and this program is {__version__}"
    return Finding("version", Level.NOTE, text, "Bring both to the same version if something does not work.")


def _key(patient: Patient) -> Iterator[Finding]:
    target = patient.target
    shown = f"{stub(target.key)} (from {target.key_source})"
    if not target.key:
        yield Finding("key", Level.BROKEN, "there is none", "Set KEELBILL_API_KEY; the server's keys page makes one.")
        return
    local = _shape(target, shown, patient.is_keelbill)
    if local is not None:
        yield local
    try:
        answer, _ = patient.ask(BALANCE, with_key=True)
    except httpx.HTTPError as error:
        yield Finding("key", Level.BROKEN, f"the line broke: {wire.reason(error)}", wire.advice(error))
        return
    patient.headers = answer.headers
    if answer.is_success:
        patient.key_works = True
        try:
            patient.credits = balance_of(wire.Reply(answer.status_code, answer.headers, answer.content))
        except UnexpectedAnswerError as error:
            advice = "Is this the address of a picture server?"
            yield Finding("key", Level.BROKEN, f"the answer makes no sense: {error.message}", advice)
            return
        yield Finding("key", Level.OK, f"{shown} is valid")
        return
    yield _refused(answer, shown)


def _shape(target: Target, shown: str, is_keelbill: bool) -> Finding | None:
    """Look at a key without the server; only tells what is wrong."""
    if target.is_hosted or not is_keelbill:
        return None
    if has_typo(target.key):
        text = f"{shown} has a typo: its last six characters do not match the others"
        return Finding("key", Level.BROKEN, text, "Copy it again, or make a new one.")
    if not has_keelbill_shape(target.key):
        text = f"{shown} has {len(target.key)} characters; Keelbill's keys are sk- and 48 letters and digits"
        return Finding("key", Level.NOTE, text, "Was a part left out when it was copied?")
    return None


def _refused(answer: httpx.Response, shown: str) -> Finding:
    refusal = read_refusal(answer.status_code, answer.headers, answer.content)
    said = "; ".join(refusal.errors) or f"status {refusal.status}"
    if refusal.status == 401:
        advice = "It was revoked, has run out or belongs to another server: make a new one there."
        return Finding("key", Level.BROKEN, f"{shown} is not known to this server", advice)
    if refusal.status == 403:
        advice = "It may still make pictures; give it the scope account:read to see the balance."
        return Finding("key", Level.NOTE, f"{shown} may not read the balance: {said}", advice)
    if refusal.status == 429:
        wait = f" for {refusal.retry_after_s:g} s" if refusal.retry_after_s is not None else ""
        return Finding("rate limit", Level.BROKEN, f"used up: {said}", f"Stop asking{wait}, then run this again.")
    where = f" (request {refusal.request_id})" if refusal.request_id else ""
    advice = f"The operator finds it in the log{where}."
    return Finding("key", Level.BROKEN, f"could not be checked: {said}", advice)


def _account(patient: Patient) -> Iterator[Finding]:
    if patient.credits is not None:
        text = f"{patient.credits.normalize():f} credits"
        if patient.credits <= 0:
            yield Finding("balance", Level.BROKEN, text, "Add credits, or redeem a voucher.")
        elif patient.credits < DEAREST:
            advice = "Use a cheaper model such as sd3.5-medium, or add credits."
            yield Finding("balance", Level.NOTE, f"{text}, less than one picture of sd3.5-large ({DEAREST})", advice)
        else:
            yield Finding("balance", Level.OK, f"{text}, {int(patient.credits // DEAREST)} pictures of sd3.5-large")
    yield _rate(patient.headers)


def _rate(headers: Mapping[str, str]) -> Finding:
    """Read RateLimit-Policy and RateLimit, in the form of the IETF draft or of its predecessors."""
    policy, state = headers.get("ratelimit-policy", ""), headers.get("ratelimit", "")
    limit, window = _number(policy, "q"), _number(policy, "w")
    left = _number(state, "r")
    if left is None:
        left = _number(f"r={headers.get('ratelimit-remaining', '')}", "r")
    if limit is None:
        limit = _number(f"q={headers.get('ratelimit-limit', '')}", "q")
    if left is None:
        return Finding("rate limit", Level.OK, "the server does not tell one")
    shown = f"{left} requests left" + (f" of {limit}" if limit is not None else "")
    shown += f" in {window} s" if window is not None else ""
    if limit is not None and left * 10 < limit:
        return Finding(
            "rate limit", Level.NOTE, shown, "Something else uses this account at the same time; slow it down."
        )
    return Finding("rate limit", Level.OK, shown)


def _latency(patient: Patient) -> Finding:
    path = BALANCE if patient.key_works else "/healthz"
    times: list[float] = []
    for _ in range(SAMPLES):
        try:
            answer, milliseconds = patient.ask(path, with_key=patient.key_works)
        except httpx.HTTPError as error:
            text = f"request {len(times) + 1} of {SAMPLES} failed: {wire.reason(error)}"
            return Finding("latency", Level.BROKEN, text, "The line or the server is unstable.")
        times.append(milliseconds)
        if answer.status_code == 429:
            break
    ordered = sorted(times)
    middle, late = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
    text = f"p50 {middle:.1f} ms, p95 {late:.1f} ms over {len(times)} small requests"
    if late > SLOW_MS:
        return Finding("latency", Level.NOTE, text, "The network is slow or the server is busy.")
    return Finding("latency", Level.OK, text)


def _queue(patient: Patient) -> Iterator[Finding]:
    """Tell of the queue where the server does."""
    answer, _ = patient.ask("/api/status")
    queue = (_table(answer) or {}).get("queue") if answer.status_code == 200 else None
    if not isinstance(queue, dict):
        return
    jobs, wait = queue.get("jobs"), queue.get("wait_s")
    if not isinstance(jobs, int) or not isinstance(wait, int | float):
        return
    text = f"{jobs} jobs wait; a new one would start in about {wait:.0f} s"
    long = wait > LONG_WAIT_S
    yield Finding("queue", Level.NOTE if long else Level.OK, text, "Come back later, or add workers." if long else "")


def _names(value: object) -> str:
    return ", ".join(str(name) for name in value) if isinstance(value, list) else ""


def _table(answer: httpx.Response) -> dict[str, object] | None:
    try:
        found = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _number(text: str, name: str) -> int | None:
    found = re.search(rf"(?:^|[;,\s]){name}=(\d{{1,12}})\b", text)
    return int(found[1]) if found else None

"""A double of the part of Stripe's API that sells credits: a real HTTP server that keeps what it is told.

The double of Stripe that the tests use elsewhere knows no checkout pages, so this one does. It also signs messages.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest

SECRET = "whsec_of_the_tests"


@dataclass
class StripeDouble:
    """What the double knows.

    Attributes:
        calls: Method and path of each request.
        sessions: Checkout pages by id.
        refunds: What was given back.
        intents: Automatic payments.
        answers: Idempotency keys with what they were answered.
        declines: Whether cards are declined from now on.
    """

    url: str = ""
    calls: list[str] = field(default_factory=list)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: list[dict[str, str]] = field(default_factory=list)
    intents: list[dict[str, str]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    declines: bool = False
    events: int = 0

    def pay(self, session_id: str) -> dict[str, Any]:
        """Let the buyer pay; returns the session as Stripe would send it."""
        session = self.sessions[session_id]
        session.update(payment_status="paid", status="complete", payment_intent=f"pi_{session_id}", customer="cus_1")
        return session

    def message(self, kind: str, subject: dict[str, Any], *, age_s: int = 0) -> tuple[bytes, dict[str, str]]:
        """Return a signed message: its body and headers."""
        self.events += 1
        event = {"id": f"evt_{self.events}", "object": "event", "type": kind, "data": {"object": subject}}
        body = json.dumps(event).encode()
        moment = int(time.time()) - age_s
        digest = hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return body, {"Stripe-Signature": f"t={moment},v1={digest}"}

    def answer(self, method: str, path: str, form: dict[str, str], key: str) -> tuple[int, Any]:
        """Act on a request."""
        self.calls.append(f"{method} {path}")
        if key and key in self.answers:
            return 200, self.answers[key]
        status, said = self._act(method, path, form)
        if key and status == 200:
            self.answers[key] = said
        return status, said

    def _act(self, method: str, path: str, form: dict[str, str]) -> tuple[int, Any]:
        if (method, path) == ("POST", "/v1/checkout/sessions"):
            number = f"cs_{len(self.sessions) + 1}"
            amount = int(form["line_items[0][price_data][unit_amount]"]) * int(form["line_items[0][quantity]"])
            self.sessions[number] = {
                "id": number,
                "object": "checkout.session",
                "url": f"https://checkout.example/{number}",
                "payment_status": "unpaid",
                "amount_total": amount,
                "currency": form["line_items[0][price_data][currency]"],
                "client_reference_id": form["client_reference_id"],
                "metadata": {"org_id": form["metadata[org_id]"]},
                "mode": form["mode"],
                "success_url": form["success_url"],
                "cancel_url": form["cancel_url"],
            }
            return 200, self.sessions[number]
        if method == "GET" and path.startswith("/v1/checkout/sessions/"):
            return 200, self.sessions[path.rpartition("/")[2]]
        if self.declines and method == "POST":
            return 402, {"error": {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}}
        if (method, path) == ("POST", "/v1/refunds"):
            self.refunds.append(form)
            return 200, {"id": f"re_{len(self.refunds)}", "object": "refund", "status": "succeeded"}
        if (method, path) == ("GET", "/v1/payment_methods"):
            return 200, {"object": "list", "data": [{"id": "pm_1", "object": "payment_method"}], "has_more": False}
        if (method, path) == ("POST", "/v1/payment_intents"):
            self.intents.append(form)
            return 200, {"id": f"pi_{len(self.intents)}", "object": "payment_intent", "status": "succeeded"}
        return 404, {"error": {"type": "invalid_request_error", "message": f"no {path}"}}


@pytest.fixture
def stripe_double() -> Iterator[StripeDouble]:
    """A double of Stripe that listens on a free port."""
    with running_double() as double:
        yield double


@contextmanager
def running_double() -> Iterator[StripeDouble]:
    """Let a double of Stripe listen on a free port."""
    double = StripeDouble()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET")

        def do_POST(self) -> None:
            self._reply("POST")

        def log_message(self, *_: object) -> None:
            pass

        def _reply(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            path = self.path.partition("?")[0]
            key = self.headers.get("idempotency-key") or ""
            status, said = double.answer(method, path, dict(parse_qsl(body)), key)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield double
    server.shutdown()
    server.server_close()
    thread.join()

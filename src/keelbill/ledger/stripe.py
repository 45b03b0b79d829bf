"""Stripe: checkout pages, signed messages, refunds, automatic purchases. The only module that loads its library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from keelbill.ledger.errors import BadSignature, ProviderFailed, ProviderUnreachable
from keelbill.ledger.providers import Checkout, Order, ProviderEvent, Step

if TYPE_CHECKING:
    from stripe import StripeClient

TOLERANCE_S = 300
TIMEOUT_S = 10

_SESSION_STEPS: dict[str, Step] = {
    "checkout.session.completed": "paid",
    "checkout.session.async_payment_succeeded": "paid",
    "checkout.session.async_payment_failed": "failed",
    "checkout.session.expired": "expired",
}


class Stripe:
    """Stripe as a payment provider.

    Args:
        secret_key: Of the account.
        webhook_secret: That signs messages to us.
        api_base: Another address of the API, for tests.
    """

    name = "stripe"

    def __init__(self, secret_key: str, webhook_secret: str, api_base: str = "") -> None:
        self._secret_key = secret_key
        self._webhook_secret = webhook_secret
        self._api_base = api_base

    def create_checkout(self, order: Order, success_url: str, cancel_url: str) -> Checkout:
        """Open a Checkout Session in payment mode; the card may be used again for automatic purchases."""
        session = self._ask(
            lambda: self._client.v1.checkout.sessions.create(
                {
                    "mode": "payment",
                    "client_reference_id": order.payment_id,
                    "customer_creation": "always",
                    "payment_intent_data": {"setup_future_usage": "off_session"},
                    "metadata": {"org_id": order.org_id, "payment_id": order.payment_id},
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": order.currency,
                                "unit_amount": order.money_minor,
                                "product_data": {"name": order.description},
                            },
                        }
                    ],
                    "success_url": success_url,
                    "cancel_url": cancel_url,
                },
                {"idempotency_key": order.payment_id},
            )
        )
        return Checkout(url=session.url or "", ref=session.id)

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        """Check the signature over the raw bytes, no older than 300 seconds, and read the message."""
        import stripe

        signature = {name.lower(): value for name, value in headers.items()}.get("stripe-signature", "")
        try:
            stripe.WebhookSignature.verify_header(body.decode(), signature, self._webhook_secret, TOLERANCE_S)
            return self.parse_event(body.decode())
        except (stripe.SignatureVerificationError, UnicodeDecodeError, ValueError, KeyError) as error:
            raise BadSignature("stripe-signature: it does not belong to this message.") from error

    def parse_event(self, body: str) -> ProviderEvent:
        """Read a message whose signature was checked when it arrived."""
        event: dict[str, Any] = json.loads(body)
        kind, subject = str(event["type"]), event["data"]["object"]
        if kind in _SESSION_STEPS:
            return _session_event(str(event["id"]), kind, subject)
        step: Step = "other"
        money = 0
        charge = str(subject.get("payment_intent") or "")
        if kind == "charge.refunded":
            step, money = "refunded", int(subject["amount_refunded"])
        elif kind == "charge.dispute.created":
            step, money = "disputed", int(subject["amount"])
        return ProviderEvent(str(event["id"]), kind, step, "", charge, money, str(subject.get("currency") or ""))

    def look_up(self, checkout_ref: str) -> ProviderEvent:
        """Ask how a Checkout Session stands."""
        session = self._ask(lambda: self._client.v1.checkout.sessions.retrieve(checkout_ref))
        return _session_event("", "checkout.session.completed", json.loads(str(session)))

    def refund(self, charge_ref: str, money_minor: int, key: str) -> None:
        """Give money back."""
        self._ask(
            lambda: self._client.v1.refunds.create(
                {"payment_intent": charge_ref, "amount": money_minor}, {"idempotency_key": key}
            )
        )

    def charge_again(self, customer_ref: str, order: Order) -> str:
        """Collect from the card that a customer left."""
        cards = self._ask(
            lambda: self._client.v1.payment_methods.list({"customer": customer_ref, "type": "card", "limit": 1})
        )
        if not cards.data:
            raise ProviderFailed("stripe: the customer has no card on file.")
        intent = self._ask(
            lambda: self._client.v1.payment_intents.create(
                {
                    "amount": order.money_minor,
                    "currency": order.currency,
                    "customer": customer_ref,
                    "payment_method": cards.data[0].id,
                    "off_session": True,
                    "confirm": True,
                    "metadata": {"org_id": order.org_id, "payment_id": order.payment_id},
                },
                {"idempotency_key": order.payment_id},
            )
        )
        if intent.status != "succeeded":
            raise ProviderFailed(f"stripe: the payment is {intent.status}.")
        return str(intent.id)

    @cached_property
    def _client(self) -> StripeClient:
        import stripe

        bases: Any = {"api": self._api_base.rstrip("/")} if self._api_base else None
        return stripe.StripeClient(
            self._secret_key,
            base_addresses=bases,
            max_network_retries=2,
            http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
        )

    @staticmethod
    def _ask(call: Any) -> Any:
        import stripe

        try:
            return call()
        except stripe.APIConnectionError as error:
            raise ProviderUnreachable("stripe: it does not answer.") from error
        except stripe.StripeError as error:
            raise ProviderFailed(f"stripe: {error.user_message or type(error).__name__}") from error


def _session_event(event_id: str, kind: str, session: Mapping[str, Any]) -> ProviderEvent:
    step = _SESSION_STEPS[kind]
    if step == "paid" and session.get("payment_status") != "paid":
        step = "other"  # a bank transfer is still under way; another message will follow
    return ProviderEvent(
        id=event_id,
        type=kind,
        step=step,
        checkout_ref=str(session["id"]),
        charge_ref=str(session.get("payment_intent") or ""),
        money_minor=int(session.get("amount_total") or 0),
        currency=str(session.get("currency") or ""),
        customer_ref=str(session.get("customer") or ""),
    )

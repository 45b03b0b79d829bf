"""What can go wrong with webhooks. Knows no tables."""

from __future__ import annotations

from keelbill.core.errors import AppError, InvalidRequest, NotFound


class ForbiddenAddress(InvalidRequest):
    """The URL of a webhook, or an address that its name stands for, may not be called."""


class NoSuchWebhook(NotFound):
    """There is no such webhook or delivery, or it belongs to somebody else."""


class WebhooksOff(NotFound):
    """This installation does not call anybody."""


class SecretLost(AppError):
    """The secret that signs cannot be opened: the server's own secret is another one than when it was sealed."""

    code = "webhook_secret_lost"
    status = 500


class CallFailed(AppError):
    """The receiver could not be reached or did not answer in time."""

    code = "webhook_call_failed"
    status = 502

"""Messages are signed as Standard Webhooks says; a receiver notices every change."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.webhooks.signatures import headers, is_authentic, new_secret, sign

BODY = b'{"type":"job.succeeded"}'


def test_the_published_formula() -> None:
    key = b"0123456789abcdef01234567"
    secret = "whsec_" + base64.b64encode(key).decode()
    digest = hmac.new(key, b"msg_1.1700000000." + BODY, hashlib.sha256).digest()
    assert sign(secret, "msg_1", 1_700_000_000, BODY) == "v1," + base64.b64encode(digest).decode()


def test_the_example_of_the_standard() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_accepts_what_is_ours() -> None:
    secret = new_secret()
    sent = headers((secret,), "m", 1000, BODY)
    assert is_authentic(secret, sent, BODY, now_s=1100)
    rotated = {**sent, "webhook-signature": "v1,AAAA " + sent["webhook-signature"]}
    assert is_authentic(secret, rotated, BODY, now_s=1000), "one of several signatures is enough"


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "signature", "secret", "old", "early", "none"])
def test_a_receiver_refuses_what_was_changed(change: str) -> None:
    secret = new_secret()
    sent = headers((secret,), "m", 1000, BODY)
    body, now_s = BODY, 1000
    if change == "body":
        body = BODY + b" "
    elif change == "secret":
        secret = new_secret()
    elif change in ("old", "early"):
        now_s = 1301 if change == "old" else 699
    elif change == "none":
        sent = {}
    else:
        sent[f"webhook-{change}"] = {"id": "n", "timestamp": "1001", "signature": "v1,é"}[change]
    assert not is_authentic(secret, sent, body, now_s=now_s)


def test_secrets_differ_and_have_192_bits() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 24


def test_malformed_secret() -> None:
    with pytest.raises(InvalidInput):
        sign("whsec_%%%", "m", 1, BODY)

"""Answers that are no success, and lines that break: every one has its exception, on a real socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from keelbill import client as sdk
from keelbill.client import Client, KeelbillError, Retries
from keelbill.client.errors import read_refusal, read_retry_after
from support.apidouble import KEY, OTHER_MAKER_KEY, ApiDouble, Scripted

ONCE = Retries(attempts=1)


@pytest.fixture
def impatient(double: ApiDouble) -> Iterator[Client]:
    """A client that tries once."""
    with Client(KEY, double.base_url, retries=ONCE, timeout_s=5) as made:
        yield made


def v2(name: str, *errors: str) -> dict[str, object]:
    return {"id": "a" * 32, "name": name, "errors": list(errors)}


class TestStatuses:
    @pytest.mark.parametrize(
        ("status", "name", "kind", "can_retry"),
        [
            (400, "bad_request", sdk.BadRequestError, False),
            (401, "unauthorized", sdk.AuthenticationError, False),
            (402, "payment_required", sdk.InsufficientCreditsError, False),
            (403, "content_moderation", sdk.ModerationError, False),
            (403, "permission_denied", sdk.PermissionDeniedError, False),
            (404, "not_found", sdk.NotFoundError, False),
            (409, "conflict", sdk.ConflictError, False),
            (413, "payload_too_large", sdk.TooLargeError, False),
            (422, "invalid_language", sdk.UnprocessableError, False),
            (429, "rate_limit_exceeded", sdk.RateLimitError, True),
            (500, "internal_error", sdk.ServerError, False),
            (501, "not_implemented", sdk.NotInstalledError, False),
            (503, "service_unavailable", sdk.UnavailableError, True),
            (418, "teapot", sdk.UnexpectedAnswerError, False),
        ],
    )
    def test_each_has_its_exception(
        self, double: ApiDouble, impatient: Client, status: int, name: str, kind: type[KeelbillError], can_retry: bool
    ) -> None:
        double.script = [Scripted(status, v2(name, "one: is wrong", "two: is missing"), {"x-request-id": "r1"})]
        with pytest.raises(KeelbillError) as caught:
            impatient.generate("a cat")
        error = caught.value
        assert type(error) is kind
        assert (error.status, error.name, error.request_id) == (status, name, "r1")
        assert error.errors == error.problems == ("one: is wrong", "two: is missing")
        assert str(error).startswith("one: is wrong; two: is missing")
        assert str(error).endswith(f"[{status} {name}, request r1]")
        assert error.can_retry is can_retry

    def test_too_few_credits_on_v1(self, double: ApiDouble, impatient: Client) -> None:
        double.script = [Scripted(429, {"id": "x", "name": "insufficient_balance", "message": "Too few credits."})]
        with pytest.raises(sdk.InsufficientCreditsError, match=r"Too few credits\. Nothing was charged\.") as caught:
            impatient.engines()
        assert not caught.value.can_retry

    def test_an_openai_style_body(self) -> None:
        body = b'{"error": {"message": "No.", "type": "invalid_request_error", "param": null, "code": "bad"}}'
        found = read_refusal(400, {}, body)
        assert (found.name, found.errors) == ("bad", ("No.",))

    @pytest.mark.parametrize(
        "body", [b"", b"<html>502</html>", b"[]", b"null", b'{"errors": 5}', b"\xff", b"[" * 99_999]
    )
    def test_a_proxy_that_says_nothing_useful(self, double: ApiDouble, impatient: Client, body: bytes) -> None:
        double.script = [Scripted(500, body)]
        with pytest.raises(sdk.ServerError, match="The server answered with status 500 and no explanation"):
            impatient.balance()

    def test_a_redirect_is_not_followed_with_the_key(self, double: ApiDouble, impatient: Client) -> None:
        double.script = [Scripted(301, b"", {"location": "https://elsewhere.example.org/"})]
        with pytest.raises(sdk.UnexpectedAnswerError, match=r"Use the address https://elsewhere\.example\.org/ itself"):
            impatient.balance()
        assert len(double.asked) == 1

    def test_moderation_by_a_server_that_means_it(self, client: Client) -> None:
        with pytest.raises(sdk.ModerationError, match="prompt: refused"):
            client.generate("something forbidden")


class TestAnswersOfSomethingElse:
    @pytest.mark.parametrize(
        "body", [b"<html>Welcome</html>", b"{}", b"[1]", b'{"credits": "many"}', b'{"credits": true}']
    )
    def test_no_balance(self, double: ApiDouble, impatient: Client, body: bytes) -> None:
        double.script = [Scripted(200, body)]
        with pytest.raises(sdk.UnexpectedAnswerError, match="The answer "):
            impatient.balance()

    def test_no_picture(self, double: ApiDouble, impatient: Client) -> None:
        double.script = [Scripted(200, {"image": "abc"})]
        with pytest.raises(sdk.UnexpectedAnswerError, match=r"is no picture \(content-type application/json"):
            impatient.generate("a cat")

    def test_no_engines(self, double: ApiDouble, impatient: Client) -> None:
        double.script = [Scripted(200, {"engines": []}), Scripted(200, b"[5]")]
        for _ in range(2):
            with pytest.raises(sdk.UnexpectedAnswerError):
                impatient.engines()

    def test_no_id_of_a_job(self, double: ApiDouble, impatient: Client, picture: bytes) -> None:
        double.script = [Scripted(200, {"id": "../../etc"})]
        with pytest.raises(sdk.UnexpectedAnswerError, match="holds no id"):
            impatient.upscale_creative(picture, "a cat")


class TestLines:
    def test_nothing_listens(self) -> None:
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        with (
            Client(KEY, f"http://127.0.0.1:{port}", retries=ONCE) as client,
            pytest.raises(
                sdk.ConnectionFailedError, match=r"nothing listens there\. Start the server with `keelbill serve`"
            ),
        ):
            client.balance()

    def test_no_such_host(self) -> None:
        with (
            Client(KEY, "http://nowhere.invalid", retries=ONCE, timeout_s=5) as client,
            pytest.raises(sdk.ConnectionFailedError, match=r"Cannot connect to nowhere\.invalid"),
        ):
            client.balance()

    def test_plain_http_where_tls_is_expected(self, double: ApiDouble) -> None:
        address = double.base_url.replace("http://", "https://")
        with (
            Client(KEY, address, retries=ONCE) as client,
            pytest.raises(sdk.ConnectionFailedError, match="it does not speak TLS"),
        ):
            client.balance()

    def test_the_line_breaks_before_the_answer(self, double: ApiDouble, impatient: Client) -> None:
        double.script = [Scripted(drop=True)]
        with pytest.raises(sdk.ConnectionFailedError, match="broke before the answer was complete") as caught:
            impatient.generate("a cat")
        assert caught.value.can_retry

    def test_the_line_breaks_within_the_answer(self, double: ApiDouble, impatient: Client) -> None:
        double.script = [Scripted(200, b"x" * 1000, {"content-type": "image/png"}, drop=True)]
        with pytest.raises(sdk.ConnectionFailedError, match="broke before the answer was complete"):
            impatient.generate("a cat")

    def test_a_silent_server(self, double: ApiDouble) -> None:
        double.script = [Scripted(delay_s=1.0)]
        with (
            Client(KEY, double.base_url, retries=ONCE, timeout_s=0.2) as client,
            pytest.raises(sdk.DeadlineExceededError, match=r"No complete answer within 0\.2 s"),
        ):
            client.generate("a cat")

    def test_a_server_that_sends_a_byte_now_and_then(self, double: ApiDouble) -> None:
        double.script = [Scripted(200, b"x" * 1000, {"content-type": "image/png"}, chunk_s=0.05)]
        start = time.monotonic()
        with (
            Client(KEY, double.base_url, retries=ONCE, timeout_s=0.4) as client,
            pytest.raises(sdk.DeadlineExceededError),
        ):
            client.generate("a cat")
        assert time.monotonic() - start < 30

    def test_an_endless_answer(self, double: ApiDouble, impatient: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.client.wire.MAX_ANSWER_BYTES", 100)
        double.script = [Scripted(200, b"x" * 1000, {"content-type": "image/png"})]
        with pytest.raises(sdk.UnexpectedAnswerError, match="larger than 100 bytes"):
            impatient.generate("a cat")


class TestRetryAfter:
    @pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), (" 0 ", 0.0), ("", None), ("soon", None), ("-1", None)])
    def test_seconds(self, text: str, seconds: float | None) -> None:
        assert read_retry_after(text) == seconds

    def test_a_date_counts_from_the_servers_clock(self) -> None:
        now, later = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT"
        assert read_retry_after(later, now) == 30
        assert read_retry_after(now, later) == 0


def test_sentence_and_advice_are_apart(double: ApiDouble) -> None:
    double.script = [Scripted(401, v2("unauthorized", "authorization: invalid or missing header value"))]
    client = Client(OTHER_MAKER_KEY, double.base_url, retries=ONCE, check_key=False)
    with client, pytest.raises(sdk.AuthenticationError, match=r"header value\. Look for a typo"):
        client.balance()


def test_the_key_is_in_no_exception(double: ApiDouble) -> None:
    double.script = [Scripted(401, v2("unauthorized", "authorization: invalid")), Scripted(drop=True), Scripted(500)]
    with Client(OTHER_MAKER_KEY, double.base_url, retries=ONCE, check_key=False) as client:
        for _ in range(3):
            with pytest.raises(KeelbillError) as caught:
                client.balance()
            assert OTHER_MAKER_KEY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"

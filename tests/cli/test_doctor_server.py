"""``keelbill doctor --server``: each thing that can be wrong, with what to do; then a server where all is well."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelbill.cli import _remote_checks
from keelbill.cli._remote_checks import Level, examine
from keelbill.client.target import Target
from support.apidouble import KEY, OTHER_MAKER_KEY, ApiDouble, Scripted, api_double
from support.commandline import Outcome, Run
from support.server import LiveServer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "troubleshooting.md"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiDouble]:
    """A healthy server, with its key in the environment."""
    monkeypatch.delenv("STABILITY_API_KEY", raising=False)
    monkeypatch.setenv("KEELBILL_API_KEY", KEY)
    with api_double(ApiDouble()) as running:
        yield running


def certificate(folder: Path, days: int) -> Path:
    """Write a certificate for this machine that is its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(secret + made.public_bytes(pem))
    return path


def lines(outcome: Outcome) -> dict[str, str]:
    """Return what was said of each check: its level and all of its sentences."""
    assert KEY not in outcome.out + outcome.err
    found: dict[str, str] = {}
    for level, name, text in re.findall(r"^(ok|note|broken) +([a-z ]+?)  +(.+(?:\n +-> .+)?)$", outcome.out, re.M):
        found[name] = f"{found.get(name, '')}{level}: {text}\n"
    return found


class TestNoLine:
    def test_nothing_listens(self, run: Run, double: ApiDouble) -> None:
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        outcome = run("doctor", "--server", f"localhost:{port}")
        assert outcome.code == 1
        assert lines(outcome) == {
            "connection": f"broken: http://localhost:{port} (from argument): nothing listens there\n"
            f"{'':19} -> Start the server with `keelbill serve`, or correct host and port.\n"
        }
        assert "Broken: connection." in outcome.out

    def test_no_such_host(self, run: Run, double: ApiDouble) -> None:
        outcome = run("doctor", "--server", "nowhere.invalid")
        assert outcome.code == 1
        assert lines(outcome)["connection"].startswith("broken: https://nowhere.invalid (from argument): ")

    def test_no_answer(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.client.wire.CONNECT_S", 0.2)
        double.script = [Scripted(delay_s=1)]
        assert "does not answer within 0.2 s" in lines(run("doctor", "--server", double.base_url))["connection"]

    def test_the_line_breaks_later(self, run: Run, double: ApiDouble) -> None:
        double.script = [Scripted(200, {"status": "ok"}), Scripted(drop=True)]
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "the line broke" in lines(outcome)["connection"]

    def test_no_address(self, run: Run) -> None:
        assert "base_url: " in run("doctor", "--server", "ftp://a").sentence

    def test_a_key_without_a_server(self, run: Run) -> None:
        assert "must be given together with server." in run("doctor", "--key", KEY).sentence


class TestTls:
    def test_http_where_tls_is_expected(self, run: Run, double: ApiDouble) -> None:
        outcome = run("doctor", "--server", double.base_url.replace("http://", "https://"))
        assert outcome.code == 1
        assert "it does not speak TLS" in lines(outcome)["tls"]
        assert "Write http:// in place of https://" in lines(outcome)["tls"]

    def test_a_certificate_of_nobody(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_API_KEY", KEY)
        with api_double(ApiDouble(), certificate(tmp_path, 90)) as double:
            outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "its certificate is not trusted" in lines(outcome)["tls"]
        assert "SSL_CERT_FILE" in lines(outcome)["tls"]

    @pytest.mark.parametrize(("days", "level"), [(90, "ok"), (3, "note")])
    def test_a_certificate_that_is_trusted(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, level: str
    ) -> None:
        path = certificate(tmp_path, days)
        monkeypatch.setenv("KEELBILL_API_KEY", KEY)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with api_double(ApiDouble(), path) as double:
            found = lines(run("doctor", "--server", double.base_url))
        assert found["tls"].startswith(f"{level}: TLSv1.3, certificate trusted for another {days} days\n")
        assert ("should renew it now" in found["tls"]) is (level == "note")

    def test_plain_http_to_another_machine(self) -> None:
        finding = _remote_checks._tls(Target("http://pictures.example.org", KEY), None)
        assert finding.level is Level.NOTE
        assert "everybody on the way can read the key" in finding.text


class TestServer:
    @pytest.mark.parametrize(("seconds", "sentence"), [(3600, "behind the server"), (-90, "ahead of the server")])
    def test_clocks_that_differ(self, run: Run, double: ApiDouble, seconds: int, sentence: str) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        double.extra = {"date": format_datetime(moment, usegmt=True)}
        assert sentence in lines(run("doctor", "--server", double.base_url))["clock"]

    def test_it_takes_no_work(self, run: Run, double: ApiDouble) -> None:
        double.ready = (503, {"status": "failing", "failing": ["disk", "database"]})
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "takes no work now: disk, database" in lines(outcome)["ready"]
        assert outcome.out.endswith("has a section for each of these words.\n")

    def test_it_takes_work_and_has_no_workers(self, run: Run, double: ApiDouble) -> None:
        double.ready = (200, {"status": "degraded", "failing": [], "degraded": ["workers"]})
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 0
        assert lines(outcome)["ready"].startswith("note: takes work, but not all parts are there: workers")

    def test_another_version(self, run: Run, double: ApiDouble) -> None:
        double.health = {"status": "ok", "version": "9.9.0"}
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 0
        assert "note: Keelbill 9.9.0, and this program is" in lines(outcome)["version"]

    def test_another_kind_of_server(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_API_KEY", OTHER_MAKER_KEY)
        double.health = None
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 0
        found = lines(outcome)
        assert "not a Keelbill server" in found["version"]
        assert "ready" not in found
        assert found["key"].startswith("ok: ")

    def test_a_long_queue(self, run: Run, double: ApiDouble) -> None:
        double.status = {"queue": {"jobs": 70, "wait_s": 123.4}}
        assert (
            "note: 70 jobs wait; a new one would start in about 123 s"
            in lines(run("doctor", "--server", double.base_url))["queue"]
        )

    def test_a_slow_server(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_remote_checks, "SLOW_MS", 0.0)
        assert lines(run("doctor", "--server", double.base_url))["latency"].startswith("note: p50 ")


class TestKeys:
    def test_none(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEELBILL_API_KEY")
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "broken: There is no API key" in lines(outcome)["key"]
        assert "latency" in lines(outcome), "the rest is looked at all the same"

    def test_a_typo(self, run: Run, double: ApiDouble) -> None:
        outcome = run("doctor", "--server", double.base_url, "--key", KEY[:9] + "0" + KEY[10:])
        assert outcome.code == 1
        assert "its last six characters do not match the others" in lines(outcome)["key"]

    def test_a_part_is_missing(self, run: Run, double: ApiDouble) -> None:
        found = lines(run("doctor", "--server", double.base_url, "--key", KEY[:40]))
        assert "has 40 characters; Keelbill's keys are sk- and 48 letters and digits" in found["key"]
        assert "is not known to this server" in found["key"]

    def test_spaces(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_API_KEY", f'"{KEY}" ')
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 0
        assert "The API key (KEELBILL_API_KEY) had spaces, quotes" in lines(outcome)["key"]
        assert "(from KEELBILL_API_KEY) is valid" in lines(outcome)["key"]

    def test_a_key_of_another_server(self, run: Run, double: ApiDouble) -> None:
        double.keys.clear()
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "is not known to this server" in lines(outcome)["key"]
        assert "balance" not in lines(outcome)

    @pytest.mark.parametrize(
        ("status", "code", "sentence"),
        [
            (403, 0, "may not read the balance: no scope"),
            (500, 1, "could not be checked: no scope"),
        ],
    )
    def test_other_refusals(self, run: Run, double: ApiDouble, status: int, code: int, sentence: str) -> None:
        fine = Scripted(200, {"status": "ok", "version": "0.1.0"})
        double.script = [fine, fine, fine, Scripted(status, {"name": "x", "errors": ["no scope"]})]
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == code
        assert sentence in lines(outcome)["key"]

    def test_a_balance_that_makes_no_sense(self, run: Run, double: ApiDouble) -> None:
        double.credits = "much"
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "the answer makes no sense" in lines(outcome)["key"]


class TestAccount:
    @pytest.mark.parametrize(
        ("credits", "code", "sentence"),
        [
            ("0", 1, "broken: 0 credits"),
            ("6.4", 0, "note: 6.4 credits, less than one picture of sd3.5-large (6.5)"),
            ("25.0", 0, "ok: 25 credits, 3 pictures of sd3.5-large"),
        ],
    )
    def test_balances(self, run: Run, double: ApiDouble, credits: str, code: int, sentence: str) -> None:  # noqa: A002
        double.credits = credits
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == code
        assert lines(outcome)["balance"].startswith(sentence)

    @pytest.mark.parametrize(
        ("headers", "sentence"),
        [
            ({}, "ok: the server does not tell one"),
            (
                {"ratelimit-policy": '"default";q=150;w=10', "ratelimit": '"default";r=149;t=3'},
                "ok: 149 requests left of 150 in 10 s",
            ),
            ({"ratelimit-limit": "150", "ratelimit-remaining": "3"}, "note: 3 requests left of 150"),
        ],
    )
    def test_limits(self, run: Run, double: ApiDouble, headers: dict[str, str], sentence: str) -> None:
        double.extra = headers
        assert lines(run("doctor", "--server", double.base_url))["rate limit"].startswith(sentence)

    def test_a_limit_that_is_used_up(self, run: Run, double: ApiDouble) -> None:
        fine = Scripted(200, {"status": "ok"})
        busy = Scripted(429, {"name": "rate_limit_exceeded", "errors": ["too many"]}, {"retry-after": "7"})
        double.script = [fine, fine, fine, busy]
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 1
        assert "Stop asking for 7 s" in lines(outcome)["rate limit"]


class TestAllIsWell:
    def test_every_check_in_order(self, run: Run, double: ApiDouble) -> None:
        double.status = {"queue": {"jobs": 0, "wait_s": 0}}
        outcome = run("doctor", "--server", double.base_url)
        assert outcome.code == 0
        names = ["connection", "tls", "clock", "version", "ready", "key", "balance", "rate limit", "latency", "queue"]
        assert list(lines(outcome)) == names
        assert outcome.out.endswith("\nEverything works.\n")

    def test_it_makes_nothing_and_asks_little(self, double: ApiDouble) -> None:
        assert all(finding.level is Level.OK for finding in examine(Target(double.base_url, KEY)))
        assert {asked.method for asked in double.asked} == {"GET"}
        assert len(double.asked) < 30

    def test_the_page_has_a_section_for_every_check(self, double: ApiDouble) -> None:
        double.status = {"queue": {"jobs": 0, "wait_s": 0}}
        text = PAGE.read_text(encoding="utf-8")
        for finding in examine(Target(double.base_url, KEY)):
            assert f"\n## {finding.name}\n" in text


class TestTheRealServer:
    def test_all_is_well(self, run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
        server.set_balance("25")
        monkeypatch.setenv("KEELBILL_API_KEY", server.key)
        outcome = run("doctor", "--server", server.url)
        assert outcome.code == 0, outcome.out
        found = {name: sentence.partition(": ")[0] for name, sentence in lines(outcome).items() if name != "latency"}
        assert found == dict.fromkeys(
            ["connection", "tls", "clock", "version", "ready", "key", "balance", "rate limit", "queue"], "ok"
        )
        assert "25 credits, 3 pictures" in lines(outcome)["balance"]
        assert " requests left of 100000 in 10 s" in lines(outcome)["rate limit"]
        assert "0 jobs wait" in lines(outcome)["queue"]
        assert server.key not in outcome.out

    def test_a_revoked_or_foreign_key(self, run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_API_KEY", KEY)
        outcome = run("doctor", "--server", server.url)
        assert outcome.code == 1
        assert "is not known to this server" in lines(outcome)["key"]

    def test_a_key_that_may_not_read_the_balance(
        self, run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEELBILL_API_KEY", server.new_key(("generate",)))
        outcome = run("doctor", "--server", server.url)
        assert outcome.code == 0
        assert "may not read the balance" in lines(outcome)["key"]

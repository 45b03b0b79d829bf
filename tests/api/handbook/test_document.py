"""The API's document at ``/openapi.json`` as it comes over the wire."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from support.server import LiveServer

PATH = "/openapi.json"


def test_several_who_ask_first_get_the_same(server: LiveServer) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(server.client.get, [PATH, PATH, "/docs", PATH]))
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["openapi"].startswith("3.1")
    assert answers[0].content == answers[1].content == answers[3].content


def test_a_copy_that_is_still_good(server: LiveServer) -> None:
    tag = server.client.get(PATH).headers["etag"]
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        answer = server.client.get(PATH, headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


def test_a_copy_that_is_not(server: LiveServer) -> None:
    answer = server.client.get(PATH, headers={"if-none-match": '"0123"'})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_it_is_packed_for_those_who_unpack(server: LiveServer) -> None:
    plain = server.client.get(PATH, headers={"accept-encoding": "identity"})
    packed = server.client.get(PATH, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 5
    assert packed.json() == plain.json()


def test_its_head_alone(server: LiveServer) -> None:
    answer = server.client.head(PATH)
    assert (answer.status_code, answer.content) == (200, b"")

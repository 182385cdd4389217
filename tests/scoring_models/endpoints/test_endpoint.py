"""Questions to a real server on the loopback that answers, misbehaves, or is not there."""

from __future__ import annotations

import email.utils
import json
import logging
import pickle
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from poolsieve.scoring_models import Endpoint
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.endpoints import EndpointError, Reply, Unanswered, asking, question
from poolsieve.scoring_models.endpoints.failures import LONGEST_PAUSE, retry_after
from poolsieve.scoring_models.endpoints.reply import MOST_TEXT
from tests.chat import Chat, Sent, said, text_of

KEY = "correct-horse-battery-staple"
TRIVIAL = "Answer with the word OK."


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_PAUSE", 0.02)


def endpoint(chat: Chat, **options: Any) -> Endpoint:
    return Endpoint(chat.url, "m", **{"timeout": 5.0, "attempts": 3, "patience": 20.0, **options})


def first(times: int, bad: Sent, good: Sent | None = None) -> Callable[[dict[str, Any]], Sent]:
    """`bad` to the first requests for a text, then a proper answer; the trivial question is always answered."""
    left: dict[str, int] = {}

    def answer(asked: dict[str, Any]) -> Sent:
        text = text_of(asked)
        left[text] = left.get(text, 0 if text == TRIVIAL else times) - 1
        return bad if left[text] >= 0 else good or said("fine")

    return answer


def test_four_fields_are_sent_and_the_reply_is_read() -> None:
    with Chat(lambda asked: said("Hello", (12, 3))) as chat:
        made = endpoint(chat, max_tokens=7, temperature=0.5)
        tally = made.tally()
        assert made.ask(question("hi", system="be short"), tally) == Reply("Hello", 12, 3, False)
        assert chat.requests == [
            {
                "model": "m",
                "messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "hi"}],
                "max_tokens": 7,
                "temperature": 0.5,
            }
        ]
        work = tally.take(1)
        assert work is not None
        assert (work.requests, work.retries, work.tokens_in, work.tokens_out, work.uncounted) == (1, 0, 12, 3, 0)
        assert "Authorization" not in chat.headers[0]


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_an_address_may_be_written_in_several_ways(tail: str) -> None:
    with Chat() as chat:
        assert Endpoint(chat.url + tail, "m").ask(question("hi")).text == "OK"
        assert set(chat.paths) == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    "bad",
    [
        Sent(500, b"oh no"),
        Sent(503, b"busy"),
        Sent(408, b""),
        Sent(409, b"locked"),
        Sent(429, b"slow down"),
        Sent(200, b"<html>please log in</html>", {"Content-Type": "text/html"}),
        Sent(200, b'{"choices": [{"message": {"content": "fi', stated=None),
        Sent(200, b'{"choices": [{"message": {"content": "fi', stated=5000),
        Sent(200, b'{"choices": []}'),
        Sent(200, b"[" * 100_000),
        Sent(200, b"\x1f\x8b\x08\x00\x00", {"Content-Encoding": "gzip"}),
        Sent(200, b""),
    ],
    ids=lambda sent: f"{sent.status} {sent.body[:20]!r}",
)
def test_what_may_pass_is_asked_again(bad: Sent) -> None:
    with Chat(first(2, bad)) as chat:
        made = endpoint(chat)
        tally = made.tally()
        assert made.ask(question("hi"), tally).text == "fine"
        work = tally.take()
        assert work is not None and tally.take() is None
        assert (chat.asked["hi"], work.requests, work.retries) == (3, 3, 2)


def test_a_body_without_end_is_cut_off() -> None:
    with Chat(first(1, Sent(200, b"x" * 65536, endless=True))) as chat:
        assert endpoint(chat).ask(question("hi")).text == "fine"


def test_a_server_that_says_nothing_is_given_up_after_its_time() -> None:
    with Chat(first(1, Sent(wait=3.0))) as chat:
        assert endpoint(chat, timeout=0.3).ask(question("hi")).text == "fine"
        assert chat.asked["hi"] == 2


def test_a_question_that_alone_fails_is_the_rows_error() -> None:
    def answer(asked: dict[str, Any]) -> Sent:
        return Sent(500, b"crash") if "bad" in text_of(asked) else said("fine")

    with Chat(answer) as chat:
        with pytest.raises(Unanswered) as caught:
            endpoint(chat).ask(question("bad"))
        assert caught.value.row_error == RowError("endpoint_unanswered", "500: crash, 3 times")
        assert chat.asked == {"bad": 3, TRIVIAL: 1}


def test_a_server_that_fails_at_everything_ends_the_run() -> None:
    with (
        Chat(lambda asked: Sent(500, b"crash")) as chat,
        pytest.raises(
            EndpointError, match=r"does not answer for 'm' \(500: crash, 3 times; a trivial question neither\)"
        ),
    ):
        endpoint(chat).ask(question("hi"))


def test_nobody_at_the_address_ends_the_run() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        EndpointError, match=rf"127.0.0.1:{port} does not answer for .m. .the connection failed .ConnectError"
    ):
        Endpoint(f"http://127.0.0.1:{port}", "m", attempts=2, timeout=2.0).ask(question("hi"))


def test_a_refused_question_is_the_rows_and_is_not_repeated() -> None:
    def answer(asked: dict[str, Any]) -> Sent:
        return Sent(400, b'{"error": "context too long"}') if "long" in text_of(asked) else said("fine")

    with Chat(answer) as chat:
        with pytest.raises(Unanswered) as caught:
            endpoint(chat).ask(question("long"))
        assert caught.value.row_error == RowError("endpoint_refused", '400: {"error": "context too long"}')
        assert chat.asked["long"] == 1


def test_a_server_that_refuses_everything_ends_the_run() -> None:
    with (
        Chat(lambda asked: Sent(400, b"unsupported parameter: max_tokens")) as chat,
        pytest.raises(EndpointError, match=r"refuses even a trivial question to 'm' .400: unsupported parameter"),
    ):
        endpoint(chat).ask(question("hi"))


def test_a_model_that_is_not_there_ends_the_run_though_another_answers() -> None:
    def answer(asked: dict[str, Any]) -> Sent:
        return said("fine") if asked["model"] == "m" else Sent(400, b"no such model")

    with Chat(answer) as chat:
        assert endpoint(chat).ask(question("hi")).text == "fine"
        with pytest.raises(EndpointError, match="no such model"):
            Endpoint(chat.url, "n").ask(question("hi"))


@pytest.mark.parametrize("status", [401, 403, 404, 402, 410])
def test_no_access_ends_the_run_and_no_secret_is_told(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    body = f"your key {KEY} is wrong".encode()
    with Chat(lambda asked: Sent(status, body)) as chat:
        made = endpoint(chat, key="SOME_KEY")
        with pytest.raises(EndpointError) as caught:
            made.ask(question("hi"))
        assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"
        for told in (str(caught.value), repr(made), json.dumps(made.to_dict()), caplog.text):
            assert KEY not in told
        assert "SOME_KEY" in str(caught.value) and str(status) in str(caught.value)
        assert sum(chat.asked.values()) == 1
        assert chat.url not in repr(made) and chat.url not in json.dumps(made.to_dict())


def test_what_a_row_keeps_of_an_answer_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)

    def answer(asked: dict[str, Any]) -> Sent:
        return said("fine") if text_of(asked) == TRIVIAL else Sent(400, f"you sent Bearer {KEY}".encode())

    with Chat(answer) as chat, pytest.raises(Unanswered) as caught:
        endpoint(chat, key="SOME_KEY").ask(question("hi"))
    assert caught.value.row_error.message == "400: you sent Bearer ***"


def test_a_redirect_is_refused_and_the_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    with Chat() as other, Chat() as chat:
        chat.answer = lambda asked: Sent(307, b"", {"Location": f"{other.url}/v1/chat/completions"})
        with pytest.raises(EndpointError, match="sends on to another address"):
            endpoint(chat, key="SOME_KEY").ask(question("hi"))
        assert not other.requests


def test_retry_after_holds_all_questions() -> None:
    told = Sent(429, b"slow", {"Retry-After": "1"})
    with Chat(first(1, told)) as chat:
        made = endpoint(chat, concurrency=4)
        began = time.monotonic()
        found = [one for some in made.ask_all((i, question("same")) for i in range(4)) for one in some]
        assert [reply.text for _, reply in found] == ["fine"] * 4
        # One was told to wait; at most the others that were under way already came in between.
        late = [when for when in chat.times if when - chat.times[0] > 0.9]
        assert len(late) >= 1 and time.monotonic() - began >= 1.0
        assert not [when for when in chat.times if 0.5 < when - chat.times[0] < 0.95]


def test_a_rate_limit_does_not_count_as_an_attempt_but_ends_some_time() -> None:
    with Chat(first(8, Sent(429, b"slow"))) as chat:
        assert endpoint(chat, attempts=1).ask(question("hi")).text == "fine"
    with (
        Chat(lambda asked: Sent(429, b"slow")) as chat,
        pytest.raises(EndpointError, match=r"has limited the rate of 'm' for 1 s .429: slow.: lower concurrency"),
    ):
        endpoint(chat, patience=1.0).ask(question("hi"))
    with Chat(lambda asked: Sent(429, b'{"error": {"code": "insufficient_quota"}}')) as chat:
        with pytest.raises(EndpointError, match="no quota left"):
            endpoint(chat).ask(question("hi"))
        assert sum(chat.asked.values()) == 1


def test_retry_after_is_read_and_bounded() -> None:
    now = 1_000_000.0
    date = email.utils.formatdate(now + 30, usegmt=True)
    assert retry_after(date, now) == pytest.approx(30.0, abs=1.0)
    assert retry_after("1e9") == retry_after(email.utils.formatdate(now + 1e6, usegmt=True), now) == LONGEST_PAUSE
    assert retry_after("-5") == retry_after(email.utils.formatdate(now - 60, usegmt=True), now) == 0.0
    assert [retry_after(text) for text in ("nan", "", "Mon, 99 Foo", "1 2", None)] == [None] * 5


def test_half_a_batch_fails_and_the_other_half_is_answered() -> None:
    def answer(asked: dict[str, Any]) -> Sent:
        text = text_of(asked)
        return Sent(500, b"odd") if text != TRIVIAL and int(text) % 2 else said(text)

    with Chat(answer) as chat:
        made = endpoint(chat, attempts=2)
        found = dict(one for some in made.ask_all((i, question(str(i))) for i in range(40)) for one in some)
    assert sorted(found) == list(range(40))
    assert all(isinstance(found[i], RowError) if i % 2 else found[i].text == str(i) for i in range(40))


def test_at_most_so_many_questions_are_under_way_whoever_asks() -> None:
    with Chat(lambda asked: Sent(*said("x")[:3], wait=0.05)) as chat:
        made = endpoint(chat, concurrency=3)

        def ask() -> None:
            list(made.ask_all((i, question(str(i))) for i in range(10)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert chat.most == 3 and sum(chat.asked.values()) == 40


def test_whoever_stops_waits_for_no_answer() -> None:
    class Stop(Exception):
        pass

    def check() -> None:
        if time.monotonic() - began > 0.5:
            raise Stop

    with Chat(lambda asked: Sent(wait=20.0)) as chat:
        began = time.monotonic()
        with pytest.raises(Stop):
            list(endpoint(chat, timeout=60.0).ask_all(((i, question("x")) for i in range(50)), check))
        assert time.monotonic() - began < 15.0
        assert len(chat.requests) <= 8


def test_long_and_strange_answers() -> None:
    odd: dict[str, Sent] = {
        "long": said("y" * (MOST_TEXT + 10)),
        "length": said("y", finish_reason="length"),
        "parts": said([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 3]),
        "null": said(None),
        "surrogate": Sent(200, b'{"choices": [{"message": {"content": "a\\ud800b"}}]}'),
        "uncounted": said("z", None),
        "miscounted": said("z", (-1, True)),
    }
    with Chat(lambda asked: odd[text_of(asked)]) as chat:
        made = endpoint(chat)
        found = {name: made.ask(question(name)) for name in odd}
    assert found["long"] == Reply("y" * MOST_TEXT, 10, 5, True)
    assert found["length"].cut and not found["parts"].cut
    assert (found["parts"].text, found["null"].text) == ("ab", "")
    assert found["surrogate"].text == "a\ufffdb"
    assert found["uncounted"][1:3] == found["miscounted"][1:3] == (None, None)


def test_cost_is_added_up() -> None:
    with Chat(lambda asked: said("x", (1000, 500))) as chat:
        made = endpoint(chat, price=(2, 8))
        tally = made.tally()
        list(made.ask_all(((i, question(str(i))) for i in range(10)), tally=tally))
    work = tally.take()
    assert work is not None
    assert (work.tokens_in, work.tokens_out) == (10_000, 5_000)
    assert work.cost == pytest.approx(10_000 * 2e-6 + 5_000 * 8e-6)


def test_only_what_an_answer_depends_on_is_in_the_fingerprint() -> None:
    one = Endpoint("http://a:1", "m", key="A_KEY", concurrency=2, timeout=1, attempts=2, price=(1, 1), patience=3)
    two = Endpoint("https://b/v1", "m", temperature=0)
    assert one.to_dict() == two.to_dict() == {"type": "Endpoint", "model": "m"}
    assert Endpoint("http://a", "m", max_tokens=5, temperature=1).to_dict()["max_tokens"] == 5
    assert pickle.loads(pickle.dumps(one)).address == one.address


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000", "ftp://a/v1", "http://", "http://user:secret@a/v1", "https://a/v1?key=secret",
        "http://a/v1#secret", "http://a:99999999/", "http://a b/secret", "http://[a/secret", "http://a/\nsecret", 5, None,
    ],
)  # fmt: skip
def test_addresses_that_cant_be_used_are_refused_without_being_told(url: Any) -> None:
    with pytest.raises(PlanError) as caught:
        Endpoint(url, "m")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["sk-proj-abcdef0123456789", "hf_abcdefghijklmn", "AKIAIOSFODNN7EXAMPLE0X", "a key", "", 5, "Bearer X"]
)
def test_a_key_in_the_place_of_a_name_is_refused_and_not_repeated(key: Any) -> None:
    with pytest.raises(PlanError) as caught:
        Endpoint("http://a", "m", key=key)
    assert "takes the name of an environment variable" in str(caught.value)
    assert not key or str(key) not in str(caught.value)


def test_a_key_that_is_not_there_or_is_none_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    made = Endpoint("http://a", "m", key="NO_SUCH_KEY")
    with pytest.raises(PlanError, match="variable NO_SUCH_KEY with the key of a is not set"):
        made.secret()
    monkeypatch.setenv("NO_SUCH_KEY", "geheim\u00fc")
    with pytest.raises(PlanError) as caught:
        made.secret()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0}, {"concurrency": 10**6}, {"concurrency": True}, {"attempts": 0}, {"max_tokens": 0},
        {"max_tokens": 1.5}, {"timeout": 0}, {"timeout": float("inf")}, {"patience": -1}, {"temperature": -0.1},
        {"temperature": float("nan")}, {"price": 3}, {"price": (1,)}, {"price": (1, -1)}, {"model": ""}, {"model": None},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(PlanError, match=name):
        Endpoint(**{"url": "http://a", "model": "m", **options})

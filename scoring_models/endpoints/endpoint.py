"""Any server that speaks OpenAI's chat completions, as a configuration that can be asked."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.endpoints.asking import Question
from poolsieve.scoring_models.endpoints.failures import Unanswered
from poolsieve.scoring_models.endpoints.line import submit
from poolsieve.scoring_models.endpoints.messages import Messages
from poolsieve.scoring_models.endpoints.reply import Reply
from poolsieve.scoring_models.endpoints.tally import Tally
from poolsieve.scoring_models.feeding.feed import Check, never

CHAT = "/chat/completions"
TICK = 0.25
"""Seconds after which whoever waits for answers looks whether to stop."""

MOST_AT_ONCE = 1024

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_LONG_WORD = re.compile(r"[A-Z0-9]{21}")
"""Names of variables have shorter words; keys have not."""


@dataclass(frozen=True, eq=False)
class Endpoint(Config):
    """A model behind `POST .../v1/chat/completions`: a server of vLLM, `transformers serve`, a provider.

    Sends `model`, `messages`, `max_tokens` and `temperature`, and nothing else. What may pass (408, 409, 425, 429, 5xx,
    no connection, no answer, garbage) is asked again, with growing pauses or as `Retry-After` says (at most 120 s);
    after a 429 with it all questions of this process wait. Only model, max_tokens and temperature are in a
    fingerprint: the key is nowhere in OUT, and address, limits and price only where a recipe's text has them.

    Args:
        url: with or without `/v1`, or the whole address up to `/chat/completions`.
        model: its name there.
        key: name of the environment variable with the key; None for none. Never the key itself.
        concurrency: questions under way at a time, in each process, for all that ask at this address.
        timeout: seconds for one attempt.
        attempts: of one question, not counting those that a limit of the rate turned away.
        patience: seconds for all attempts of one question, its pauses included.
        max_tokens: of an answer.
        temperature: 0 for the likeliest answer.
        price: of a million tokens that are read, and of a million that are written, in any currency.

    Raises:
        PlanError: for an address or a key that can't be used, and numbers out of range. Says no secret.
    """

    url: str = field(repr=False, metadata={"runtime": True})
    model: str
    key: str | None = field(default=None, kw_only=True, metadata={"runtime": True})
    concurrency: int = field(default=8, kw_only=True, metadata={"runtime": True})
    timeout: float = field(default=120.0, kw_only=True, metadata={"runtime": True})
    attempts: int = field(default=6, kw_only=True, metadata={"runtime": True})
    patience: float = field(default=900.0, kw_only=True, metadata={"runtime": True})
    max_tokens: int = field(default=512, kw_only=True)
    temperature: float = field(default=0.0, kw_only=True)
    price: tuple[float, float] | None = field(default=None, kw_only=True, metadata={"runtime": True})

    def __post_init__(self) -> None:
        _check_url(self.url)
        _check_key(self.key)
        if not isinstance(self.model, str) or not self.model.strip():
            raise PlanError(f"Endpoint(model={short(self.model)}): give the model's name on the server")
        for name, most in (("concurrency", MOST_AT_ONCE), ("attempts", 100), ("max_tokens", 1 << 20)):
            _check_whole(name, getattr(self, name), most)
        for name, largest in (("timeout", 3600.0), ("patience", 86400.0), ("temperature", 10.0)):
            _check_number(name, getattr(self, name), largest)
        object.__setattr__(self, "temperature", float(self.temperature))  # 0 and 0.0 are one fingerprint
        if self.price is not None:
            object.__setattr__(self, "price", _price(self.price))

    @classmethod
    def of(cls, given: Mapping[Any, Any], where: str) -> Endpoint:
        """From a mapping of its arguments, as YAML has it.

        Args:
            given: the arguments.
            where: what it is for, as messages call it.

        Raises:
            PlanError: naming an argument that is missing or unknown. Says no value, since one may be a key.
        """
        names = [item.name for item in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown_name(f"{where} has a name that no endpoint knows", str(name)[:20], names)
        for name in ("url", "model"):
            if name not in given:
                raise PlanError(f"{where} needs {name!r}, as {{'url': 'http://localhost:8000/v1', 'model': 'm'}}")
        return cls(**given)

    @property
    def host(self) -> str:
        """The server's name and port: what messages say of the address."""
        return urlsplit(self.url).netloc

    @property
    def address(self) -> str:
        """The whole address of the chat completions."""
        base = self.url.rstrip("/")
        if base.endswith(CHAT):
            return base
        return f"{base}{CHAT}" if base.endswith("/v1") else f"{base}/v1{CHAT}"

    @property
    def line_key(self) -> tuple[Any, ...]:
        """What questions must share to share connections, a limit and pauses."""
        return (self.address, self.key, self.concurrency)

    @property
    def key_words(self) -> str:
        """How messages call the key."""
        return "key= (none is given)" if self.key is None else f"the key in the environment variable {self.key}"

    def check(self) -> None:
        """Refuses to go on without the client. The key is not needed before something is asked: see `secret`.

        Raises:
            PlanError: naming the package.
        """
        need("Endpoint", "httpx2", extra="endpoints")

    def secret(self) -> str | None:
        """The key.

        Raises:
            PlanError: if the variable is not set here, or holds what no header can; names it, and not its value.
        """
        if self.key is None:
            return None
        value = os.environ.get(self.key, "").strip()
        if not value:
            raise PlanError(f"the environment variable {self.key} with the key of {self.host} is not set")
        if not all("!" <= letter <= "~" for letter in value):
            raise PlanError(f"the environment variable {self.key} holds no key: it has blanks or letters beyond ASCII")
        return value

    def headers(self) -> dict[str, str]:
        """Of a request."""
        made = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        secret = self.secret()
        return made if secret is None else {**made, "Authorization": f"Bearer {secret}"}

    def tally(self) -> Tally:
        """A new tally, with this endpoint's price."""
        return Tally(self.price)

    def ask(self, messages: Messages, tally: Tally | None = None) -> Reply:
        """The answer to one question. May be called from several threads.

        Args:
            messages: see `messages.question`.
            tally: takes requests, retries, tokens and cost; may be left out.

        Raises:
            Unanswered: if no repeating helps; its `row_error` is what to store.
            EndpointError: if the endpoint can't be asked at all.
        """
        return self._submit(messages, tally or self.tally()).result()

    def _submit(self, messages: Messages, tally: Tally) -> Future[Reply]:
        async def answer() -> Reply:
            return await Question(self, messages, tally).answer()

        return submit(answer())

    def ask_all(
        self,
        questions: Iterable[tuple[int, Messages | RowError]],
        check: Check = never,
        tally: Tally | None = None,
    ) -> Iterator[list[tuple[int, Reply | RowError]]]:
        """Answers to many questions, each with its row, as they come; an empty list now and then while none does.

        Twice `concurrency` questions are taken at a time, so that those that pause keep nobody waiting. Closed early,
        or where `check` raises, it gives up the questions under way at once.

        Args:
            questions: rows and their messages; an error comes back as it is.
            check: called several times a second; what it raises ends the call.
            tally: takes requests, retries, tokens and cost.

        Raises:
            EndpointError: if the endpoint can't be asked at all.
        """
        counts = tally or self.tally()
        under_way: dict[Future[Reply], int] = {}
        try:
            for row, messages in questions:
                if isinstance(messages, RowError):
                    yield [(row, messages)]
                    continue
                under_way[self._submit(messages, counts)] = row
                while len(under_way) >= 2 * self.concurrency:
                    yield _finished(under_way, check)
            while under_way:
                yield _finished(under_way, check)
        finally:
            for left in under_way:
                left.cancel()


def _finished(under_way: dict[Future[Reply], int], check: Check) -> list[tuple[int, Reply | RowError]]:
    """Those that have come by now, after a short wait for the first."""
    done, _ = wait(under_way, timeout=TICK, return_when=FIRST_COMPLETED)
    check()
    return [(under_way.pop(one), _outcome(one)) for one in done]


def _outcome(one: Future[Reply]) -> Reply | RowError:
    try:
        return one.result()
    except Unanswered as error:
        return error.row_error


def _check_url(url: Any) -> None:
    """Never repeats the address: it may hold what nobody should read."""
    if not isinstance(url, str):
        raise PlanError("Endpoint(url=...): give an address, as 'http://localhost:8000/v1'")
    try:
        parts = urlsplit(url)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or (parts.port or 1) < 1
    except ValueError:
        bad = True
    if bad or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise PlanError("Endpoint(url=...) is no address of a server; write it as 'http://localhost:8000/v1'")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment or "?" in url:
        raise PlanError(
            f"Endpoint(url=...) at {parts.hostname} has a name, a password or parameters in it: give the address "
            "alone, and the key by key='NAME_OF_A_VARIABLE'"
        )


def _check_key(key: Any) -> None:
    """Never repeats what was given: it may be a key."""
    if key is None:
        return
    if not isinstance(key, str) or not _VARIABLE.fullmatch(key) or _LONG_WORD.search(key):
        raise PlanError(
            "Endpoint(key=...) takes the name of an environment variable that holds the key, as key='JUDGE_API_KEY': "
            "capital letters, digits and '_'. A key itself must stand in no recipe"
        )


def _check_whole(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise PlanError(f"Endpoint({name}={short(value)}): must be a whole number from 1 to {most:,}")


def _check_number(name: str, value: Any, most: float) -> None:
    """Only a temperature may be 0."""
    good = type(value) in (int, float) and math.isfinite(value) and 0 <= value <= most
    if not good or (value == 0 and name != "temperature"):
        least = "0" if name == "temperature" else "above 0"
        raise PlanError(f"Endpoint({name}={short(value)}): must be a number from {least} to {most:g}")


def _price(value: Any) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    good = all(type(one) in (int, float) and math.isfinite(one) and 0 <= one <= 1e9 for one in pair)
    if len(pair) != 2 or not good:
        raise PlanError(f"Endpoint(price={short(value)}): give the price of a million tokens in and out, as (0.5, 1.5)")
    return float(pair[0]), float(pair[1])

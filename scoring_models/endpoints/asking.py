"""One question to an endpoint: asked again while that may help, and what it means if it does not."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import tenacity

from poolsieve.scoring_models.endpoints.failures import (
    LIMITED,
    OF_ROW,
    PASSING,
    EndpointError,
    Passing,
    Unanswered,
    retry_after,
    shown,
)
from poolsieve.scoring_models.endpoints.line import Answer, Line, the_loop
from poolsieve.scoring_models.endpoints.messages import Messages
from poolsieve.scoring_models.endpoints.reply import Reply, reply_of
from poolsieve.scoring_models.endpoints.server import Server
from poolsieve.scoring_models.endpoints.tally import Tally

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before the second attempt; each further pause is twice as long, up to the last."""

_TRIVIAL: Messages = [{"role": "user", "content": "Answer with the word OK."}]
_TRIVIAL_TOKENS = 8

_STOPS = {
    401: "does not accept the key",
    402: "wants to be paid",
    403: "does not allow this",
    404: "has no such model, or no chat completions at this address",
}


class Question:
    """One question. Lives in the loop's thread.

    Args:
        endpoint: who is asked.
        messages: what.
        tally: takes requests, retries, tokens and cost.
    """

    def __init__(self, endpoint: Server, messages: Messages, tally: Tally) -> None:
        self.endpoint, self.messages, self.tally = endpoint, messages, tally
        self.line: Line = the_loop().line(endpoint.line_key, endpoint.concurrency)
        self.tried, self.began = 0, time.monotonic()
        self.last: Passing | None = None

    async def answer(self) -> Reply:
        """The answer.

        Raises:
            Unanswered: if this question has none, though the endpoint answers.
            EndpointError: if the endpoint does not, or refuses.
        """
        try:
            async with asyncio.timeout(self.endpoint.patience):
                return await self._repeated()
        except TimeoutError:
            failed = self.last or Passing(f"no turn in {self.endpoint.patience:g} s", limited=True)
        except Passing as error:
            failed = error
        raise await self._meaning(failed)

    async def _repeated(self) -> Reply:
        again = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Passing),
            stop=self._enough,
            wait=self._pause,
            reraise=True,
        )
        return await again(self._once)

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        """A server that limits the rate has not tried the question: only the whole time ends that."""
        self.last = _failure(state)
        self.tried += not self.last.limited
        return self.tried >= self.endpoint.attempts

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """What the server asks for, else twice as long each time; never in step with other questions."""
        told = _failure(state).pause
        pause = min(FIRST_PAUSE * 2.0 ** min(state.attempt_number - 1, 16), LAST_PAUSE) if told is None else told
        return float(pause * random.uniform(1.0, 1.5))  # noqa: S311

    async def _once(self) -> Reply:
        return await self._asked(self.messages, self.endpoint.max_tokens)

    async def _asked(self, messages: Messages, max_tokens: int) -> Reply:
        """One attempt, in its turn."""
        sent = self._body(messages, max_tokens)
        async with self.line.slots:
            await self.line.open()
            self.tally.asked(self.last is not None and messages is self.messages)
            answer = await self.line.post(self.endpoint.address, self.endpoint.headers(), sent, self.endpoint.timeout)
        reply = await self._read(answer, messages)
        self.line.answered[self.endpoint.model] = time.monotonic()
        self.tally.answered(reply)
        return reply

    def _body(self, messages: Messages, max_tokens: int) -> bytes:
        """Four fields and no more: servers refuse what they do not know."""
        asked: dict[str, Any] = {"model": self.endpoint.model, "messages": messages}
        return json.dumps({**asked, "max_tokens": max_tokens, "temperature": self.endpoint.temperature}).encode()

    async def _read(self, answer: Answer, messages: Messages) -> Reply:
        if answer.status == 200:
            try:
                return reply_of(answer.body)
            except ValueError as error:
                raise Passing(str(error)) from None
        said = shown(answer.body[:8192].decode("utf-8", "replace"), self.endpoint.secret(), self.endpoint.url)
        if answer.status == LIMITED and "insufficient_quota" in said:
            raise EndpointError(f"{self._where} has no quota left for this key (429: {said})")
        if answer.status in PASSING or answer.status >= 500:
            raise self._passing(answer, said)
        if answer.status not in OF_ROW:
            raise self._stopping(answer.status, said)
        if messages is not _TRIVIAL and not await self._answers_at_all():
            raise EndpointError(
                f"{self._where} refuses even a trivial question to {self.endpoint.model!r} ({answer.status}: {said})"
            )
        raise Unanswered("endpoint_refused", f"{answer.status}: {said}")

    def _passing(self, answer: Answer, said: str) -> Passing:
        pause = retry_after(answer.retry_after)
        if pause is not None:
            self.line.hold(pause)
        return Passing(f"{answer.status}: {said}", pause, answer.status == LIMITED)

    def _stopping(self, status: int, said: str) -> EndpointError:
        if 300 <= status < 400:
            return EndpointError(
                f"{self._where} sends on to another address ({status}). A key does not travel there: give that address"
            )
        # A server may repeat a key that it does not accept.
        told = "" if status in (401, 403) else f": {said}"
        return EndpointError(
            f"{self._where} {_STOPS.get(status, 'refuses')} ({status}{told}). Check {self.endpoint.key_words}, the "
            f"model {self.endpoint.model!r} and the address"
        )

    async def _meaning(self, failed: Passing) -> Exception:
        """Whose failure it is: the question's, if the endpoint answers others, or a trivial one."""
        if failed.limited:
            return EndpointError(
                f"{self._where} has limited the rate of {self.endpoint.model!r} for {self.endpoint.patience:g} s "
                f"({failed}): lower concurrency, or run again later. What was answered is kept"
            )
        if self.line.answered.get(self.endpoint.model, -1.0) >= self.began or await self._answers_at_all():
            return Unanswered("endpoint_unanswered", f"{failed}, {self.tried} times")
        return EndpointError(
            f"{self._where} does not answer for {self.endpoint.model!r} ({failed}, {self.tried} times; a trivial "
            "question neither): check that it runs. What was answered is kept; the same command goes on from there"
        )

    async def _answers_at_all(self) -> bool:
        """Whether the model answered before, or answers the trivial question."""
        if self.endpoint.model in self.line.answered and self.last is None:
            return True
        try:
            async with asyncio.timeout(self.endpoint.patience):
                await self._asked(_TRIVIAL, _TRIVIAL_TOKENS)
        except (Passing, Unanswered, TimeoutError):
            return False
        return True

    @property
    def _where(self) -> str:
        return f"the endpoint at {self.endpoint.host}"


def _failure(state: tenacity.RetryCallState) -> Passing:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, Passing) else Passing("")

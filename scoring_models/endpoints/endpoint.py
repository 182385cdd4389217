"""Any server that speaks OpenAI's chat completions, as a configuration that can be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, fields
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.endpoints.asking import Question
from poolsieve.scoring_models.endpoints.failures import Unanswered
from poolsieve.scoring_models.endpoints.line import submit
from poolsieve.scoring_models.endpoints.messages import Messages
from poolsieve.scoring_models.endpoints.reply import Reply
from poolsieve.scoring_models.endpoints.server import Server
from poolsieve.scoring_models.endpoints.tally import Tally
from poolsieve.scoring_models.feeding.feed import Check, never

TICK = 0.25
"""Seconds after which whoever waits for answers looks whether to stop."""


@dataclass(frozen=True, eq=False)
class Endpoint(Server):
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

    def check(self) -> None:
        """Refuses to go on without the client. The key is not needed before something is asked: see `secret`.

        Raises:
            PlanError: naming the package.
        """
        need("Endpoint", "httpx2", extra="endpoints")

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

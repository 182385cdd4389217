"""Asking an endpoint: the same items, over the wire. It writes its answers, options or not."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import Resources, Scored
from poolsieve.scoring_models.endpoints import Endpoint, Messages, Reply, question
from poolsieve.scoring_models.feeding.feed import Check
from poolsieve.scoring_models.panels.asking import Answer, Asking, made_of
from poolsieve.scoring_models.panels.items import Item

Place = tuple[int, int]
"""A row of a batch, and by how many places its options are turned."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AskEndpoint(Asking):
    """Asks an endpoint, several items at a time.

    Args:
        endpoint: who is asked.
    """

    endpoint: Endpoint

    packages: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "endpoints"

    @property
    def resources(self) -> Resources:
        """It waits, and lets the interpreter lock go."""
        return Resources()

    def files(self) -> Mapping[str, Path]:
        """None.

        Raises:
            PlanError: without the client.
        """
        self.endpoint.check()
        return {}

    def check_access(self) -> None:
        """See `PieceScorer`.

        Raises:
            PlanError: without the key in its environment variable.
        """
        self.endpoint.secret()

    def pieces(self, batch: pa.RecordBatch, check: Check) -> Generator[tuple[list[int], Scored]]:
        """The answers as they come, an item's turns together."""
        places, tally = list[Place](), self.endpoint.tally()
        waiting: dict[int, dict[int, Answer | RowError]] = {}
        for come in self.endpoint.ask_all(self._questions(batch, places, waiting), check, tally):
            rows = []
            for number, reply in come:
                row, turn = places[number]
                waiting[row][turn] = reply if isinstance(reply, RowError) else answer_of(reply)
                if None not in waiting[row].values():
                    rows.append(row)
            yield rows, made_of([together(waiting.pop(row)) for row in rows], tally.take(len(rows)))

    def _questions(
        self, batch: pa.RecordBatch, places: list[Place], waiting: dict[int, dict[int, Answer | RowError]]
    ) -> Iterator[tuple[int, Messages | RowError]]:
        for row in range(batch.num_rows):
            item = self.item(batch, row)
            waiting[row] = dict.fromkeys(self.turns(item))  # type: ignore[assignment]  # None: not yet answered
            for turn in self.turns(item):
                places.append((row, turn))
                yield len(places) - 1, self._question(item, turn)

    def _question(self, item: Item, turn: int) -> Messages | RowError:
        return question(self.wording(item, turn), item.image if self.sight else None)


def answer_of(reply: Reply) -> Answer:
    """A reply as it is stored."""
    return {"text": reply.text, "cut": reply.cut, "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}


def together(turns: Mapping[int, Answer | RowError]) -> list[Answer] | RowError:
    """The answers of all turns, in their order; the first failure where one failed."""
    found = [one for _, one in sorted(turns.items())]
    failed = next((one for one in found if isinstance(one, RowError)), None)
    return failed if failed is not None else [one for one in found if not isinstance(one, RowError)]

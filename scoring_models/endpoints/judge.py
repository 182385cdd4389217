"""A model behind an endpoint as a scorer: it reads a row by a prompt, and its reply becomes columns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from poolsieve.scoring_models.base.arrow import type_named
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig
from poolsieve.scoring_models.endpoints.endpoint import Endpoint
from poolsieve.scoring_models.endpoints.items import COLUMNS, item_prompt
from poolsieve.scoring_models.endpoints.messages import Messages, question
from poolsieve.scoring_models.endpoints.prompts import check_places, filled, prompt_text
from poolsieve.scoring_models.endpoints.reading import Unreadable, key_of, read
from poolsieve.scoring_models.endpoints.reply import Reply
from poolsieve.scoring_models.endpoints.tally import Tally

REPLY = "reply"
REPLY_TYPE = pa.struct([pa.field("text", pa.large_string()), pa.field("cut", pa.bool_())])
"""What the model wrote, and whether a text of the row was cut before it was shown.

A large text, since those of a whole shard are one array.
"""

UNREADABLE = "judge_unreadable"

MOST_CHARS = 20_000
"""Characters of a text that are shown: about 5,000 tokens of English."""

_AGAIN = "That can't be read. Reply once more, with the JSON object alone: no words around it, no comments."


class _Read(NamedTuple):
    """What came of one row: values by column, or why there are none."""

    values: Mapping[str, Any] | None
    error: RowError | None
    reply: str


@dataclass(frozen=True, eq=False)
class Judge(ScorerConfig):
    """Asks a model about each row, and reads columns from its reply.

    `Score(edu=Judge(endpoint, "rubric.md", columns={"quality": "float32"}, least=0, most=5))`. Without a prompt it is
    the judge of a benchmark's items: it sees image, question and kept answer, and says `ground_truth_wrong`,
    `question_is_ambiguous` and `needs_high_resolution` (bool).

    A reply that can't be read, or is out of bounds, is asked for once more; then the row has no score
    (`judge_unreadable`). Null where a role that is read is null. Answers are stored every 256 rows or 30 seconds.

    Args:
        endpoint: who is asked; in YAML a mapping of its arguments.
        prompt: a text with a place `{role}` for each role that is read, or the path of a rubric (.md, .txt), whose
            contents are part of the fingerprint. What form the reply should have is added to it.
        columns: name -> type: bool, string, an integer or a float. The name "" is the score's own, for which the model
            is asked as "score".
        reads: roles, or names of earlier scores, for the prompt; `image` among them has the image sent with it.
        image: the role with images; None for items without.
        question, answer, options: roles of the judge of items; options may be left out.
        least, most: bounds of numbers, inclusive.
        max_chars: of each text; what is longer is cut, which `reply.cut` says.
        keep_reply: whether to store what the model wrote (column `reply`, a struct, which stands in no ledger).
        version: see `Scorer`.
    """

    endpoint: Endpoint
    prompt: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    reads: tuple[str, ...] = field(default=("text",), kw_only=True)
    image: str | None = field(default="image", kw_only=True)
    question: str = field(default="question", kw_only=True)
    answer: str = field(default="answer", kw_only=True)
    options: str | None = field(default=None, kw_only=True)
    least: float | None = field(default=None, kw_only=True)
    most: float | None = field(default=None, kw_only=True)
    max_chars: int = field(default=MOST_CHARS, kw_only=True)
    keep_reply: bool = field(default=True, kw_only=True)
    version: int = field(default=1, kw_only=True)

    commit_rows: ClassVar[int] = 256
    commit_seconds: ClassVar[float] = 30.0
    extra = "endpoints"

    def __post_init__(self) -> None:
        if isinstance(self.endpoint, Mapping):
            object.__setattr__(self, "endpoint", Endpoint.of(self.endpoint, "Judge(endpoint=...)"))
        if not isinstance(self.endpoint, Endpoint):
            raise PlanError(
                f"Judge({short(self.endpoint)}): give an endpoint, as Endpoint('http://localhost:8000', 'm')"
            )
        if type(self.max_chars) is not int or self.max_chars < 1:
            raise PlanError(f"Judge(max_chars={short(self.max_chars)}): must be a whole number, 1 or more")
        asked = self._of_items() if self.prompt is None else self._of_prompt()
        kept = {REPLY: REPLY_TYPE} if self.keep_reply else {}
        object.__setattr__(self, "columns", {**asked, **kept})

    def _of_items(self) -> Mapping[str, pa.DataType]:
        """The columns of the judge of items; sets what it reads."""
        if self.columns and {*self.columns} - {REPLY} != {*COLUMNS}:
            raise PlanError("Judge(columns=...) needs a prompt: without one it gives the three flags of an item")
        given = (self.image, self.question, self.answer, self.options)
        object.__setattr__(self, "reads", tuple(role for role in given if role is not None))
        return COLUMNS

    def _of_prompt(self) -> Mapping[str, pa.DataType]:
        """The columns that were given; sets the text of the prompt."""
        text = prompt_text(self.prompt, "Judge")
        object.__setattr__(self, "prompt", text)
        object.__setattr__(self, "reads", _roles(self.reads))
        check_places(text, self._texts, "Judge")
        return _types({name: kind for name, kind in dict(self.columns).items() if name != REPLY})

    @property
    def _asked(self) -> dict[str, pa.DataType]:
        return {name: kind for name, kind in self.columns.items() if name != REPLY}

    @property
    def _texts(self) -> tuple[str, ...]:
        return tuple(role for role in self.reads if role != self.image)

    @property
    def _sent(self) -> str:
        """The prompt as it is filled: with the form of the reply."""
        sight = self.image in self.reads
        text = self.prompt or item_prompt(self.question, self.answer, self.options, sight)
        return f"{text}\n\n{_form(self._asked, self.least, self.most)}"

    @property
    def resources(self) -> Resources:
        """Next to nothing: it waits."""
        return Resources()

    def files(self) -> Mapping[str, Path]:
        """No files.

        Raises:
            PlanError: without the client.
        """
        self.endpoint.check()
        return super().files()

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses an image that is none, and bytes in the place of a text.

        Raises:
            PlanError: naming the role's type.
        """
        binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        if not pa.types.is_null(kind) and binary != (role == self.image):
            what = "an image" if role == self.image else "text"
            raise PlanError(f"{where} reads {role!r} as {what}, but it is {kind}")

    def check_access(self) -> None:
        """See `PieceScorer`.

        Raises:
            PlanError: without the key in its environment variable.
        """
        self.endpoint.secret()

    def pieces(self, batch: pa.RecordBatch, check: Callable[[], object]) -> Generator[tuple[list[int], Scored]]:
        """Verdicts as they come; see `PieceScorer`."""
        null = [
            row for row in range(batch.num_rows) if any(not batch.column(role)[row].is_valid for role in self.reads)
        ]
        tally, missing = self.endpoint.tally(), set(null)
        yield null, self._scored([(row, _Read(None, None, "")) for row in null], batch, tally)
        first = ((row, self._question(batch, row)) for row in range(batch.num_rows) if row not in missing)
        unclear: dict[int, str] = {}
        for some in self.endpoint.ask_all(first, check, tally):
            done = [(row, self._read(answer)) for row, answer in some]
            unclear |= {row: made.reply for row, made in done if _repeatable(made)}
            yield self._piece([one for one in done if not _repeatable(one[1])], batch, tally)
        second = ((row, self._again(batch, row, reply)) for row, reply in unclear.items())
        for some in self.endpoint.ask_all(second, check, tally):
            yield self._piece([(row, self._read(answer)) for row, answer in some], batch, tally)

    def _piece(self, done: list[tuple[int, _Read]], batch: pa.RecordBatch, tally: Tally) -> tuple[list[int], Scored]:
        return [row for row, _ in done], self._scored(done, batch, tally)

    def _scored(self, done: list[tuple[int, _Read]], batch: pa.RecordBatch, tally: Tally) -> Scored:
        made: dict[str, pa.Array] = {
            name: pa.array([one.values and one.values[name] for _, one in done], kind)
            for name, kind in self._asked.items()
        }
        if self.keep_reply:
            kept = [one.values and {"text": one.reply, "cut": self._is_cut(batch, row)} for row, one in done]
            made[REPLY] = pa.array(kept, REPLY_TYPE)
        errors = {i: one.error for i, (_, one) in enumerate(done) if one.error is not None}
        return Scored(made, errors, work=tally.take(sum(map(_was_asked, done))))

    def _question(self, batch: pa.RecordBatch, row: int) -> Messages | RowError:
        """What is asked of one row, or why its image can't be sent."""
        values = {role: _text(batch.column(role)[row].as_py())[: self.max_chars] for role in self._texts}
        image = batch.column(self.image)[row].as_py() if self.image in self.reads else None
        return question(filled(self._sent, values), image)

    def _again(self, batch: pa.RecordBatch, row: int, reply: str) -> Messages | RowError:
        asked = self._question(batch, row)
        if isinstance(asked, RowError):
            return asked
        return [*asked, {"role": "assistant", "content": reply or "-"}, {"role": "user", "content": _AGAIN}]

    def _read(self, answer: Reply | RowError) -> _Read:
        if isinstance(answer, RowError):
            return _Read(None, answer, "")
        try:
            return _Read(read(answer.text, self._asked, self.least, self.most, answer.cut), None, answer.text)
        except Unreadable as error:
            cut = " (cut short by max_tokens)" if answer.cut else ""
            said = " ".join(answer.text[:1000].split())[:150]
            return _Read(None, RowError(UNREADABLE, f"{error}{cut}: {said!r}"), answer.text)

    def _is_cut(self, batch: pa.RecordBatch, row: int) -> bool:
        return any(len(_text(batch.column(role)[row].as_py())) > self.max_chars for role in self._texts)


def _was_asked(one: tuple[int, _Read]) -> bool:
    """Not of a row with a null, nor of one whose image can't be sent."""
    _, made = one
    return made.values is not None or (made.error is not None and not made.error.kind.startswith("image_"))


def _repeatable(made: _Read) -> bool:
    return made.error is not None and made.error.kind == UNREADABLE


def _text(value: Any) -> str:
    """A value as a prompt shows it: a list by lines."""
    return "\n".join(f"- {one}" for one in value) if isinstance(value, list) else str(value)


def _roles(reads: Any) -> tuple[str, ...]:
    if isinstance(reads, str) or not all(isinstance(role, str) for role in reads) or not reads:
        raise PlanError(f"Judge(reads={short(reads)}): give roles, as reads=('text',)")
    return tuple(dict.fromkeys(reads))


def _types(columns: Mapping[str, Any]) -> dict[str, pa.DataType]:
    if not columns:
        raise PlanError("Judge(prompt=...) needs columns: what to read from a reply, as columns={'quality': 'float32'}")
    return {name: _type(name, kind) for name, kind in columns.items()}


def _type(name: str, kind: Any) -> pa.DataType:
    try:
        made = kind if isinstance(kind, pa.DataType) else type_named(kind)
    except (ValueError, TypeError, AttributeError) as error:
        raise PlanError(
            f"Judge: column {name!r} can't be {short(kind)}; write a type of Arrow's, as 'float32'"
        ) from error
    known = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string)
    if not any(is_one(made) for is_one in known):
        raise PlanError(f"Judge: column {name!r} can't be {made}: bool, string, an integer or a float can be read")
    return made


def _form(columns: Mapping[str, pa.DataType], least: float | None, most: float | None) -> str:
    """What a reply should look like."""
    keys = ", ".join(f'"{key_of(name)}" ({_words(kind, least, most)})' for name, kind in columns.items())
    return f"Reply with one JSON object and nothing else. Its keys: {keys}."


def _words(kind: pa.DataType, least: float | None, most: float | None) -> str:
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_string(kind):
        return "a text"
    what = "a whole number" if pa.types.is_integer(kind) else "a number"
    bounds = [f"{word} {bound:g}" for word, bound in (("from", least), ("to", most)) if bound is not None]
    return " ".join([what, *bounds])

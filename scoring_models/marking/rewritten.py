"""Rows of multiple choice written anew in DatBench's layout: as one open question, or as all rotations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name
from poolsieve.scoring_models.marking.gold import Gold, accepted, no_answer
from poolsieve.scoring_models.marking.letters import LETTERS
from poolsieve.scoring_models.marking.options import (
    OPTIONS,
    Choice,
    are_options,
    choice_of,
    lettered,
    listed_in,
    rotations,
    without_requests,
)
from poolsieve.scoring_models.marking.texts import normal

WAYS = ("generative", "circular")

ROLES = ("uid", "image", "question", "answer", "answers", "options", "source", "capability", "prefix", "suffix")
"""What is read of a row."""

NEEDED = ("uid", "question", "answer")
"""What must be there."""

_PROMPT = pa.struct([("prefix", pa.string()), ("suffix", pa.string())])
_SOURCE = pa.struct([("dataset", pa.string()), ("original_idx", pa.string()), ("rotation", pa.int32())])


def layout(image: pa.DataType) -> pa.Schema:
    """DatBench's columns (datbench/schema.py), `rotation` in `source_info` being ours; images stay as they came."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("image", image),
            ("question", pa.string()),
            ("prompt_format", _PROMPT),
            ("answer", pa.string()),
            ("all_answers", pa.list_(pa.string())),
            ("eval_mode", pa.string()),
            ("judge_prompt", pa.string()),
            ("is_circular", pa.bool_()),
            ("metadata", pa.string()),
            ("source_info", _SOURCE),
            ("eval_metrics", pa.struct([("discrimination", pa.float64())])),
        ]
    )


class Rewritten(NamedTuple):
    """What rows became.

    Attributes:
        rows: columns as `layout` has them, in the order of the rows that they are made of.
        errors: place of a row in the batch that was given -> why nothing was made of it.
        unchanged: places of the rows that were open questions already, which stand in `rows` once, as they are.
    """

    rows: pa.RecordBatch
    errors: Mapping[int, RowError]
    unchanged: Sequence[int]


def rewritten(rows: pa.RecordBatch, how: str, roles: Mapping[str, str] | None = None) -> Rewritten:
    """Questions of multiple choice as open ones (`generative`), or as N rotations of their N options (`circular`).

    An open question has the text of the right option as its answer, to be matched by a judge (`eval_mode`); its options
    stand in `metadata` under `mcq_conversion`. A rotation has the id `<uid>-r<k>`, its first k options behind the
    others, a letter as its answer, and the options as lines of the prompt's suffix; `metadata` has them where the
    scorers of DatBench look for them (`options`, `all_choices`, `index2ans`). `source_info` has the row's source and
    uid (`dataset`, `original_idx`) and k (`rotation`; null for an open question). Options that the prompt's suffix
    lists, as DatBench's own rows have them, are taken out of it, and what asks for a letter out of an open question's.

    Args:
        rows: a batch with columns of `ROLES`; `options` a list of texts, their number, or missing.
        how: a name of `WAYS`.
        roles: name in `ROLES` -> column, where these differ.

    Raises:
        PlanError: for another `how`, a batch without a column that must be there, and options of another type.
    """
    if how not in WAYS:
        raise unknown_name(f"items can't be rewritten as {how!r}", how, WAYS)
    columns = _columns(rows, roles or {})
    errors: dict[int, RowError] = {}
    made, origins, unchanged = list[JsonObject](), list[int](), list[int]()
    for place in range(rows.num_rows):
        row = {name: column[place].as_py() for name, column in columns.items() if name != "image"}
        found = _made(row, how)
        if isinstance(found, RowError):
            errors[place] = found
            continue
        made += found
        origins += [place] * len(found)
        unchanged += [place] if found[0]["metadata"] == _metadata(row, {}) else []
    return Rewritten(_batch(made, columns.get("image"), origins), errors, unchanged)


def _columns(rows: pa.RecordBatch, roles: Mapping[str, str]) -> dict[str, pa.Array]:
    names = {name: roles.get(name, name) for name in ROLES}
    for name in NEEDED:
        if names[name] not in rows.schema.names:
            raise unknown_name(f"items have no column {names[name]!r}, for {name}", names[name], rows.schema.names)
    found = {name: rows.column(column) for name, column in names.items() if column in rows.schema.names}
    if "options" in found and not are_options(found["options"].type):
        kind = found["options"].type
        raise PlanError(f"items have {names['options']!r} as {OPTIONS}, but it is {kind}: name another column")
    return found


def _batch(made: list[JsonObject], images: pa.Array | None, origins: list[int]) -> pa.RecordBatch:
    """The rows; images are taken by place, so that none is copied through Python."""
    schema = layout(pa.binary() if images is None else images.type)
    shown = pa.nulls(len(made), pa.binary()) if images is None else images.take(pa.array(origins, pa.int64()))
    arrays = [shown if f.name == "image" else pa.array([row[f.name] for row in made], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _made(row: JsonObject, how: str) -> list[JsonObject] | RowError:
    gold = Gold(_text(row["answer"]), tuple(map(str, row.get("answers") or ())))
    wrong = no_answer(gold)
    if row["uid"] is None:
        return RowError("no_uid", "the row has no uid, which what is made of it would be named after")
    if wrong or not (row["question"] or "").strip():
        return RowError("no_answer", wrong) if wrong else RowError("no_question", "the question is empty")
    options = row.get("options")
    texts = ["" if one is None else str(one) for one in options] if isinstance(options, list) else options
    if not isinstance(texts, list) or not texts:
        behind = listed_in(row.get("suffix") or "")
        texts = list(behind.options) if behind else texts
    choice = choice_of(row["question"], texts, gold)
    if isinstance(choice, RowError):
        return choice
    if choice is None:
        return [_row(row, answer=accepted(gold)[0], all_answers=list(gold.answers or accepted(gold)))]
    return (
        [_open(row, choice)] if how == "generative" else [_turn(row, k, it) for k, it in enumerate(rotations(choice))]
    )


def _open(row: JsonObject, choice: Choice) -> JsonObject:
    kept = {"mcq_conversion": {"options": choice.options, "letter": choice.letter}}
    asked = {"question": choice.question, "answer": choice.answer, "all_answers": [choice.answer]}
    prefix = without_requests(row.get("prefix") or "")
    prompt = {"prefix": prefix, "suffix": without_requests(_suffix(row, choice))}
    return _row(row, **asked, eval_mode="judge", metadata=_metadata(row, kept), prompt_format=prompt)


def _turn(row: JsonObject, k: int, choice: Choice) -> JsonObject:
    known = dict(zip(LETTERS, choice.options, strict=False))
    kept = {"options": choice.options, "all_choices": list(known), "index2ans": known}
    made = _row(row, question=choice.question, answer=choice.letter, all_answers=[choice.letter])
    suffix = f"\n{lettered(choice.options)}{_suffix(row, choice)}"
    return {
        **made,
        "id": f"{row['uid']}-r{k}",
        "is_circular": True,
        "metadata": _metadata(row, kept),
        "prompt_format": {**made["prompt_format"], "suffix": suffix},
        "source_info": {**made["source_info"], "rotation": k},
    }


def _suffix(row: JsonObject, choice: Choice) -> str:
    """The prompt's suffix without the options that it lists; in whatever order, since they may be turned."""
    suffix = row.get("suffix") or ""
    listed = listed_in(suffix)
    if listed is None or set(map(normal, listed.options)) != set(map(normal, choice.options)):
        return suffix
    return f"\n{listed.question}" if listed.question else ""


def _row(row: JsonObject, **made: Any) -> JsonObject:
    uid = _text(row["uid"])
    return {
        "id": uid,
        "question": row["question"],
        "prompt_format": {"prefix": row.get("prefix") or "", "suffix": row.get("suffix") or ""},
        "eval_mode": "direct",
        "judge_prompt": "",
        "is_circular": False,
        "metadata": _metadata(row, {}),
        "source_info": {"dataset": _text(row.get("source")) or "", "original_idx": uid, "rotation": None},
        "eval_metrics": None,
        **made,
    }


def _metadata(row: JsonObject, more: JsonObject) -> str:
    capability = {"capability": row["capability"]} if row.get("capability") else {}
    return json.dumps({**capability, **more}, ensure_ascii=False)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

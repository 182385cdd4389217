"""Rows of any pool as items in DatBench's layout: as they are, or rewritten from multiple choice."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.marking.gold import Gold, accepted, no_answer
from poolsieve.scoring_models.marking.letters import LETTERS
from poolsieve.scoring_models.marking.options import choice_of
from poolsieve.scoring_models.marking.rewritten import ROLES, WAYS, Rewritten, layout, rewritten

PLAIN = "datbench"
"""Items as they are."""

HOWS = (PLAIN, *WAYS)

KEPT = ("eval_mode", "judge_prompt", "is_circular", "metadata", "discrimination", "pool")
"""Roles that an item may have beside those that are rewritten."""

READ = (*ROLES, *KEPT)
TEXTS = ("question", "answer", "source", "capability", "prefix", "suffix", "eval_mode", "judge_prompt", "metadata")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def schema_of() -> pa.Schema:
    """The layout, with the feature of images as `datasets` notes it."""
    features = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
    return layout(IMAGE).with_metadata({"huggingface": features})


def items_of(rows: pa.RecordBatch, how: str) -> Rewritten:
    """Rows in the layout, and what is wrong with the others.

    Args:
        rows: columns of `READ`, as `as_read` has them.
        how: a name of `HOWS`.
    """
    return _plain(rows) if how == PLAIN else rewritten(rows, how)


def as_read(columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Roles as items have them: numbers as texts, images as `datasets` has them, the part of a union as the source.

    Args:
        columns: of `READ`, `uid` among them, of one length.
    """
    made = {name: _text(values) if name in TEXTS else values for name, values in columns.items()}
    if "pool" in made:
        source = made.get("source", nulls(len(made["pool"]), pa.string()))
        made["source"] = pc.coalesce(source, made["pool"])
    made["image"] = _shown(made["image"]) if "image" in made else nulls(len(made["uid"]), IMAGE)
    return pa.RecordBatch.from_arrays(list(made.values()), names=list(made))


def _shown(image: pa.Array) -> pa.Array:
    paths = nulls(len(image), pa.string())
    return pa.StructArray.from_arrays([image.cast(pa.binary()), paths], fields=list(IMAGE), mask=image.is_null())


def _text(values: pa.Array) -> pa.Array:
    """Texts; of numbers the shortest that says them (JSON's 3 is a float, and is "3")."""
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    said = [
        None if value is None else f"{value:.0f}" if value % 1 == 0 else repr(value) for value in values.to_pylist()
    ]
    return pa.array(said, pa.string())


def _plain(rows: pa.RecordBatch) -> Rewritten:
    errors: dict[int, RowError] = {}
    made, places = list[JsonObject](), list[int]()
    names = [name for name in rows.schema.names if name != "image"]
    for place in range(rows.num_rows):
        row = {name: rows.column(name)[place].as_py() for name in names}
        if wrong := _fault(row):
            errors[place] = wrong
        else:
            made.append(_row(row))
            places.append(place)
    taken = pa.array(places, pa.int64())
    images, schema = rows.column("image").take(taken), layout(IMAGE)
    arrays = [images if f.name == "image" else pa.array([row[f.name] for row in made], f.type) for f in schema]
    return Rewritten(pa.RecordBatch.from_arrays(arrays, schema=schema), errors, ())


def _fault(row: JsonObject) -> RowError | None:
    gold = _gold(row)
    if wrong := no_answer(gold):
        return RowError("no_answer", wrong)
    if not (row["question"] or "").strip():
        return RowError("no_question", "the question is empty")
    found = choice_of(row["question"], options, gold) if (options := _options(row)) else None
    return found if isinstance(found, RowError) else None


def _gold(row: JsonObject) -> Gold:
    return Gold(row["answer"], tuple(str(one) for one in row.get("answers") or () if one is not None))


def _options(row: JsonObject) -> list[str] | None:
    options = row.get("options")
    if not isinstance(options, list) or not options:
        return None
    return ["" if one is None else str(one) for one in options]


def _row(row: JsonObject) -> JsonObject:
    gold = _gold(row)
    return {
        "id": row["uid"],
        "question": row["question"],
        "prompt_format": {"prefix": row.get("prefix") or "", "suffix": row.get("suffix") or ""},
        "answer": row["answer"] or accepted(gold)[0],
        "all_answers": list(gold.answers or accepted(gold)),
        "eval_mode": row.get("eval_mode") or "direct",
        "judge_prompt": row.get("judge_prompt") or "",
        "is_circular": bool(row.get("is_circular")),
        "metadata": row.get("metadata") or _metadata(row),
        "source_info": {"dataset": row.get("source") or "", "original_idx": row["uid"], "rotation": None},
        "eval_metrics": {"discrimination": row.get("discrimination")},
    }


def _metadata(row: JsonObject) -> str:
    made: JsonObject = {"capability": row["capability"]} if row.get("capability") else {}
    if options := _options(row):
        known = dict(zip(LETTERS, options, strict=False))
        made |= {"options": options, "all_choices": list(known), "index2ans": known}
    return json.dumps(made, ensure_ascii=False)

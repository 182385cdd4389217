"""Trains a fastText classifier on two kinds of text, as DCLM's quality filter was made (arXiv 2406.11794).

The kinds are two pools here; `ledger` makes them of the best and the worst rows of a ledger.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.casts import is_text
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.shards import Batch
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.store.shard_lines import pool_id
from poolsieve.dataflow.store.summary import dumps
from poolsieve.filters.dsl.cuts import tie_hashes
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.packages import package_versions
from poolsieve.scoring_models.base.provenance import record_path
from poolsieve.scoring_models.fasttext import LABEL, FastText

TEXT = "text"

_HELD = b"held-out texts"
"""Hashes of their own: rows that won a tie have small hashes of uids, and would all be held out."""


@dataclass
class Counted:
    """What became of the texts of one label."""

    trained: int = 0
    held_out: int = 0
    empty: int = 0
    unreadable: int = 0


@dataclass
class Quality:
    """Held-out texts by what they are and what the model says at a probability of one half."""

    true_positive: int = 0
    false_positive: int = 0
    true_negative: int = 0
    false_negative: int = 0

    @property
    def precision(self) -> float | None:
        """Of those that the model calls positive, the share that are."""
        found = self.true_positive + self.false_positive
        return self.true_positive / found if found else None

    @property
    def recall(self) -> float | None:
        """Of the positive ones, the share that the model finds."""
        there = self.true_positive + self.false_negative
        return self.true_positive / there if there else None


@dataclass
class Trained:
    """What a training came to."""

    model: str
    labels: tuple[str, str]
    holdout: float = 0.1
    seed: int = 0
    counts: dict[str, Counted] = field(default_factory=dict)
    quality: Quality = field(default_factory=Quality)


def pool_of(url: str, text: str | None) -> Pool:
    """The pool of a glob, its kind read off the files' names.

    Args:
        url: glob or brace range, on any fsspec storage.
        text: column, field or member of the text; `text` (`txt` in tars) if not given.

    Raises:
        PlanError: for another ending.
    """
    kind = kind_of(url)
    return Pool(kind.name, (url,), {TEXT: text or kind.text})


def kind_of(url: str) -> Format:
    """The format that files' names tell.

    Raises:
        PlanError: for another ending.
    """
    able = [kind for kind in FORMATS.values() if kind.text]
    kind = next((kind for kind in able if url.endswith(kind.endings)), None)
    if kind is None:
        endings = ", ".join(ending for kind in able for ending in kind.endings)
        raise PlanError(f"can't tell what {url!r} holds: its name should end with one of {endings}")
    return kind


def train_fasttext(
    positive: Pool,
    negative: Pool,
    model: str,
    *,
    labels: tuple[str, str] = ("hq", "lq"),
    holdout: float = 0.1,
    seed: int = 0,
    replace: bool = False,
    said: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Trained:
    """Trains a classifier that tells the texts of two pools apart, and measures it on texts that it has not seen.

    A text is one line, line breaks as blanks, as `FastText` scores it. Which texts are held out is a matter of their
    uid and `seed` alone. With one thread the same pools give the same model.

    Args:
        positive, negative: pools with a role `text`.
        model: path of the `.bin` to write.
        labels: of the two pools.
        holdout: share of the texts kept for measuring.
        seed: chooses the held-out texts.
        replace: an existing `model` may be replaced.
        said: is told what is being done.
        settings: for fastText's `train_supervised` (`dim`, `lr`, `epoch`, `wordNgrams`, `thread`, ...).

    Raises:
        PlanError: if fastText can't train, the labels are no two words, or a pool has no text.
        PoolsieveError: if the training fails.
    """
    kinds = [_of_pool(pool, label) for label, pool in zip(labels, (positive, negative), strict=True)]
    made_from = {kind.label: kind.about for kind in kinds}
    result = Trained(model, labels, holdout, seed)
    return fit(result, kinds, made_from, replace=replace, said=said, **settings)


@dataclass(frozen=True)
class Kind:
    """Texts of one label: where they are from, for messages and the record, and their batches with the role `text`."""

    label: str
    source: str
    about: JsonObject
    batches: Callable[[], Iterator[Batch]]


def _of_pool(given: Pool, label: str) -> Kind:
    given = given.pinned()
    pool = given.located()
    shards = pool.listing().shards
    types = pool.role_types(shards)
    check_text(types[TEXT], ", ".join(given.urls))

    def batches() -> Iterator[Batch]:
        for shard in shards:
            yield from pool.pool_batches(shard, (TEXT,), types)

    about = {**given.absolute().to_dict(), "id": pool_id(shards, pool.marks), "shards": len(shards)}
    return Kind(label, ", ".join(given.urls), about, batches)


def fit(
    result: Trained,
    kinds: Sequence[Kind],
    made_from: JsonObject,
    *,
    replace: bool = False,
    said: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Trained:
    """Trains on the texts of two labels; writes the model and, beside it, what it was made from.

    Args:
        result: what is wanted; its counts and quality are filled in.
        kinds: the positive and the negative texts.
        made_from: for the record.
        replace, said, settings: see `train_fasttext`.

    Raises:
        PlanError, PoolsieveError: see `train_fasttext`.
    """
    train, model, labels = trainer(), result.model, result.labels
    check(labels, model, replace)
    with tempfile.TemporaryDirectory() as folder:
        lines, unseen = Path(folder, "train.txt"), Path(folder, "unseen.txt")
        with lines.open("w", encoding="utf-8") as seen, unseen.open("w", encoding="utf-8") as held:
            for kind in kinds:
                said(f"reading {kind.source} as {kind.label}")
                result.counts[kind.label] = _write(kind, result.holdout, result.seed, seen, held)
        made = _trained(train, lines, said, settings)
        _measure(made, unseen, labels, result.quality)
        _save(made, model, _record(result, made_from, settings))
    return result


def trainer() -> Callable[..., Any]:
    """fastText's `train_supervised`.

    Raises:
        PlanError: without fastText, or with a build of it that only predicts.
    """
    try:
        import fasttext
    except ImportError as error:
        raise PlanError("training needs fastText: pip install fasttext-community") from error
    found: Callable[..., Any] | None = getattr(fasttext, "train_supervised", None)
    if found is None:
        raise PlanError(
            "the installed fastText can predict but not train; over it, the full one has the same name: "
            "pip install --no-deps --force-reinstall fasttext-community"
        )
    return found


def check_text(kind: pa.DataType, where: str) -> None:
    """Refuses a role `text` that holds something else.

    Raises:
        PlanError: naming its type.
    """
    if not is_text(kind):
        raise PlanError(f"{where}: the role 'text' is {kind}, not text: name another column or field with --text")


def check(labels: tuple[str, str], model: str, replace: bool) -> None:
    """Refuses labels that are no two words, and a model that can't be written.

    Raises:
        PlanError: saying what to do.
    """
    if len(set(labels)) != 2 or not all(label and not any(map(str.isspace, label)) for label in labels):
        raise PlanError(f"labels {labels}: two different words")
    if Path(model).exists() and not replace:
        raise PlanError(f"{model} is there already; say --replace to put another in its place")
    if not Path(model).absolute().parent.is_dir():
        raise PlanError(f"no folder {Path(model).absolute().parent} to write the model to")


def _write(kind: Kind, holdout: float, seed: int, seen: IO[str], held: IO[str]) -> Counted:
    """Writes the texts of a label as fastText reads them.

    Raises:
        PlanError: if there is none to train with.
    """
    counts = Counted()
    for batch in kind.batches():
        bad = {*batch.read_errors, *batch.role_errors.get(TEXT, {})}
        counts.unreadable += len(bad)
        texts = batch.roles.column(TEXT).to_pylist()
        for i, (text, unseen) in enumerate(zip(texts, _held_out(batch.uid, holdout, seed), strict=True)):
            if i in bad:
                continue
            line = _line(text)
            counts.empty += not line
            counts.held_out += bool(line) and unseen
            counts.trained += bool(line) and not unseen
            if line:
                (held if unseen else seen).write(f"{LABEL}{kind.label} {line}\n")
    if not counts.trained:
        rest = f"{counts.held_out:,} held out, {counts.empty:,} empty, {counts.unreadable:,} unreadable"
        raise PlanError(f"{kind.source} has no text to train with ({rest}): name more texts, or a smaller --holdout")
    return counts


def _held_out(uids: pa.Array, holdout: float, seed: int) -> list[bool]:
    limit = int(holdout * (1 << 64))
    return [int(one) < limit for one in tie_hashes(uids, seed, _HELD)]


def _line(text: str | None) -> str:
    """A text as one line of no labels: fastText takes any word with the prefix for one."""
    words = (text or "").encode("utf-8", "replace").decode().replace(LABEL, " ")
    return " ".join(words.split())


def _trained(train: Callable[..., Any], lines: Path, said: Callable[[str], None], settings: Mapping[str, Any]) -> Any:
    said(f"training on {lines.stat().st_size / 1e6:,.1f} MB of text")
    try:
        return train(input=str(lines), verbose=0, **settings)
    except (RuntimeError, ValueError) as error:
        hint = "; try a smaller --lr" if "NaN" in str(error) else ""
        raise PoolsieveError(f"fastText could not train: {error}{hint}") from error


def _record(result: Trained, made_from: JsonObject, settings: Mapping[str, Any]) -> JsonObject:
    """What the model was made from and how, for the runs that use it."""
    return {
        "format": 1,
        "made_from": made_from,
        "labels": list(result.labels),
        "holdout": result.holdout,
        "seed": result.seed,
        "settings": dict(sorted(settings.items())),
        "counts": {label: dataclasses.asdict(counts) for label, counts in result.counts.items()},
        "quality": dataclasses.asdict(result.quality),
        "versions": package_versions([FastText]),
    }


def _save(made: Any, model: str, about: JsonObject) -> None:
    """Writes the model under another name first, so that a killed run leaves nothing that looks finished."""
    record_path(model).unlink(missing_ok=True)
    partial = f"{model}.{os.getpid()}.partial"
    try:
        made.save_model(partial)
        os.replace(partial, model)
        fs.write_bytes(str(record_path(model)), dumps(about))
    finally:
        Path(partial).unlink(missing_ok=True)


def _measure(made: Any, unseen: Path, labels: tuple[str, str], quality: Quality) -> None:
    with unseen.open(encoding="utf-8") as lines:
        for line in lines:
            label, _, text = line.rstrip("\n").partition(" ")
            found, really = made.predict(text)[0][0] == LABEL + labels[0], label == LABEL + labels[0]
            name = f"{'true' if found == really else 'false'}_{'positive' if found else 'negative'}"
            setattr(quality, name, getattr(quality, name) + 1)

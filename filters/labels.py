"""`labels.*`: items whose label contradicts what a classifier, or the items most like them, say.

Both look at all labelled rows at once, on one worker, so they are made for labelled data sets and not for a crawl.
Their values stand in the ledger under a name (`labels`, if nothing is said): `labels.issue` (bool),
`labels.self_confidence` (float64, small is suspicious) and `labels.suggested`, the class that it would be. A row that
can't be judged, since it has no label or no numbers, has null in all three, and stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Rule
from poolsieve.filters.items.flags import NotTrue
from poolsieve.filters.labelling import confident, consensus, folds, nearest, simifeat
from poolsieve.filters.labelling.items import (
    MOST_CLASSES,
    Bools,
    Floats,
    Ints,
    Items,
    classes_of,
    codes_of,
    counted,
    finite,
    in_order,
)
from poolsieve.scoring_models.base.arrow import is_float_list
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import PATH, ROW, Alive, Part, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.packages import need

METHODS = ("rank", "vote")
"""SimiFeat's; the first is what its authors take."""

K = 10
"""SimiFeat's neighbours, the item itself among them."""

_log = logging.getLogger(__name__)


class Judged(NamedTuple):
    """Of m rows that could be judged: bool, float64 and int64 (m,); `suggested` is a place among the classes."""

    issue: Bools
    self_confidence: Floats
    suggested: Ints


@dataclass(frozen=True, eq=False, kw_only=True)
class _Labels(Config):
    """What both have in common; a subclass adds `lists`, `usable` and `judged`.

    Args:
        label: the score or pool column that is the label: strings, integers or booleans.
        classes: all of them, in the order of probabilities; None: the labels that there are, sorted.
        version: raised when the same scores would give other values.
    """

    label: str
    classes: tuple[str | int, ...] | None = None
    version: int = 1

    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "labels"
    exact: ClassVar[bool] = False
    """Whether float64 lists stay so."""
    in_manifest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.classes is not None:
            _check_classes(type(self).__name__, self.classes)

    @property
    def lists(self) -> str:
        """The score or pool column of lists of floats."""
        raise NotImplementedError

    def usable(self, items: Items, classes: int) -> dict[str, Bools]:
        """What is wrong with rows' lists -> which rows."""
        raise NotImplementedError

    def judged(self, values: Floats, codes: Ints, uids: pa.Array, classes: int) -> Judged:
        """The verdicts on m rows that have a label and numbers."""
        raise NotImplementedError

    @property
    def reads(self) -> tuple[str, ...]:
        """The label and the lists."""
        return (self.label, self.lists)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`suggested` is an int64 where `classes` are integers, else a string."""
        whole = self.classes is not None and type(self.classes[0]) is int
        return {"issue": pa.bool_(), "self_confidence": pa.float64(), "suggested": pa.int64() if whole else pa.string()}

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses labels that are no classes, lists that are no floats, and a missing package.

        Raises:
            PlanError: saying which.
        """
        need(type(self).__name__, *self.packages, extra=self.extra)
        label, lists = types[self.label], types[self.lists]
        if not (pa.types.is_string(label) or pa.types.is_integer(label) or pa.types.is_boolean(label)):
            raise PlanError(f"{where}: label {self.label!r} is {label}: a label is a string, an integer or a boolean")
        if not is_float_list(lists):
            raise PlanError(f"{where}: {self.lists!r} is {lists}, and a list of floats is needed")
        try:
            codes_of(pa.array([], label), self.classes or ())
        except PoolsieveError as error:
            raise PlanError(f"{where}: {error}") from error

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row that can be judged.

        Raises:
            PoolsieveError: if fewer than two classes are left of rows that are alive, or none can be judged.
        """
        items = in_order(parts, self.label, self.lists, self._width(), exact=self.exact)
        if not len(items.row):
            return self._table(items, np.zeros(0, dtype=bool), Judged(*(np.zeros(0, dtype=int),) * 3), [])
        classes = classes_of(items.label, self.classes)
        codes = codes_of(items.label, classes)
        rows = self._judgeable(items, codes, len(classes))
        values = items.values if rows.all() else items.values[rows]
        found = self.judged(values, codes[rows], items.uid.filter(pa.array(rows)), len(classes))
        return self._table(items, rows, found, classes)

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns; null where there is none."""
        return {name: table.column(name).combine_chunks() for name in self.columns}

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """Rows that were judged, those of them with an issue, and those that stay because nobody could judge them."""
        issue = scores["issue"]
        judged, flagged = np.asarray(issue.is_valid()), np.asarray(issue.fill_null(False))
        counts = {"judged": judged, "issues": flagged, "not judged and kept": kept & ~judged}
        return {"": {name: int(rows.sum()) for name, rows in counts.items()}}

    def _width(self) -> int | None:
        """Numbers of a list; None: as many as most have."""
        return None

    def _judgeable(self, items: Items, codes: Ints, classes: int) -> Bools:
        """bool (n,): rows that have what it takes; a warning says what the others lack."""
        none = {"no label": codes == -1, f"no {self.lists!r}": ~items.given}
        bad = {
            "a label that is none of the classes": codes == -2,
            f"a list of another length than {items.values.shape[1]}": items.given & ~items.there,
            **self.usable(items, classes),
        }
        wrong = np.any([*none.values(), *bad.values()], axis=0)
        self._say(items, none | bad, bad)
        if len(np.unique(codes[~wrong])) < 2:
            said = "; ".join(f"{rows:,} have {what}" for what, rows in counted(none | bad).items())
            raise PoolsieveError(
                f"of {len(codes):,} rows those that {self.lists!r} can judge are not of two classes: {said}"
            )
        return ~wrong

    def _say(self, items: Items, every: Mapping[str, Bools], bad: Mapping[str, Bools]) -> None:
        for what, rows in every.items():
            if rows.any():
                first = items.place(int(np.argmax(rows)))
                level = logging.WARNING if what in bad else logging.INFO
                _log.log(level, "%d rows are not judged: they have %s (first: %s)", rows.sum(), what, first)

    def _table(self, items: Items, rows: Bools, found: Judged, classes: Sequence[Any]) -> pa.Table:
        kind = self.columns["suggested"]
        names = pa.array([_spelled(one) if pa.types.is_string(kind) else one for one in classes], kind)
        here = pa.array(rows)
        return pa.table(
            {
                PATH: items.path.filter(here),
                ROW: pa.array(items.row[rows], pa.int64()),
                "issue": pa.array(found.issue, pa.bool_()),
                "self_confidence": pa.array(found.self_confidence, pa.float64()),
                "suggested": names.take(pa.array(found.suggested, pa.int64())),
            }
        )


def _spelled(one: Any) -> str:
    return str(one).lower() if isinstance(one, bool) else str(one)


def _check_classes(what: str, classes: Any) -> None:
    kinds = {type(one) for one in classes} if isinstance(classes, tuple) else set()
    if len(kinds) != 1 or not kinds <= {str, int, bool} or len(classes) < 2:
        raise PlanError(f"{what}(classes={short(classes)}): give two or more labels, all strings or all integers")
    if len(classes) > MOST_CLASSES:
        raise PlanError(f"{what}(classes=...) has {len(classes):,} labels: classes are at most {MOST_CLASSES:,}")
    if len(set(classes)) < len(classes):
        twice = next(one for one in classes if classes.count(one) > 1)
        raise PlanError(f"{what}(classes=...): {short(twice)} stands there twice")


@dataclass(frozen=True, eq=False, kw_only=True)
class ConfidentLearning(_Labels):
    """Confident learning, as cleanlab's `find_label_issues`; see `labels.confident_learning`."""

    probabilities: str | None = None
    embedding: str | None = None
    filter_by: str = confident.FILTERS[0]
    folds: int = folds.FOLDS

    packages = ("cleanlab", "scikit-learn")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.probabilities is None) == (self.embedding is None):
            raise PlanError(
                "confident_learning() needs either probabilities='column' (of a model that did not see the row in "
                "training) or embedding='column', from which they are made"
            )
        if self.filter_by not in confident.FILTERS:
            what = f"confident_learning(filter_by={short(self.filter_by)}) is none of cleanlab's"
            raise unknown_name(what, self.filter_by, confident.FILTERS)
        if type(self.folds) is not int or not 2 <= self.folds <= 100:
            raise PlanError(f"confident_learning(folds={short(self.folds)}): must be a whole number from 2 to 100")

    @property
    def lists(self) -> str:
        """The probabilities, or the embeddings that they are made from."""
        return self.probabilities or self.embedding or ""

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Given probabilities are judged as they are."""
        return self.probabilities is not None

    def usable(self, items: Items, classes: int) -> dict[str, Bools]:
        """Rows whose numbers are no probabilities, or not finite."""
        if self.probabilities is None:
            return {"an embedding that is not finite": items.there & ~finite(items.values)}
        if items.values.shape[1] != classes:
            raise PoolsieveError(
                f"{self.probabilities!r} has {items.values.shape[1]} probabilities a row, and the labels "
                f"{self.label!r} have {classes} classes: give all, in the order of the probabilities, as classes=[...]"
            )
        return {"numbers that are no probabilities": items.there & ~confident.distributions(items.values)}

    def judged(self, values: Floats, codes: Ints, uids: pa.Array, classes: int) -> Judged:
        """cleanlab's flags, on given or on our own probabilities."""
        made = values if self.embedding is None else self._made(values, codes, uids, classes)
        issue = confident.issues(codes, made, self.filter_by)
        return Judged(issue, confident.self_confidence(codes, made), np.argmax(made, axis=1).astype(np.int64))

    def _made(self, values: Floats, codes: Ints, uids: pa.Array, classes: int) -> Floats:
        fold = folds.fold_of(uids, self.folds)
        return folds.out_of_sample(values.astype(np.float32, copy=False), codes, fold, classes)

    def _width(self) -> int | None:
        return None if self.probabilities is None or self.classes is None else len(self.classes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbours(_Labels):
    """SimiFeat: labels against those of the nearest; see `labels.neighbours`."""

    embedding: str
    k: int = K
    method: str = METHODS[0]

    packages = ("faiss-cpu",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.k) is not int or not 3 <= self.k <= 1000:
            raise PlanError(
                f"neighbours(k={short(self.k)}): must be a whole number from 3 to 1000; the item itself is one of them"
            )
        if self.method not in METHODS:
            raise unknown_name(f"neighbours(method={short(self.method)}) does not exist", self.method, METHODS)

    @property
    def lists(self) -> str:
        """The embeddings."""
        return self.embedding

    def usable(self, items: Items, classes: int) -> dict[str, Bools]:
        """Rows whose embedding has no direction. Makes the others one long, in place."""
        return {"an embedding without a direction": items.there & ~nearest.unit(items.values)}

    def judged(self, values: Floats, codes: Ints, uids: pa.Array, classes: int) -> Judged:
        """The flags, the soft count of the item's own label, and the winner."""
        values = values.astype(np.float32, copy=False)
        group = nearest.duplicates(values)
        near = nearest.neighbours(values, group, self.k - 1)
        found = simifeat.votes(codes, near)
        if self.method == "vote":
            issue = simifeat.outvoted(codes, found)
        else:
            shares = consensus.observed(near, values, group, codes, uids, classes)
            issue = simifeat.ranked(codes, found, consensus.right_shares(consensus.fitted(shares), shares.ones))
        return Judged(issue, found.own, found.winner)


def _stage(name: str, reason: str | None, made: _Labels) -> Chain:
    return Chain((Derive(**{name: made}), Rule(NotTrue(f"{name}.issue"), reason or f"{name}.mislabelled")))


def _classes(given: Sequence[str | int] | None) -> Any:
    return tuple(given) if isinstance(given, (list, tuple)) else given


@stage(example='labels.confident_learning(label="class", probabilities="probabilities")')
def confident_learning(
    *,
    label: str,
    probabilities: str | None = None,
    embedding: str | None = None,
    classes: Sequence[str | int] | None = None,
    filter_by: str = confident.FILTERS[0],
    folds: int = folds.FOLDS,
    name: str = "labels",
    reason: str | None = None,
) -> Chain:
    """Drops rows whose label cleanlab's `find_label_issues` flags, by probabilities that are given or made here.

    Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021. Needs the extra `labels`. From embeddings, each row's
    probabilities come from a logistic regression on standardised numbers that learned from the rows of the other folds.

    Args:
        label: a score or a pool column: strings, integers or booleans.
        probabilities: a score or pool column of lists of floats, one for each class, by a model that did not see the
            row in training.
        embedding: instead, a score or pool column of lists of floats, as `clip.image_embedding` of
            `Clip(embeddings=True)`.
        classes: in the order of the probabilities; if not given, the labels that there are, sorted.
        filter_by: cleanlab's way to choose.
        folds: by a hash of the uid, for embeddings.
        name: of the values.
        reason: of what is dropped; `<name>.mislabelled` if not given.
    """
    made = ConfidentLearning(
        label=label,
        probabilities=probabilities,
        embedding=embedding,
        classes=_classes(classes),
        filter_by=filter_by,
        folds=folds,
    )
    return _stage(name, reason, made)


@stage(example='labels.neighbours(label="class", embedding="embedding")')
def neighbours(
    *,
    label: str,
    embedding: str,
    k: int = K,
    method: str = METHODS[0],
    classes: Sequence[str | int] | None = None,
    name: str = "labels",
    reason: str | None = None,
) -> Chain:
    """Drops rows whose label the rows most like them contradict: SimiFeat, without training.

    Zhu, Dong, Liu, arXiv 2110.06283. Needs the extra `labels`. Neighbours are exact, by cosine; exact duplicates of a
    row are none of its own.

    Args:
        label: a score or a pool column: strings, integers or booleans.
        embedding: a score or pool column of lists of floats, as `clip.image_embedding` of `Clip(embeddings=True)`.
        k: the row itself and its k - 1 nearest.
        method: "vote" drops where another label has most of the votes; "rank" drops in each class the share of labels
            that is estimated to be wrong (HOC, arXiv 2102.05291), by how few votes they have.
        classes: if not given, the labels that there are.
        name: of the values.
        reason: of what is dropped; `<name>.mislabelled` if not given.
    """
    made = Neighbours(label=label, embedding=embedding, k=k, method=method, classes=_classes(classes))
    return _stage(name, reason, made)

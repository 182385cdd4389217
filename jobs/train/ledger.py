"""Distils a score: a fastText classifier of the best and the worst rows of a ledger.

Two passes of language models over a sample of a pool and one pass of fastText over the rest then stand for two passes
of language models over all.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.decisions.selection import DigitCounts, Searches, advance, count_rows, cuts_of, levels
from poolsieve.dataflow.pools.formats.base import wanted
from poolsieve.dataflow.pools.sample import only
from poolsieve.dataflow.pools.shards import Batch
from poolsieve.dataflow.pools.union import KINDS, UNION
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.dataflow.store.tables import one_array
from poolsieve.filters.dsl.cuts import Cut, Mask, kept_by, key_bits
from poolsieve.filters.dsl.env import Env
from poolsieve.filters.dsl.limits import nan_to_null
from poolsieve.filters.dsl.top import Ranked, Top
from poolsieve.jobs.train.fasttext import TEXT, Kind, Trained, check, check_text, fit, trainer
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

NOT_SCORES = ("row", "uid", "keep", "reason")


def train_from_ledger(
    out: str | os.PathLike[str],
    model: str,
    *,
    score: str,
    top: float | str,
    bottom: float | str,
    lowest: bool | None = None,
    text: str | None = None,
    labels: tuple[str, str] = ("hq", "lq"),
    holdout: float = 0.1,
    seed: int = 0,
    **how: Any,
) -> Trained:
    """Trains a classifier that tells the best rows of a ledger from the worst, by their texts in the pool.

    Rows without a number (dropped before, quarantined, NaN) do not count. Ties are broken as `Top` does.

    Args:
        out: OUT of a whole run, whose pool is where it was.
        model: path of the `.bin` to write.
        score: column of the ledger.
        top, bottom: shares of the rows that have the score: the best, which are positive, and the worst.
        lowest: whether the smallest scores are the best; None: as the recipe's `Top` of that score says.
        text: source of the text in the pool's files; the role `text` if not given.
        labels, holdout, seed, how: see `train_fasttext`.

    Raises:
        PlanError: for a score, shares or a side that can't be; see also `train_fasttext`.
        PoolsieveError: if the training fails, or the ledger or the pool has changed.
    """
    trainer()
    check(labels, model, bool(how.get("replace", False)))
    run = OutFolder(os.fspath(out))
    kind = _kind(run, score)
    side = _side(run, score, lowest)
    _check_shares(top, bottom)
    best, worst = _Ranks(run, score, kind, side, top), _Ranks(run, score, kind, side, bottom, worst=True)
    pool = _pool(run, text)
    kinds = [best.texts(pool, labels[0]), worst.texts(pool, labels[1])]
    made_from = {
        "out": run.url,
        "decision": run.decision,
        "pool": run.manifest.to_json()["pool"],
        "score": score,
        "fingerprints": dict(run.manifest.fingerprints),
        "lowest": side,
        "best": kinds[0].about,
        "worst": kinds[1].about,
    }
    return fit(Trained(model, labels, holdout, seed), kinds, made_from, **how)


def _kind(run: OutFolder, score: str) -> pa.DataType:
    columns = {name: kind for name, kind in run.ledger_columns().items() if name not in NOT_SCORES}
    if score not in columns:
        raise unknown_name(f"the ledger in {run.url} has no score {score!r}", score, columns)
    key_bits(columns[score])  # refuses what has no order of numbers
    return columns[score]


def _side(run: OutFolder, score: str, lowest: bool | None) -> bool:
    """Whether the smallest scores are the best."""
    facts = run.summary.facts
    said = {top.lowest for top in facts.tops if top.score == score} if facts is not None else set()
    if lowest is None and len(said) != 1:
        why = "ranks by it from both ends" if said else "has no Top of it"
        raise PlanError(f"which end of {score!r} is the best? The recipe {why}: say --lowest or --highest")
    if lowest is None:
        return said.pop()
    if said == {not lowest}:
        there, here = ("--highest", "--lowest") if lowest else ("--lowest", "--highest")
        raise PlanError(f"{here} is not what the recipe says: its Top of {score!r} is {there}. Leave the option out")
    return lowest


def _check_shares(top: float | str, bottom: float | str) -> None:
    try:
        shares = [Decimal(str(share)) for share in (top, bottom)]
    except ArithmeticError as error:
        raise PlanError(f"--top {top}, --bottom {bottom}: shares of the rows are wanted, like 0.1") from error
    if not all(share.is_finite() and 0 < share < 1 for share in shares) or sum(shares) > 1:
        raise PlanError(f"--top {top}, --bottom {bottom}: two shares above 0 that make at most 1 together are wanted")


def _pool(run: OutFolder, text: str | None) -> Pool:
    pool = run.manifest.pool.pool()
    if pool.kind == UNION and text not in (None, TEXT):
        raise PlanError(f"--text {text}: the parts of a union say themselves where their text is, by the role {TEXT!r}")
    source = text or pool.roles.get(TEXT) or KINDS[pool.kind].text
    return dataclasses.replace(pool, roles={**pool.roles, TEXT: source})


@dataclass(frozen=True)
class _Ranks:
    """The rows of a ledger at one end of a score.

    The worst are those that a cut leaves, so that rows which tie are in one order from the best to the worst, and none
    is at both ends.
    """

    run: OutFolder
    score: str
    kind: pa.DataType
    lowest: bool
    share: float | str
    worst: bool = False

    def cut(self) -> tuple[Cut, int]:
        """The exact cut, and the rows on this side of it."""
        cut = self._cut(fraction=self.share)
        rows = min(cut.k, cut.competing)
        # Of `competing` rows, at least one stays beside the worst.
        return (self._cut(count=max(1, cut.competing - rows)) if self.worst else cut), rows

    def _cut(self, **how: Any) -> Cut:
        """By as many readings of the score's column as the search has levels."""
        top = Top(self.score, lowest=self.lowest, **how).predicate
        assert isinstance(top, Ranked)
        searches: Searches | None = None
        for _ in range(levels(self.kind)):
            counts: dict[str, DigitCounts] = {}
            for line in self.run.shards:
                found = count_rows(self._env(line), searches, top=top, kind=self.kind)
                for group, some in found.items():
                    counts[group] = counts[group].add(some) if group in counts else some
            searches = advance(counts, searches, top=top, kind=self.kind)
            if all(search.cut for search in searches.values()):
                break
        return cuts_of(searches or {})[""]

    def _env(self, line: ShardLine) -> Env:
        ledger = self.run.ledger_of(line, ["row", "uid", self.score])
        values, uids = one_array(ledger, self.score), one_array(ledger, "uid")
        alive = np.asarray(nan_to_null(values).is_valid().to_numpy(zero_copy_only=False), dtype=bool)
        rows = np.asarray(ledger.column("row").to_numpy(), dtype=np.int64)
        return Env({self.score: values}, lambda: uids, rows, line.path, {}, alive)

    def taken(self, env: Env, cut: Cut) -> Mask:
        """bool (n,): the rows of a shard that are on this side of the cut."""
        kept = kept_by(cut, env.scores[self.score], env.uid_of, env.rows, env.path, seed=0)
        return env.alive & ~kept if self.worst else kept

    def texts(self, pool: Pool, label: str) -> Kind:
        """The texts of the rows."""
        (cut, count), files = self.cut(), pool.located()
        shards = [line.shard for line in self.run.shards]
        for shard in shards[:1]:
            files.check_unchanged(shard)  # says it better than whatever reads its schema
        types = files.role_types(shards)
        check_text(types[TEXT], f"the pool of {self.run.url}")

        def batches() -> Iterator[Batch]:
            for line in self.run.shards:
                env = self._env(line)
                rows = env.rows[self.taken(env, cut)]
                if not len(rows):
                    continue
                files.check_unchanged(line.shard)
                for batch in files.batches(line.shard, (TEXT,), types, wanted(rows)):
                    mask = np.isin(batch.rows, rows)
                    if mask.any():
                        yield only(batch, mask)
                files.check_unchanged(line.shard)

        about = {"share": str(self.share), "rows": count, "beyond" if self.worst else "cut": cut.to_dict()}
        what = "worst" if self.worst else "best"
        source = f"the {what} {count:,} of {cut.competing:,} rows by {self.score} in {self.run.url}"
        return Kind(label, source, about, batches)

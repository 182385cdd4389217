"""One pool, chosen from in each way: by the project's own `train color`, `run`, `decide` and `train fasttext`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import effect_texts
import numpy as np
from effect_texts import Made, Wanted

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Dsir, Score, Top
from poolsieve.jobs.train.color.pair import train_color
from poolsieve.jobs.train.ledger import train_from_ledger
from poolsieve.scoring_models import Color, FastText

FAST = {"epoch": 25, "lr": 0.5, "dim": 16, "wordNgrams": 2, "bucket": 100_000, "holdout": 0.0}
"""For a classifier of a hundred short texts: `train fasttext`'s own defaults are for thousands, and learn nothing here."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the experiment is."""

    wanted: Wanted
    tau: int
    prior_tokens: int
    epochs: int
    sample: float
    most: int
    """Tokens that a target model is trained on at most, as random selection is."""
    seeds: int


@dataclass
class Selected:
    """What was chosen from a pool, and what the ways to it took.

    Attributes:
        kept: name of a way -> uids of the rows that it keeps.
        scores: uid -> (color, prior, conditional).
        tokens: tokens that were seen in training the prior and the conditional.
        seconds: name of a step -> wall seconds, of a machine that may have had other work.
    """

    made: Made
    folder: Path
    kept: dict[str, list[str]] = field(default_factory=dict)
    scores: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Notes how long something takes."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    @property
    def conditional(self) -> Path:
        """The folder of a model of the pair; its tokenizer is everybody's."""
        return self.folder / "pair" / "conditional"


def select(folder: Path, sizes: Sizes, seed: int, said: Callable[[str], None]) -> Selected:
    """Makes a pool, trains the pair, and selects in each way."""
    made = effect_texts.make(folder, sizes.wanted, seed)
    pool, target = Pool.jsonl(made.pool, uid="id", text="text"), Pool.jsonl(made.target, text="text")
    chosen = Selected(made, folder)
    said("train color")
    with chosen.timed("train color"):
        pair = train_color(
            target,
            folder / "pair",
            prior_pool=pool,
            preset="tiny",
            tokens=sizes.prior_tokens,
            epochs=sizes.epochs,
            seed=seed,
        )
    for name in ("prior", "conditional"):
        chosen.tokens[name] = json.loads((pair / name / "training.json").read_bytes())["tokens"]
    said("select")
    _random(chosen, sizes, seed)
    _color(chosen, pool, sizes)
    _dsir(chosen, pool, target, sizes)
    _distilled(chosen, pool, sizes, seed)
    return chosen


def _random(chosen: Selected, sizes: Sizes, seed: int) -> None:
    """As many rows of the pool, whichever; and of those of the target's world alone, which no selection can tell better."""
    dice, rows = np.random.default_rng(seed), chosen.made.rows
    own = [uid for uid, row in rows.items() if row[0] == "manuals"]
    chosen.kept["random"] = [list(rows)[i] for i in dice.permutation(len(rows))]
    chosen.kept["label"] = [own[i] for i in dice.permutation(len(own))][: len(rows) // sizes.tau]


def _scorer(chosen: Selected) -> Score:
    pair = chosen.folder / "pair"
    return Score(color=Color(prior=str(pair / "prior"), conditional=str(pair / "conditional")))


def _color(chosen: Selected, pool: Pool, sizes: Sizes) -> None:
    """CoLoR's choice; the conditional's alone is another decision over the same scores."""
    with chosen.timed("color"):
        out = _run(pool | _scorer(chosen) | Top("color", tau=sizes.tau, lowest=True), chosen.folder / "color")
    names = ["uid", "color", "color.prior", "color.conditional"]
    for row in out.ledger(columns=names).to_pylist():
        chosen.scores[row["uid"]] = tuple(row[name] for name in names[1:])
    chosen.kept["color"] = _kept(out)
    with chosen.timed("decide: conditional only"):
        again = out.decide(pool | _scorer(chosen) | Top("color.conditional", tau=sizes.tau, lowest=True))
    chosen.kept["conditional"] = _kept(again)


def _dsir(chosen: Selected, pool: Pool, target: Pool, sizes: Sizes) -> None:
    with chosen.timed("dsir"):
        recipe = pool | Score(dsir=Dsir(target, pool)) | Top("dsir", tau=sizes.tau)
        chosen.kept["dsir"] = _kept(_run(recipe, chosen.folder / "dsir"))


def _distilled(chosen: Selected, pool: Pool, sizes: Sizes, seed: int) -> None:
    """A share of the pool is scored, and a fastText classifier of its best and worst rows scores the pool."""
    some, model = pool.sample(fraction=sizes.sample, seed=seed), chosen.folder / "color.bin"
    with chosen.timed("distil: score the sample"):
        out = _run(some | _scorer(chosen) | Top("color", tau=sizes.tau, lowest=True), chosen.folder / "sample")
    with chosen.timed("distil: train fasttext"):
        train_from_ledger(out.url, str(model), score="color", top=0.1, bottom=0.5, lowest=True, **FAST)
    with chosen.timed("distil: score the pool"):
        recipe = pool | Score(fast=FastText(str(model), label="hq")) | Top("fast", tau=sizes.tau)
        chosen.kept["distilled"] = _kept(_run(recipe, chosen.folder / "distilled"))
    chosen.tokens["sample"] = out.counts.rows_in


def _run(recipe: Any, out: Path) -> Any:
    return poolsieve.run(recipe, os.fspath(out), samples=False, say=lambda _: None)


def _kept(out: Any) -> list[str]:
    table = out.ledger(columns=["uid", "keep"])
    return [uid for uid, keep in zip(*(table[name].to_pylist() for name in ("uid", "keep")), strict=True) if keep]

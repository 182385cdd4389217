"""`train_color`: the prior and, from it, the conditional, in one folder that a killed training goes on in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.store.summary import dumps
from poolsieve.jobs.train.color import chunks, record, stage, tokenizer
from poolsieve.jobs.train.color.chunks import Counted, Listed
from poolsieve.jobs.train.color.presets import DIFFERS, Preset, preset
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.provenance import TRAINING
from poolsieve.scoring_models.hub.checkpoints import SAFE, checkpoint_files, loading, placed, shown
from poolsieve.scoring_models.hub.files import read_json, refuse_code

PRIOR, CONDITIONAL = "prior", "conditional"

OPTIONS, WORK = "options.json", "work"
"""What the folder is for, and what is gone when both models are there: streams of ids, checkpoints."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user asked for; see `train_color`."""

    target: Pool
    prior_pool: Pool | None = None
    start: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    preset: str = "small"
    seed: int = 0
    steps: int | None = None
    tokens: int | None = None
    epochs: int | None = None
    length: int | None = None
    batch: int | None = None
    rate: float | None = None
    micro: int | None = None

    def __post_init__(self) -> None:
        if (self.prior_pool is None) == (self.start is None):
            raise PlanError("say either a prior pool, from which a prior is trained, or a model to start from (--from)")
        if self.start is not None and (self.tokenizer, self.steps, self.tokens) != (None, None, None):
            raise PlanError("--from has a tokenizer and is a prior: --tokenizer, --steps and --tokens have no place")
        if self.steps is not None and self.tokens is not None:
            raise PlanError("--steps and --tokens both say how long the prior is trained: give one of them")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 32:
            raise PlanError(f"seed={self.seed!r}: a whole number from 0 to 2^32 - 1 is wanted")
        if self.tokens is not None and self.tokens < 1:
            raise PlanError(f"tokens={self.tokens!r}: a positive number is wanted")
        if self.micro is not None and self.micro < 1:
            raise PlanError(f"micro-batch {self.micro}: at least one chunk has to be computed at a time")
        if self.rate is not None and not 0 < self.rate < 1:
            raise PlanError(f"lr={self.rate!r}: a rate above 0 and below 1 is wanted")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training after checking.

    Attributes:
        plan: sizes and schedule, with what the user changed.
        files: of the model to start from, or of the tokenizer; empty for a tokenizer that is trained along.
        said_by: the model or tokenizer as it is written down.
    """

    wishes: Wishes
    out: Path
    plan: Preset
    target: Listed
    prior: Listed | None
    files: dict[str, Path]
    said_by: str

    @property
    def options(self) -> JsonObject:
        """Everything that the files in the folder follow from."""
        wishes = self.wishes
        return {
            "preset": wishes.preset,
            "schedule": self.plan.to_dict(),
            "seed": wishes.seed,
            "micro_batch": wishes.micro,
            "prior_pool": None if self.prior is None else self.prior.about(),
            "target": self.target.about(),
            "from" if wishes.start else "tokenizer": {"name": self.said_by, "files": record.hashes(self.files)},
        }


def train_color(target: Pool, out: str | os.PathLike[str], *, said: Say = lambda line: None, **wishes: Any) -> Path:
    """Trains the pair for `Color(prior=..., conditional=...)`: a prior on a pool, the conditional on a target.

    The conditional begins as the prior, with a fresh optimiser and schedule (Brandfonbrener et al., arXiv 2406.10670).
    Killed, the same call goes on from its last checkpoint; a model that is there is not trained again. On one CPU and
    number of threads the same call gives the same weights.

    Args:
        target: what the data shall be like; a role `text`.
        out: folder on this machine, for `prior/`, `conditional/`.
        said: is told what is being done.
        wishes: `prior_pool`, or `start` (a Hub id or folder of a causal model; with `revision`), from which the
            conditional alone is trained; `tokenizer` (Hub id or folder; else a byte-level BPE is trained on the prior
            pool); `preset`, a name of `PRESETS`; `seed`; `steps` or `tokens` of the prior, `epochs` of the conditional
            over the target, `length` of a chunk, `batch` (chunks of a step), `rate`: in place of the preset's; `micro`,
            chunks that are computed at a time.

    Returns:
        The folder.

    Raises:
        PlanError: for anything that can't work, or a folder that is for another training.
        PoolsieveError: if a training fails.
    """
    need("poolsieve train color", *record.PACKAGES, extra="train")
    made = _checked(Wishes(target=target, **wishes), _folder(out))
    made.out.mkdir(parents=True, exist_ok=True)
    with leases.held(str(made.out / "leases"), leases.SOLE, "poolsieve train color"):
        _same_options(made)
        _train(made, said)
        shutil.rmtree(made.out / WORK, ignore_errors=True)
    return made.out


def _folder(out: str | os.PathLike[str]) -> Path:
    text = os.fspath(out)
    if ":/" in text:  # `Path("s3://bucket")` has one slash
        raise PlanError(f"{text}: a training needs a folder on this machine; copy it to the storage afterwards")
    path = Path(text).absolute()
    if path.exists() and not path.is_dir():
        raise PlanError(f"{path} is a file: a folder is needed")
    return path


def _checked(wishes: Wishes, out: Path) -> Plan:
    plan = preset(wishes.preset).changed(
        steps=wishes.steps, epochs=wishes.epochs, length=wishes.length, batch=wishes.batch, rate=wishes.rate
    )
    if wishes.tokens is not None:
        plan = plan.changed(steps=max(1, wishes.tokens // (plan.batch * plan.length)))
    files: dict[str, Path] = {}
    name = wishes.start or wishes.tokenizer
    if wishes.start is not None:
        files = _model_files(placed(wishes.start), wishes.revision)
    elif wishes.tokenizer is not None:
        files = tokenizer.found_files(placed(wishes.tokenizer), wishes.revision)
    return Plan(
        wishes=wishes,
        out=out,
        plan=plan,
        target=chunks.listed(wishes.target, "target"),
        prior=None if wishes.prior_pool is None else chunks.listed(wishes.prior_pool, "prior pool"),
        files=files,
        said_by=shown(placed(name)) if name else "byte-level BPE trained on the prior pool",
    )


def _model_files(model: str, revision: str | None) -> dict[str, Path]:
    found = checkpoint_files(model, revision, "causal language model with weights as safetensors", weights=SAFE)
    refuse_code([found["config.json"]])
    return found


def _same_options(made: Plan) -> None:
    """Notes what the folder is for, or compares with what it is for.

    Raises:
        PlanError: naming what differs, or for a folder with other contents.
    """
    path, mine = made.out / OPTIONS, json.loads(dumps(made.options))
    if not path.exists():
        others = sorted(name for name in os.listdir(made.out) if name != "leases" and not name.startswith("."))
        if others:
            raise PlanError(f"{made.out} has other contents ({others[0]}): choose a new folder")
        fs.write_bytes(str(path), dumps(mine))
        return
    try:
        theirs = json.loads(path.read_bytes())
    except ValueError as error:
        raise PlanError(f"{path} is damaged ({error}): choose a new folder") from error
    changed = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    if changed:
        raise PlanError(
            f"{made.out} is for a training with other options ({', '.join(map(_difference(theirs, mine), changed))}): "
            "give the same ones to go on with it, or choose a new folder"
        )


def _difference(theirs: JsonObject, mine: JsonObject) -> Callable[[str], str]:
    def said(key: str) -> str:
        one, other = theirs.get(key), mine.get(key)
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return f"{key}: {one} there, {other} here"
        inner = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return ", ".join(f"{key}.{name}: {one.get(name)} there, {other.get(name)} here" for name in inner)

    return said


def _train(made: Plan, said: Say) -> None:
    if made.prior is not None and not (made.out / PRIOR).exists():
        words = _tokenizer(made, said)
        _stream(made, CONDITIONAL, words, said)  # a target of too little text is none to train a prior for first
        _stage(made, PRIOR, words, lambda: _fresh(made, words), said)
    if (made.out / CONDITIONAL).exists():
        said(f"{made.out / CONDITIONAL} is there")
        return
    start = made.files if made.prior is None else _model_files(str(made.out / PRIOR), None)
    words = tokenizer.loaded(start, made.said_by)
    _stage(made, CONDITIONAL, words, lambda: _loaded(made, start, words), said)


def _tokenizer(made: Plan, said: Say) -> Any:
    """The tokenizer, from files in any case, so that a training that goes on has the same as one that begins."""
    if made.files:
        return tokenizer.loaded(made.files, made.said_by)
    folder = made.out / WORK / "tokenizer"
    if not folder.exists() and made.prior is not None:
        said(f"training a tokenizer of {made.plan.words:,} words on the prior pool")
        texts = chunks.texts(made.prior, made.wishes.seed, Counted())
        _placed(made, folder, tokenizer.trained_bpe(texts, made.plan.words).save_pretrained)
    return tokenizer.loaded({path.name: path for path in folder.iterdir()}, made.said_by)


def _placed(made: Plan, folder: Path, write: Callable[[str], Any]) -> None:
    """A folder that is there whole, or not at all."""
    partial = made.out / WORK / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(str(partial))
    os.replace(partial, folder)


def _fresh(made: Plan, words: Any) -> Any:
    from transformers import PersimmonConfig, PersimmonForCausalLM, set_seed

    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    set_seed(made.wishes.seed)
    return _without_biases(PersimmonForCausalLM(PersimmonConfig(**made.plan.model(tokenizer.words_of(words)), **ends)))


def _without_biases(model: Any) -> Any:
    """A fresh model's biases are zero, and stay so."""
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.requires_grad_(False)
    return model


def _loaded(made: Plan, files: dict[str, Path], words: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    folder = files["config.json"].parent
    model, about = loading(
        str(folder),
        lambda: AutoModelForCausalLM.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        ),
    )
    if about["missing_keys"]:
        raise PlanError(
            f"{folder} has no weights for {sorted(about['missing_keys'])[0]}: it is no causal language model"
        )
    if tokenizer.words_of(words) > model.get_input_embeddings().weight.shape[0]:
        raise PlanError(f"{folder}: the tokenizer has more words than the model ({tokenizer.words_of(words):,})")
    return model if made.prior is None else _without_biases(model)


def _stage(made: Plan, name: str, words: Any, model: Callable[[], Any], said: Say) -> None:
    """Trains one model, and puts its folder in place."""
    counts = _stream(made, name, words, said)
    length = _length(made)
    ids = np.memmap(_ids(made, name), dtype=chunks.dtype_of(words), mode="r").reshape(-1, length)
    todo = _todo(made, name, ids, said)
    said(f"{name}: {_times(counts, todo, length)}")
    trained = model()
    losses = stage.trained(todo, trained)
    about = _about(made, name, _pool(made, name), counts, todo, trained, losses)

    def write(folder: str) -> None:
        trained.save_pretrained(folder)
        words.save_pretrained(folder)
        Path(folder, TRAINING).write_bytes(dumps(about))

    _placed(made, made.out / name, write)
    shutil.rmtree(todo.folder, ignore_errors=True)
    said(f"wrote {made.out / name}")


def _pool(made: Plan, name: str) -> Listed:
    return made.target if name == CONDITIONAL or made.prior is None else made.prior


def _ids(made: Plan, name: str) -> Path:
    return made.out / WORK / f"{name}.ids"


def _stream(made: Plan, name: str, words: Any, said: Say) -> Counted:
    """Writes a model's pool as ids, unless they are there."""
    pool, path = _pool(made, name), _ids(made, name)
    if not path.exists():
        said(f"{name}: reading {', '.join(pool.pool.urls)}")
    enough = made.plan.steps * made.plan.batch if name == PRIOR else None
    return chunks.write_stream(pool, words, path, length=_length(made), seed=made.wishes.seed, most=enough)


def _length(made: Plan) -> int:
    """Ids of a chunk: the preset's, or the context of the model to start from if that is shorter."""
    if made.prior is not None:
        return made.plan.length
    context = read_json(made.files["config.json"]).get("max_position_embeddings")
    return min(made.plan.length, context) if type(context) is int and context > 1 else made.plan.length


def _todo(made: Plan, name: str, ids: Any, said: Say) -> stage.Stage:
    plan, prior = made.plan, name == PRIOR
    batch = min(plan.batch, len(ids))
    steps = plan.steps if prior else plan.epochs * (len(ids) // batch)
    return stage.Stage(
        name=name,
        preset=plan,
        chunks=ids,
        steps=steps,
        warmup=min(plan.warmup if prior else plan.target_warmup, steps // 10),
        batch=batch,
        micro=stage.micro_of(batch, made.wishes.micro, stage.device_of()[0]),
        seed=made.wishes.seed,
        folder=made.out / WORK / f"{name}.steps",
        said=said,
    )


def _times(counts: Counted, todo: stage.Stage, length: int) -> str:
    times = todo.steps * todo.batch / counts.chunks
    lost = f" ({counts.unreadable:,} more are unreadable)" * bool(counts.unreadable)
    read = f"{counts.documents:,} documents{lost}, {counts.chunks:,} chunks of {length} tokens"
    return f"{read}; {todo.steps:,} steps of {todo.batch}, {times:.2g} times round"


def _about(
    made: Plan,
    name: str,
    pool: Listed,
    counts: Counted,
    todo: stage.Stage,
    model: Any,
    losses: list[tuple[int, float]],
) -> JsonObject:
    """The record of a model: what it was made from and how, and what came of it."""
    if not losses:
        raise PoolsieveError(f"{name}: the training noted no loss; remove {todo.folder} and run again")
    start: JsonObject = {"name": made.said_by, "files": record.hashes(made.files)}
    if name == CONDITIONAL and made.prior is not None:
        start = {"name": PRIOR, "files": record.hashes(_model_files(str(made.out / PRIOR), None))}
    return {
        "format": 1,
        "stage": name,
        "preset": made.wishes.preset,
        "schedule": made.plan.to_dict(),
        "differs": list(DIFFERS) if made.prior is not None else [],
        "model": record.about_model(model),
        "pool": pool.about(),
        "read": json.loads(dumps(counts)),
        "from" if name == CONDITIONAL else "tokenizer": start,
        "seed": made.wishes.seed,
        "steps": todo.steps,
        "warmup": todo.warmup,
        "batch": todo.batch,
        "micro_batch": todo.micro,
        "length": todo.chunks.shape[1],
        "tokens": todo.steps * todo.batch * todo.chunks.shape[1],
        "loss": {"first": losses[0][1], "last": losses[-1][1], "steps": [list(one) for one in losses]},
        "machine": record.machine(*stage.device_of()),
        "versions": record.versions(),
    }

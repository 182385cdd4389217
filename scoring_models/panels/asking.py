"""The asking steps of a panel: one model, with the image or without it. What it said is stored, and nothing judged.

A failure costs that answer and no more: it is stored as the row's error in this step, is tried again by
`--retry-quarantined`, and leaves the row in the pool (`spares`). So one model that can't read one item, or an endpoint
that turns it away, takes no item from the others.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PoolsieveError, RowError, is_fatal, row_error
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import Resources, Scored
from poolsieve.scoring_models.base.work import ModelWork
from poolsieve.scoring_models.devices.choice import DTYPES, device_of, gpu_name, precision_of
from poolsieve.scoring_models.devices.gpu import runner_of
from poolsieve.scoring_models.feeding.feed import Check
from poolsieve.scoring_models.hub.checkpoints import CONFIG, loading, shown
from poolsieve.scoring_models.marking.letters import LETTERS
from poolsieve.scoring_models.marking.options import turned
from poolsieve.scoring_models.panels.items import Item, ItemScorer, turns_of, wording
from poolsieve.scoring_models.panels.members import Local, model_files, sees_images
from poolsieve.scoring_models.panels.models import PanelModel, Refused, weight_bytes
from poolsieve.scoring_models.panels.shelf import shelf_of

ANSWER = pa.struct(
    [
        ("text", pa.large_string()),
        ("cut", pa.bool_()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("likelihoods", pa.list_(pa.float32())),
    ]
)
"""One answer: what was said (of an option that was found likeliest, its letter), whether the limit of tokens cut it,
the tokens that were read and written, null where nobody counted; of options the log-probabilities, in their order."""

ANSWERS = pa.list_(ANSWER)
"""What a model said of one item: one answer, or one for each turn of the options. Empty where it was not to be asked
(a model of text, with the image); null where it failed. Texts are large: those of a whole shard are one array."""

Answer = dict[str, Any]

COMMIT_ROWS, COMMIT_SECONDS = 100, 30.0
"""Answers and seconds after which what has come is stored: at most so much is asked twice after a kill."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Asking(ItemScorer):
    """What both kinds of asking have in common.

    Args:
        sight: whether the image is shown.
        prompt, choice_prompt: templates; None for ours.
        circular: whether an item with options is asked once for each turn of them.
    """

    sight: bool
    prompt: str | None = None
    choice_prompt: str | None = None
    circular: bool = False

    spares: ClassVar[bool] = True
    """A failure here leaves the row alive."""
    commit_rows: ClassVar[int] = COMMIT_ROWS
    commit_seconds: ClassVar[float] = COMMIT_SECONDS

    @property
    def reads(self) -> tuple[str, ...]:
        """Roles that an asking needs; the right answer is none of them."""
        image = (self.image,) if self.sight and self.image else ()
        return (*image, *(getattr(self, name) for name in self.asked))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `ANSWERS`."""
        return {"": ANSWERS}

    def turns(self, item: Item) -> range:
        """By how many places its options are turned, one asking each."""
        return turns_of(item, self.circular)

    def wording(self, item: Item, turn: int) -> str:
        """What is asked."""
        return wording(item, self.prompt, self.choice_prompt, turn)


def made_of(found: list[list[Answer] | RowError], work: ModelWork | None = None) -> Scored:
    """Answers of some rows, or why there are none, as a column."""
    errors = {row: one for row, one in enumerate(found) if isinstance(one, RowError)}
    values = [None if isinstance(one, RowError) else one for one in found]
    return Scored({"": pa.array(values, ANSWERS)}, errors, work=work)


@dataclass(frozen=True, eq=False, kw_only=True)
class AskModel(Asking):
    """Asks a model of `transformers` in this process, one item at a time.

    Args:
        model: who is asked.
        choose: for items with options: "letter" or "text", whose likelihood is compared, or "write", where the model
            writes its answer.
        max_new_tokens: of an answer that is written.
        precision: see `Panel`.
        threads: of torch's own on a CPU.
        place: the device.
    """

    model: Local
    choose: str = "letter"
    max_new_tokens: int = 512
    precision: str | None = None
    threads: int = 1
    place: str = field(default="auto", metadata={"runtime": True})

    packages: ClassVar[tuple[str, ...]] = ("torch", "torchvision", "transformers", "tokenizers", "safetensors")
    extra: ClassVar[str] = "panels"

    @property
    def resources(self) -> Resources:
        """A model that lets the interpreter lock go; how much memory it takes is the shelf's business."""
        return Resources(device=self.place, memory_mb=2500)

    def files(self) -> Mapping[str, Path]:
        """Every file that an answer depends on.

        Raises:
            PlanError: if a library or a file is missing, or the model can't be read.
        """
        need(f"Panel([{shown(self.model.model)!r}])", *self.packages, extra=self.extra)
        return model_files(self.model)

    def load(self) -> LoadedAsking:
        """Gets ready to ask; the model itself is loaded when it is asked first, and again if it had to make room."""
        return loading(self.model.model, lambda: LoadedAsking(self))


class LoadedAsking:
    """A model that is asked: settled how, and loaded when it is its turn."""

    commit_rows, commit_seconds = COMMIT_ROWS, COMMIT_SECONDS

    def __init__(self, config: AskModel) -> None:
        import torch

        self.config, self.who = config, shown(config.model.model)
        self.device = device_of(torch, config.place)
        self.precision = precision_of(torch, config.precision, self.device)
        self.files, self.vision = model_files(config.model), sees_images(config.model)
        self.settings: JsonObject = {
            "dtype": self.precision,
            "threads": config.threads if self.device.type == "cpu" else 1,
            "device": gpu_name(torch, self.device),
        }

    def pieces(self, batch: pa.RecordBatch, check: Check) -> Generator[tuple[list[int], Scored]]:
        """The answers row by row, the model being this caller's alone meanwhile."""
        if self.config.sight and not self.vision:
            for row in range(batch.num_rows):
                yield [row], made_of([[]])
            return
        with self._model(check) as (model, took):
            for row in range(batch.num_rows):
                check()
                started, loaded = time.perf_counter(), took if not row else 0.0
                found = self._answers(model, batch, row)
                yield [row], made_of([found], self._work(found, time.perf_counter() - started, loaded))

    @contextlib.contextmanager
    def _model(self, check: Check) -> Iterator[tuple[PanelModel, float]]:
        """The model, and the seconds that loading took now."""
        took, dtype = [0.0], DTYPES[self.precision]

        def load() -> PanelModel:
            started = time.perf_counter()
            made = loading(self.config.model.model, lambda: self._load(dtype))
            took[0] = time.perf_counter() - started
            return made

        key = (str(self.files[CONFIG].parent), dtype)
        with shelf_of(self.device).model(key, weight_bytes(self.files, dtype), load, check) as model:
            yield model, took[0]

    def _load(self, dtype: str) -> PanelModel:
        runner = runner_of(self.device, f"Panel([{self.who!r}])")
        return PanelModel(self.files, dtype, runner, vision=self.vision, who=self.who)

    def _answers(self, model: PanelModel, batch: pa.RecordBatch, row: int) -> list[Answer] | RowError:
        item = self.config.item(batch, row)
        model.torch.set_num_threads(self.config.threads)  # a setting of the calling thread
        try:
            with model.runner.named():
                return [self._answer(model, item, turn) for turn in self.config.turns(item)]
        except Refused as error:
            return error.row_error
        except Exception as error:
            if not is_fatal(error):
                return row_error(error)
            if not isinstance(error, model.torch.OutOfMemoryError):
                raise
            short = error
        raise PoolsieveError(
            f"Panel([{self.who!r}]): {model.runner.name()} is out of memory for one item: take precision='bf16', a "
            "smaller model, or a device that nobody else fills. What was answered is kept"
        ) from short

    def _answer(self, model: PanelModel, item: Item, turn: int) -> Answer:
        text, image = self.config.wording(item, turn), item.image if self.config.sight else None
        if not item.gold.options or self.config.choose == "write":
            return model.said(text, image, self.config.max_new_tokens)._asdict()
        options = turned(item.gold.options, turn)
        letters = LETTERS[: len(options)]
        by_text = self.config.choose == "text"
        found = model.likely(text, image, options if by_text else letters)
        per = [len(option.encode()) if by_text else 1 for option in options]
        best = likeliest([one / bytes_ for one, bytes_ in zip(found.sums, per, strict=True)])
        return {"text": letters[best], "cut": False, "tokens_in": found.tokens_in, "likelihoods": found.sums}

    def _work(self, found: list[Answer] | RowError, seconds: float, loaded: float) -> ModelWork:
        answers = [] if isinstance(found, RowError) else found
        device = str(self.settings["device"])
        return ModelWork(
            loads=int(loaded > 0),
            load_seconds=loaded,
            rows=int(bool(answers)),
            batches=len(answers),
            places=len(answers),
            taken=len(answers),
            seconds=seconds,
            busy=seconds,
            core_seconds=seconds,
            infer_seconds=seconds,
            devices={device: seconds},
        )


def likeliest(values: Sequence[float]) -> int:
    """The place of the largest; of several the first.

    >>> likeliest([-2.0, -1.0, -1.0])
    1
    """
    return max(range(len(values)), key=lambda place: (values[place], -place))

"""One training of a causal model over chunks of ids, by `transformers`' Trainer, resumable.

The order of chunks is written down before the first step (a PCG64 permutation for each time round), so that it is the
same whatever was interrupted, and on whatever device.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poolsieve.dataflow import progress
from poolsieve.jobs.train.color.presets import Preset
from poolsieve.scoring_models.base.errors import PoolsieveError

MARK = "whole"
"""A file in a checkpoint, written last: a process that is killed may leave half a checkpoint."""

SAY_SECONDS = 10.0
"""Between two lines of progress."""

LOGS, SAVES = 100, 20
"""About how many times a loss is noted, and a checkpoint written, in a training."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one training does.

    Attributes:
        name: `prior` or `conditional`.
        preset: learning rate, batch and the like.
        chunks: (n, length) ids.
        steps, warmup: of the schedule.
        batch: chunks of a step; `micro` of them are computed at a time.
        seed: of the chunks' order.
        folder: for checkpoints.
        said: is told how it goes.
    """

    name: str
    preset: Preset
    chunks: Array
    steps: int
    warmup: int
    batch: int
    micro: int
    seed: int
    folder: Path
    said: Callable[[str], None]


def order(chunks: int, batch: int, steps: int, seed: int) -> Iterator[Array]:
    """The chunks of each step, int64 (batch,): a permutation of all for each time round, whose rest is left out.

    >>> [some.tolist() for some in order(5, 2, 3, 0)] == [some.tolist() for some in order(5, 2, 3, 0)]
    True
    """
    dice = np.random.Generator(np.random.PCG64(seed))
    for step in range(steps):
        place = step % (chunks // batch)
        if place == 0:
            around = dice.permutation(chunks)
        yield around[place * batch : (place + 1) * batch]


def micro_of(batch: int, most: int | None, device: str) -> int:
    """Chunks that are computed at a time: the largest divisor of `batch` up to `most`.

    If nobody says, 32 on a GPU (3.3 GB of logits in fp32 for the published size) and 8 elsewhere.
    """
    limit = min(batch, most or (32 if device == "cuda" else 8))
    return next(size for size in range(limit, 0, -1) if batch % size == 0)


def device_of() -> tuple[str, str]:
    """(kind of device, precision): a CUDA device if there is one, in bf16 if it has that; else the CPU in fp32."""
    import torch

    if not torch.cuda.is_available():
        return "cpu", "float32"
    return "cuda", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def trained(stage: Stage, model: Any) -> list[tuple[int, float]]:
    """Trains `model` in place, from the last whole checkpoint if there is one.

    Returns:
        (step, mean loss since the one before), without the z-loss.

    Raises:
        PoolsieveError: if the loss is no number, or the device has too little memory.
    """
    import torch

    resumed = last_checkpoint(stage.folder)
    trainer = _trainer(stage, model)
    if resumed is not None:
        stage.said(f"{stage.name}: going on from step {int(resumed.name.rpartition('-')[2]):,} of {stage.steps:,}")
    try:
        with _quiet():
            trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    except torch.OutOfMemoryError as error:
        raise PoolsieveError(
            f"{stage.name}: the device has no memory for {stage.micro} chunks at a time: try a smaller --micro-batch, "
            "in a new folder (a step's sum depends on it in its last digits)"
        ) from error
    progress.check()
    return [(int(line["step"]), float(line["entropy"])) for line in trainer.state.log_history if "entropy" in line]


def last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint; those that are not whole are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in [path for path in found if not (path / MARK).exists()]:
        shutil.rmtree(path)
    return next((path for path in reversed(found) if path.exists()), None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own lines and bars: progress is said here."""
    from transformers.utils import logging as own

    own.disable_progress_bar()
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _arguments(stage: Stage) -> Any:
    from transformers import TrainingArguments

    device, precision = device_of()
    every = max(1, math.ceil(stage.steps / LOGS))
    made = TrainingArguments(
        output_dir=str(stage.folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.micro,
        gradient_accumulation_steps=stage.batch // stage.micro,
        learning_rate=stage.preset.rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": stage.preset.floor},
        warmup_steps=stage.warmup,
        weight_decay=stage.preset.decay,
        adam_beta1=stage.preset.beta1,
        adam_beta2=stage.preset.beta2,
        adam_epsilon=stage.preset.epsilon,
        max_grad_norm=stage.preset.clip,
        optim="adamw_torch",
        seed=stage.seed,
        data_seed=stage.seed,
        use_cpu=device == "cpu",
        bf16=precision == "bfloat16",
        logging_steps=every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=every * max(1, LOGS // SAVES),
        save_total_limit=2,  # the older one goes before the newer one has its mark
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
    )
    made._n_gpu = min(made.n_gpu, 1)  # several would each take a batch, which is another training
    return made


def _trainer(stage: Stage, model: Any) -> Any:
    import torch
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import PrinterCallback, Trainer

    rows = np.concatenate(list(order(len(stage.chunks), stage.batch, stage.steps, stage.seed)))

    class Chunks(Dataset):  # type: ignore[type-arg,misc]
        """The chunks in the order in which they are trained on."""

        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, place: int) -> dict[str, Any]:
            return {"input_ids": torch.from_numpy(stage.chunks[rows[place]].astype(np.int64))}

    class Causal(Trainer):  # type: ignore[misc]
        """Mean loss of each chunk's length - 1 predictions, with the z-loss; notes it without."""

        entropies: list[Any]

        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            outputs = model(input_ids=inputs["input_ids"], use_cache=False)
            entropy, extra = losses(outputs.logits, inputs["input_ids"], stage.preset.zloss)
            self.entropies.append(entropy.detach())
            return (entropy + extra, outputs) if return_outputs else entropy + extra

        def log(self, logs: dict[str, float], *given: Any, **named: Any) -> None:
            if self.entropies:
                logs["entropy"] = float(torch.stack(self.entropies).mean())
                self.entropies.clear()
            super().log(logs, *given, **named)

    made = Causal(model=model, args=_arguments(stage), train_dataset=Chunks(), callbacks=[_watcher(stage)])
    made.entropies = []
    made.remove_callback(PrinterCallback)
    # The losses of a step's parts are means over equally many predictions, so that their mean is the step's.
    made.model_accepts_loss_kwargs = False
    return made


def losses(logits: Any, ids: Any, zloss: float) -> tuple[Any, Any]:
    """(mean loss of the predictions, weighted z-loss) of chunks: logits (n, length, words), ids (n, length).

    z-loss: mean squared logarithm of the sum of exponentials (Chowdhery et al., arXiv 2204.02311, section 5).
    """
    import torch

    given, wanted = logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten()
    entropy = torch.nn.functional.cross_entropy(given, wanted)
    extra = zloss * given.logsumexp(-1).square().mean() if zloss else entropy.new_zeros(())
    return entropy, extra


def _watcher(stage: Stage) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc]
        """Says how it goes, marks checkpoints as whole, and stops where asked to."""

        def __init__(self) -> None:
            self.said_at, self.began, self.first = 0.0, time.monotonic(), 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began, self.first = time.monotonic(), state.global_step

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.check()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            entropy, now = (logs or {}).get("entropy"), time.monotonic()
            if entropy is None:
                return
            if not math.isfinite(entropy):
                raise PoolsieveError(f"{stage.name}: the loss at step {state.global_step} is {entropy}: stopped")
            if now - self.said_at >= SAY_SECONDS or state.global_step == stage.steps:
                self.said_at = now
                stage.said(f"{stage.name}: {self._line(state.global_step, entropy, now)}")

        def _line(self, step: int, entropy: float, now: float) -> str:
            done = step - self.first
            if not done:
                return f"step {step:,} of {stage.steps:,}, loss {entropy:.3f}"
            rate = done / max(now - self.began, 1e-9)
            tokens = rate * stage.batch * stage.chunks.shape[1]
            left = (stage.steps - step) / rate
            return f"step {step:,} of {stage.steps:,}, loss {entropy:.3f}, {tokens:,.0f} tokens/s, {left:,.0f} s left"

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            (stage.folder / f"checkpoint-{state.global_step}" / MARK).touch()

    return Watcher()

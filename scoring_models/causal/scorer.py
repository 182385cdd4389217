"""Mean token losses of causal language models as scores: of one model, and the difference of two.

CoLoR-Filter (Brandfonbrener et al., arXiv 2406.10670, section 3, equation 7): the loss of a model that was trained
further on what is wanted, less the loss of the model that it was trained from. Lower is better. (The authors' code
takes the difference the other way round and keeps the largest; the set is the same.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pyarrow as pa
from pyarrow.types import is_nested, is_primitive

from poolsieve.scoring_models.base.arrow import is_id_list
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import Resources, TextScorer
from poolsieve.scoring_models.causal.files import causal_files, check_same_tokenizer, context_of
from poolsieve.scoring_models.causal.loaded import LoadedCausal
from poolsieve.scoring_models.devices.choice import check_precision
from poolsieve.scoring_models.devices.token_shapes import recorded
from poolsieve.scoring_models.hub.checkpoints import loading, placed, shown

DOCUMENT, CHUNK = 512, 4096
"""Ids of a window of a document, and of the longest chunk that is read, unless the user says, or the model reads fewer.

512 is the published chunk; 4,096 bounds what is tried on a GPU, and no more than that."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CausalScorer(TextScorer):
    """What scorers that take losses of causal language models have in common.

    Two units. A *document* is a text: a start token (the tokenizer's beginning of a sequence, else its end), and the
    text's tokens without special ones, in windows of `window` ids of which each begins with the last id of the one
    before. So every token is predicted once; the score is the sum of all losses over the number of tokens. A *chunk* is
    a list of ids: the mean of its losses, of which it has one less than ids, and nothing is reset where one document
    ends and the next begins. Null for a null, a text of no or one token, and a chunk of no or one id.

    Args:
        text: the role to read documents from.
        tokens: the role to read chunks from, in place of documents: lists of integers.
        window: ids of a window of a document, 512 or the model's context if that is less; of chunks the longest that is
            read, 4,096 or the model's context. A longer chunk has no score (`too_long`).
        precision: "fp32", "bf16", "fp16", or "auto", which is bf16 where processor or GPU has it in hardware, else
            fp32. Unless given it is fp32 on a CPU and "auto" on a GPU. What it came to is recorded with the scores.
        batch_tokens: ids that a model sees at a time, filled up with blanks: 512 on a CPU, and on a GPU as many as its
            kind has room for.
        device: "auto" takes a GPU if there is one.
    """

    tokens: str | None = None
    window: int | None = None
    precision: str | None = None
    batch_tokens: int | None = None
    device: str = "auto"

    packages = ("torch", "transformers", "tokenizers", "safetensors")
    extra = "causal"

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_precision(name, self.precision)
        for field, least in (("window", 2), ("batch_tokens", 1)):
            value = getattr(self, field)
            if type(value) is int and value < least:
                raise PlanError(f"{name}({field}={value}): at least {least}")
        if self.tokens is not None and self.text != "text":
            raise PlanError(f"{name}(text={self.text!r}, tokens={self.tokens!r}): documents or chunks, not both")

    @property
    def named(self) -> Mapping[str, tuple[str, str | None]]:
        """Column -> the model that it is the loss of, and its revision."""
        raise NotImplementedError

    @property
    def reads(self) -> tuple[str, ...]:
        """The role of documents, or of chunks."""
        return (self.tokens or self.text,)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses a role that is known to hold no text, or no chunks.

        Raises:
            PlanError: naming the role's type, or the length of its chunks if no model reads so many ids.
        """
        chunks = self.tokens is not None
        if pa.types.is_null(kind) or (is_id_list(kind) if chunks else not (is_nested(kind) or is_primitive(kind))):
            self._check_length(where, role, kind)
            return
        what, columns = ("token ids", "lists of integers") if chunks else ("text", "text")
        hint = "" if chunks or not is_id_list(kind) else f", or say tokens={role!r} to read chunks"
        raise PlanError(f"{where} reads {role!r} as {what}, but it is {kind}: name a column of {columns}{hint}")

    def _check_length(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses chunks that are all too long, where their type says how long they are."""
        if self.tokens is None or not pa.types.is_fixed_size_list(kind):
            return
        length, most = kind.list_size, self.window_of(self.files_of())
        if length > most:
            raise PlanError(
                f"{where} reads {role!r}, chunks of {length:,} ids, and {most:,} are read at most: make chunks of that "
                "length, or give the scorer a larger window, up to its models' context"
            )

    @property
    def resources(self) -> Resources:
        """The models let the interpreter lock go."""
        return Resources(device=self.device, memory_mb=2500 * len(self.named))

    def to_dict(self) -> JsonObject:
        """Without the folders of local files, which enter the fingerprint by hash, and without the device."""
        out = {key: value for key, value in super().to_dict().items() if key != "device"}
        return {key: shown(value) if key in ("model", "prior", "conditional") else value for key, value in out.items()}

    def as_recorded(self, settings: JsonObject) -> Self:
        """With the batches that stored scores were made with, if they were left to the device then and are now."""
        tokens = recorded(settings) if self.batch_tokens is None else None
        return self if tokens is None else replace(self, batch_tokens=tokens)

    def files_of(self) -> dict[str, dict[str, Path]]:
        """Column -> files of its model, by name.

        Raises:
            PlanError: if a library or a file is missing, a model can't be read, or has a smaller context than `window`.
        """
        need(type(self).__name__, *self.packages, extra=self.extra)
        chunks = self.tokens is not None
        found = {key: causal_files(*model, tokenizer=not chunks) for key, model in self.named.items()}
        for key, files in found.items():
            limit = context_of(files)
            if self.window is not None and limit is not None and self.window > limit:
                raise PlanError(
                    f"{type(self).__name__}(window={self.window}): {self.named[key][0]} reads {limit} ids at most"
                )
        return found

    def window_of(self, files: Mapping[str, Mapping[str, Path]]) -> int:
        """Ids of a window, or of the longest chunk: what the recipe says, else as many as all models read."""
        usual = DOCUMENT if self.tokens is None else CHUNK
        return self.window or min([usual, *filter(None, map(context_of, files.values()))])

    def load(self) -> LoadedCausal:
        """Loads the models."""
        names = " and ".join(model for model, _ in self.named.values())
        return loading(names, lambda: LoadedCausal(self, self.files_of()))


@dataclass(frozen=True, eq=False)
class Loss(CausalScorer):
    """The mean loss of a causal language model over a row's tokens, in nats: the logarithm of its perplexity.

    `Score(loss=Loss("openai-community/gpt2", revision=...))`, then `Top("loss", fraction=0.5, lowest=True)`.

    Args:
        model: a Hub repository, or a folder with config.json, safetensors and tokenizer; any causal model of
            `transformers` whose code is built into it.
        revision: of the repository; a commit makes a run repeatable.
        text, tokens, window, precision, batch_tokens, device: see `CausalScorer`.
    """

    model: str
    revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "model", placed(self.model))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The mean loss, float32."""
        return {"": pa.float32()}

    @property
    def named(self) -> Mapping[str, tuple[str, str | None]]:
        """The model."""
        return {"": (self.model, self.revision)}

    def files(self) -> Mapping[str, Path]:
        """Configuration, weights and tokenizer files by name.

        Raises:
            PlanError: see `files_of`.
        """
        return self.files_of()[""]


@dataclass(frozen=True, eq=False, kw_only=True)
class Color(CausalScorer):
    """CoLoR-Filter's score: the loss of a conditional model less that of the prior that it was trained from.

    `Score(color=Color(prior=..., conditional=...))`, then `Top("color", tau=16, lowest=True)`: lower is better. A text
    is tokenised once, and both models see a batch in one go.

    Args:
        prior: trained on text like the pool's: a Hub repository, or a folder, as for `Loss`.
        conditional: the prior, trained further on text like what is wanted. It has the same tokenizer.
        prior_revision, conditional_revision: of the repositories; commits make a run repeatable.
        text, tokens, window, precision, batch_tokens, device: see `CausalScorer`.
    """

    prior: str
    conditional: str
    prior_revision: str | None = None
    conditional_revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "prior", placed(self.prior))
        object.__setattr__(self, "conditional", placed(self.conditional))
        if self.named["prior"] == self.named["conditional"]:
            raise PlanError(
                f"Color: prior and conditional are both {self.prior}, so that every score is 0: name two models, or "
                "take Loss for the losses of one"
            )

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`conditional` - `prior`, and the two mean losses, in nats; float32, the difference of these very numbers."""
        return dict.fromkeys(["", "prior", "conditional"], pa.float32())

    @property
    def named(self) -> Mapping[str, tuple[str, str | None]]:
        """Both models."""
        return {
            "prior": (self.prior, self.prior_revision),
            "conditional": (self.conditional, self.conditional_revision),
        }

    def files(self) -> Mapping[str, Path]:
        """Files of both models, as `prior/config.json`.

        Raises:
            PlanError: see `files_of`; if the two have different tokenizers.
        """
        found = self.files_of()
        check_same_tokenizer({f"{key} {self.named[key][0]}": files for key, files in found.items()})
        return {f"{key}/{name}": path for key, files in found.items() for name, path in files.items()}

"""`Panel`: models that answer the items of a pool, with the image and without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from poolsieve.scoring_models.base.config import Config, JsonObject
from poolsieve.scoring_models.base.derived import Derived
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.scorer import Scorer
from poolsieve.scoring_models.devices.choice import check_precision
from poolsieve.scoring_models.endpoints import Endpoint
from poolsieve.scoring_models.marking import Scoring
from poolsieve.scoring_models.panels.asking import AskModel
from poolsieve.scoring_models.panels.counts import Counts
from poolsieve.scoring_models.panels.items import Items
from poolsieve.scoring_models.panels.judged import Judged
from poolsieve.scoring_models.panels.marks import Marks
from poolsieve.scoring_models.panels.members import Member, members_of
from poolsieve.scoring_models.panels.prompts import check_prompt
from poolsieve.scoring_models.panels.remote import AskEndpoint

CHOOSE = ("letter", "text", "write")

BLIND, WITH_IMAGE = "blind", "image"
"""How steps are called: the question alone, and the whole item."""


@dataclass(frozen=True, eq=False)
class Panel(Config):
    """Models that answer items, each with the image and without it: `Score(panel=Panel([...]))`.

    A model is a folder or Hub repository (`org/name`, or `org/name@revision`) of any causal or vision-language model
    of `transformers`, which is loaded here, or an `Endpoint`, which writes its answers. Under the name `panel` this
    gives, as int32, `panel.blind_right` of `panel.blind_asked` models without the image, and `panel.right` of
    `panel.asked` with it; and `panel.answers` (`OUTCOMES`), which no ledger has. Every model and setting is a step of
    its own (`panel.ask.<model>.<setting>`), so that one model more asks that one only; marking is another, so that
    another `scoring` asks nobody. A model of text is asked without the image alone.

    What fails costs that answer, not the item: it counts as not asked, its reason stands in the step's scores, and
    `--retry-quarantined` tries again. An empty answer counts as asked, and not as right. An item that nobody could
    answer or mark is quarantined before anyone is asked: `no_question`, `no_answer`, `no_image`, `double_options`,
    `answer_not_an_option` and the like.

    An item with a list of options has them shown with letters. A model that is loaded here takes the option whose
    continuation it finds likeliest, of equals the first; an endpoint writes. Such items are marked by letter, unless
    their source's way is "judge"; `scoring` says how open questions are marked.

    Args:
        models: a list; or a mapping from names of yours, for two models that would have the same.
        prompt: the template for open questions, with `{question}` and maybe `{prefix}` and `{suffix}`; ours if none is
            given: the item's own prefix and suffix around the question, or else a request for a short answer.
        choice_prompt: the same for items with options, with `{options}`.
        scoring: a way of marking, or a mapping of sources to ways with "*" (`scoring_models.marking`).
        judge: an endpoint that marks where the way is "judge".
        blind, sighted: whether to ask without the image, and with it.
        circular: whether to ask an item with options once for each turn of them; it counts as right only if all are.
        choose: how a model that is loaded here chooses an option: by the likelihood of its "letter", or of its "text"
            (a sum of log-probabilities over the text's bytes), or by what it does "write".
        max_new_tokens: of an answer that a model here writes; an endpoint has its own `max_tokens`.
        precision: of models here: "fp32", "bf16", "fp16" or "auto"; unless given fp32 on a CPU, "auto" on a GPU.
        threads: of torch's own on a CPU. Answers may differ in the last digits with it, so it is in the fingerprint.
        device: of torch; "auto" takes a GPU if there is one.
        image: role of the image; None for items that have none: then every model is asked once, with the whole item.
        question, answer, answers, options, source, prefix, suffix: roles of an item: texts, `answers` a list of all
            that are accepted, `options` a list of texts or how many there are. All but the first two may be missing.

    Raises:
        PlanError: for no model, one twice, neither blind nor sighted, a template without its fields, an unknown way of
            marking, a judge that is missing.
    """

    models: Any
    prompt: str | None = None
    choice_prompt: str | None = None
    scoring: Any = "exact"
    judge: Endpoint | None = None
    blind: bool = True
    sighted: bool = True
    circular: bool = False
    choose: str = "letter"
    max_new_tokens: int = 512
    precision: str | None = None
    threads: int = 1
    device: str = "auto"
    image: str | None = "image"
    question: str = "question"
    answer: str = "answer"
    answers: str = "answers"
    options: str = "options"
    source: str = "source"
    prefix: str = "prefix"
    suffix: str = "suffix"

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", {member.name: member.made for member in members_of(self.models)})
        object.__setattr__(self, "scoring", Scoring.of(self.scoring))
        if isinstance(self.judge, Mapping):
            object.__setattr__(self, "judge", Endpoint.of(self.judge, "Panel(judge=...)"))
        if self.judge is not None and not isinstance(self.judge, Endpoint):
            raise PlanError(
                f"Panel(judge={short(self.judge)}): give an Endpoint, as Endpoint('http://localhost:8000', 'm')"
            )
        check_prompt("prompt", self.prompt, ["question"])
        check_prompt("choice_prompt", self.choice_prompt, ["question", "options"])
        check_precision("Panel", self.precision)
        if not self.blind and not self.sighted:
            raise PlanError("Panel(blind=False, sighted=False): nobody would be asked")
        if self.choose not in CHOOSE:
            raise unknown_name(f"Panel(choose={short(self.choose)}): no such way to choose", self.choose, CHOOSE)
        if self.scoring.judged and self.judge is None:
            raise PlanError("Panel: scoring names 'judge' for a source: give judge=Endpoint(...)")
        for name, most in (("max_new_tokens", 1 << 20), ("threads", 1024)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise PlanError(f"Panel({name}={short(value)}): a whole number from 1 to {most:,} is wanted")

    @property
    def members(self) -> tuple[Member, ...]:
        """Who is asked, sorted by name."""
        return tuple(Member(name, made) for name, made in self.models.items())

    def to_dict(self) -> JsonObject:
        """With the models under their names, in their order."""
        return {**super().to_dict(), "models": {name: made.to_dict() for name, made in self.models.items()}}

    @property
    def settings(self) -> tuple[tuple[str, bool], ...]:
        """How every model is asked: the name of it, and whether the image is shown."""
        if self.image is None:
            return ((WITH_IMAGE, True),)
        named = ((BLIND, False, self.blind), (WITH_IMAGE, True, self.sighted))
        return tuple((name, shown) for name, shown, wanted in named if wanted)

    def parts(self, name: str) -> Mapping[str, Scorer | Derived]:
        """The steps: the items, for each model and setting an asking, maybe a judge, a marking, and the counts."""
        made: dict[str, Scorer | Derived] = {f"{name}.item": self._items()}
        marks = []
        for member, setting, shown in self._each():
            ask, judged, mark = (f"{name}.{kind}.{member.slug}.{setting}" for kind in ("ask", "judge", "mark"))
            made[ask] = self._asking(member, shown)
            how = {**self._roles(), "of": ask, "scoring": self.scoring}
            if self.scoring.judged and self.judge is not None:
                made[judged] = Judged(judge=self.judge, **how)
                how["judged"] = judged
            made[mark] = Marks(**how)
            marks.append((mark, member.name, shown))
        return {**made, name: Counts(of=tuple(marks))}

    def _each(self) -> Iterator[tuple[Member, str, bool]]:
        for member in self.members:
            for setting, shown in self.settings:
                yield member, setting, shown

    def _roles(self) -> dict[str, Any]:
        names = ("image", "question", "answer", "answers", "options", "source", "prefix", "suffix")
        return {name: getattr(self, name) for name in names}

    def _items(self) -> Items:
        sighted = self.sighted and self.image is not None
        how: dict[str, Any] = {"sighted": sighted, "circular": self.circular, **self._roles()}
        return Items(scoring=self.scoring, members=self.members, **how)

    def _asking(self, member: Member, shown: bool) -> Scorer:
        how = {
            **self._roles(),
            "sight": shown and self.image is not None,
            "prompt": self.prompt,
            "choice_prompt": self.choice_prompt,
            "circular": self.circular,
        }
        if isinstance(member.made, Endpoint):
            return AskEndpoint(endpoint=member.made, **how)
        own = {name: getattr(self, name) for name in ("choose", "max_new_tokens", "precision", "threads")}
        return AskModel(model=member.made, place=self.device, **own, **how)

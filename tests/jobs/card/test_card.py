"""The card: what it says is so, `datasets` loads by it, and what somebody wrote into it stays."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.publish.contents import Item, Parent, Subject, Table
from poolsieve.filters import Repeat, dedup
from poolsieve.jobs.card.card import card_text
from poolsieve.jobs.card.croissant import croissant
from poolsieve.jobs.card.front_matter import split
from poolsieve.jobs.card.metadata import size_category
from poolsieve.jobs.report.numbers import rows_text
from poolsieve.scoring_models.base.errors import PlanError
from tests.jobs.card.subjects import REPO, subject_of

PARENT = Parent(repo="crawlers/raw", commit="a1" * 20, license="cc0-1.0")


def front_of(text: str) -> dict[str, Any]:
    found = yaml.safe_load(split(text).front or "")
    assert isinstance(found, dict)
    return found


def load(subject: Subject, folder: Path, name: str = "default") -> Any:
    """The dataset as anybody would load it, from a folder with the card and the export's files."""
    import datasets

    shutil.copytree(Path(subject.index.target) / "data", folder / "data")
    (folder / "README.md").write_text(card_text(subject))
    return datasets.load_dataset(str(folder), name, split="train", cache_dir=str(folder / "cache"))


def test_datasets_loads_what_the_card_says(subject: Subject, tmp_path: Path) -> None:
    found = load(subject, tmp_path)
    says = front_of(card_text(subject))["dataset_info"]
    assert found.num_rows == says["splits"][0]["num_examples"] == subject.run.counts.kept > 0
    assert found.features._to_yaml_list() == says["features"]
    assert {"name": "image", "dtype": "image"} in says["features"]
    assert found[0]["image"].size == (8, 8)
    assert says["download_size"] == sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert says["dataset_size"] == says["splits"][0]["num_bytes"] == subject.tables[0].memory


@pytest.mark.parametrize("kind", ["jsonl", "tars"])
def test_files_without_a_schema_load_too(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    subject = subject_of(request.getfixturevalue(f"{kind}_run"))
    found = load(subject, tmp_path)
    says = front_of(card_text(subject))["dataset_info"]
    assert found.num_rows == says["splits"][0]["num_examples"] == subject.run.counts.kept
    assert found.features._to_yaml_list() == says["features"]
    columns = {
        "jsonl": "| `text` | `string` | the pool, as role `text` |",
        "tars": "| `png` | `image` | the pool, as role",
    }
    assert columns[kind] in card_text(subject)


@pytest.mark.parametrize("kind", ["jsonl", "tars"])
def test_no_folder_of_its_publisher_is_named(kind: str, request: pytest.FixtureRequest) -> None:
    """A recipe made in Python is printed from the manifest, which has the pool's whole paths."""
    subject = subject_of(request.getfixturevalue(f"{kind}_run"))
    folder = str(Path(subject.run.url).parent)
    assert folder in str(subject.run.manifest.recipe)
    assert folder not in card_text(subject) and folder not in croissant(subject).decode()
    assert "urls=['.../pool/*." in card_text(subject)


@pytest.mark.parametrize("kind", ["jsonl", "tars"])
def test_what_a_loader_finds_by_itself_is_what_the_card_says(kind: str, request: pytest.FixtureRequest) -> None:
    """Without the card: so features that are on it change nothing for whoever loads the files."""
    import datasets

    subject = subject_of(request.getfixturevalue(f"{kind}_run"))
    loader = {"jsonl": "json", "tars": "webdataset"}[kind]
    files = [str(item.source) for item in subject.tables[0].items]
    alone = datasets.load_dataset(loader, data_files={"train": files}, split="train", streaming=True)
    assert subject.tables[0].schema == alone.features.arrow_schema


def test_a_second_table_is_a_second_configuration(subject: Subject, tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as pq

    shutil.copytree(Path(subject.index.target) / "data", tmp_path / "data")
    (tmp_path / "scores").mkdir()
    table = subject.run.ledger()
    table = table.set_column(0, "path", table["path"].cast(pa.string()))
    pq.write_table(table, path := tmp_path / "scores" / "train-00000-of-00001.parquet")
    item = Item(
        path=f"scores/{path.name}", size=path.stat().st_size, sha256="0" * 64, source=str(path), rows=len(table)
    )
    scores = Table(
        name="scores", pattern="scores/train-*", format="parquet", schema=table.schema, items=(item,), memory=9
    )
    both = dataclasses.replace(subject, tables=(*subject.tables, scores))
    text = card_text(both)
    front = front_of(text)
    assert [one["config_name"] for one in front["configs"]] == ["default", "scores"]
    assert [one["config_name"] for one in front["dataset_info"]] == ["default", "scores"]
    (tmp_path / "README.md").write_text(text)
    found = datasets.load_dataset(str(tmp_path), "scores", split="train", cache_dir=str(tmp_path / "cache"))
    assert front["dataset_info"][1]["splits"] == [{"name": "train", "num_bytes": 9, "num_examples": 60}]
    assert found.num_rows == 60 and "reason" in found.column_names
    assert (
        "| `reason` | `string` | why it is not |" in text and "| `clip` | `float32` | a score of the recipe |" in text
    )
    assert f'data_scores = load_dataset("{REPO}", "scores", split="train")  # 60 rows' in text


def test_no_table_no_configuration(subject: Subject) -> None:
    bare = dataclasses.replace(subject, tables=())
    text = card_text(bare)
    assert "load_dataset" not in text and not {"configs", "dataset_info"} & front_of(text).keys()
    # Those of an earlier publishing go; those of somebody else stay.
    assert not {"configs", "dataset_info"} & front_of(card_text(bare, card_text(subject))).keys()
    assert front_of(card_text(bare, "---\nconfigs: mine\n---\n"))["configs"] == "mine"


def test_the_figures_are_the_run_s(subject: Subject) -> None:
    text, counts = card_text(subject), subject.run.counts
    assert f"**{counts.kept} of {counts.rows_in} rows**" in text
    for reason, rows in subject.run.reasons.items():
        assert f"| `{reason}` | {rows_text(rows)} |" in text
    cut = subject.run.cuts["clip.below_cut"][""]
    assert f"`≥ {cut.value}`" in text
    assert "| `text.word_count` | `≥ 3` |" in text
    assert "poolsieve run recipe.py --out OUT" in text
    # Where the pool lay on the publisher's machine is nobody's business.
    pool = subject.run.manifest.source.parameters["pool"]
    assert f"-p pool=.../{'/'.join(pool.split('/')[-2:])}" in text and pool not in text


def test_front_matter_of_a_new_card(subject: Subject) -> None:
    front = front_of(card_text(dataclasses.replace(subject, parents=(PARENT,))))
    assert list(front) == [
        "license",
        "pretty_name",
        "size_categories",
        "source_datasets",
        "tags",
        "dataset_info",
        "configs",
    ]
    assert front["source_datasets"] == ["crawlers/raw"] and front["size_categories"] == ["n<1K"]
    assert front["tags"] == ["poolsieve", "data-filtering", "curated-subset"]
    assert front["license"] == "cc-by-4.0" and front["pretty_name"] == "tiny subset"


def test_a_parent_is_a_link_to_its_commit(subject: Subject) -> None:
    text = card_text(dataclasses.replace(subject, parents=(PARENT,)))
    assert f"[`crawlers/raw`](https://huggingface.co/datasets/crawlers/raw/tree/{'a1' * 20})" in text
    assert "cc0-1.0" in text


def test_size_categories_are_the_hub_s() -> None:
    assert [size_category(10**power) for power in range(2, 14)] == [
        *("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B"),
        *("10B<n<100B", "100B<n<1T", "n>1T", "n>1T"),
    ]
    assert size_category(0) == "n<1K"


def test_names_of_methods_are_tags(tmp_path: Path) -> None:
    from poolsieve.dataflow import Pool
    from poolsieve.filters import gopher
    from tests.jobs.card.subjects import write_jsonl

    pool = write_jsonl(tmp_path / "pool")
    out = poolsieve.run(Pool.jsonl(f"{pool}/*", text="text") | gopher.quality(), tmp_path / "out", samples=False)
    out.export()
    text = card_text(subject_of(out))
    assert front_of(text)["tags"][3:] == ["gopher"]


MINE = """---
# by hand
pretty_name: "Mine"   # as I like it
language:
- de
tags: [shapes, poolsieve]
license: mit
size_categories:
- n>1T
# the end
---

# My own title

Words of mine.
"""


def test_what_somebody_wrote_stays(subject: Subject) -> None:
    text = card_text(subject, MINE)
    front = front_of(text)
    assert text.startswith('---\n# by hand\npretty_name: "Mine"   # as I like it\nlanguage:\n- de\n')
    assert "\n# the end\n" in text
    assert front["license"] == "cc-by-4.0" and front["size_categories"] == ["n<1K"]
    assert front["tags"] == ["shapes", "poolsieve", "data-filtering", "curated-subset"]
    assert "---\n\n# My own title\n\nWords of mine.\n\n<!-- poolsieve:begin" in text
    assert front_of(card_text(dataclasses.replace(subject, license=""), MINE))["license"] == "mit"


def test_words_around_the_block_stay(subject: Subject, jsonl_run: poolsieve.Run) -> None:
    first = card_text(subject, MINE)
    edited = first.replace("<!-- poolsieve:begin", "Before.\n\n<!-- poolsieve:begin", 1) + "\nAfter.\n"
    other = card_text(subject_of(jsonl_run), edited)
    head, tail = edited.split("<!-- poolsieve:begin")[0], "\nAfter.\n"
    assert split(other).body.startswith(split(head).body) and other.endswith(tail)
    assert other.count("<!-- poolsieve:begin") == 1
    assert "made in Python" in other and "recipe.py</code></summary>" not in other


def test_tags_of_ours_go_when_the_method_goes(subject: Subject) -> None:
    text = card_text(subject, "---\ntags: [dfn]\n---\n")
    old = text.replace("tags: poolsieve,", "tags: gopher, poolsieve,").replace(
        "- poolsieve\n", "- gopher\n- poolsieve\n"
    )
    assert front_of(old)["tags"] == ["dfn", "gopher", "poolsieve", "data-filtering", "curated-subset"]
    assert front_of(card_text(subject, old))["tags"] == ["dfn", "poolsieve", "data-filtering", "curated-subset"]


EXISTING = {
    "none": None,
    "blank": " \n",
    "body alone": "# Title\n\ntext without an end of line",
    "thematic break inside": "# Title\n\n---\n\nmore\n",
    "windows": MINE.replace("\n", "\r\n"),
    "old Mac": MINE.replace("\n", "\r"),
    "byte order mark": "\ufeff" + MINE,
    "braces": "---\n{license: mit, a: [1, {b: 2}]}\n---\nbody\n",
    "indented": "---\n  license: mit\n  a: 1\n---\nbody\n",
    "comments alone": "---\n# nothing yet\n---\nbody\n",
    "empty": "---\n---\nbody\n",
    "empty line": "---\n\n---\nbody\n",
    "no end of line": "---\nlicense: mit\n---",
    "block scalar last": "---\nnote: |\n  a\n\n  b\n\n---\nbody\n",
    "quoted keys": "---\n'1': a\n\"yes\": b\n---\nbody\n",
    "line separators": "---\na: 'b\u2028c'\nx: 1\n---\nbody\n",
    "as push_to_hub writes": "---\ndataset_info:\n  features: []\nconfigs:\n- config_name: default\n---\n",
}


@pytest.mark.parametrize("name", EXISTING)
def test_a_card_gives_itself_again(name: str, subject: Subject) -> None:
    existing = EXISTING[name]
    text = card_text(subject, existing)
    assert card_text(subject, text) == text == card_text(subject, existing)
    assert front_of(text)["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    if existing and existing.strip():
        assert split(text).body.lstrip().startswith(split(existing).body.strip())
        kept = yaml.safe_load(split(existing).front or "") or {}
        front = front_of(text)
        for key in kept.keys() - {"license", "tags", "size_categories", "configs", "dataset_info"}:
            assert front[key] == kept[key]
    if name == "windows":
        assert "\n" not in text.replace("\r\n", "")


def test_the_hub_s_own_reader_reads_it(subject: Subject) -> None:
    from huggingface_hub import DatasetCard

    for existing in EXISTING.values():
        text = card_text(subject, existing)
        card = DatasetCard(text)
        assert card.data.configs[0]["config_name"] == "default" and card.text == split(text).body


BROKEN = {
    "begins with a line `---` and has no second one": "---\nlicense: mit\n",
    "is no YAML .*line 3": "---\nlicense: mit\na: [1\n---\n",
    "is no mapping": "---\n- a\n---\n",
    "has the key 'a' twice": "---\na: 1\na: 2\n---\n",
    "YAML alias": "---\na: &x [1]\nb: *x\n---\n",
    "a key .* is no text": "---\n? [a]\n: 1\n---\n",
    "is no text: put it between quotes": "---\n1: a\n---\n",
    "no YAML": "---\na: !!python/object:os.system x\n---\n",
    "more than 100 brackets": "---\na: " + "[" * 100_000 + "\n---\n",
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_front_matter_is_refused(message: str, subject: Subject) -> None:
    with pytest.raises(PlanError, match=f"README.md.*{message}"):
        card_text(subject, BROKEN[message])


def test_broken_marks_are_refused(subject: Subject) -> None:
    text = card_text(subject)
    end = text[text.index("<!-- poolsieve:end", text.rindex("</details>")) :].strip()
    with pytest.raises(PlanError, match=r"no `<!-- poolsieve:end [0-9a-f]{16} -->` after it"):
        card_text(subject, text.replace(end, ""))
    with pytest.raises(PlanError, match="two lines"):
        card_text(subject, text + split(text).body)
    with pytest.raises(PlanError, match="was edited"):
        card_text(subject, text.replace("; front matter:", "; front:"))


def test_a_huge_readme_takes_its_time_once(subject: Subject) -> None:
    import time

    def seconds(text: str) -> float:
        begin = time.perf_counter()
        card_text(subject, text)
        return time.perf_counter() - begin

    card_text(subject)
    for line in ("---\n", "<!-- poolsieve:\n", "`" * 80 + "\n", " " * 80 + "\n", "\r\n"):
        long = "# Title\n" + line * 200_000
        assert seconds(long) < 60, line


def test_an_export_of_dropped_rows_says_so(parquet_run: poolsieve.Run, tmp_path: Path) -> None:
    index = parquet_run.export(reason="text.*", to=tmp_path / "dropped")
    subject = dataclasses.replace(subject_of(parquet_run), index=index, tables=())
    text = card_text(subject)
    assert f"**{index.rows} rows** that a recipe of" in text and "matches `text.*`" in text
    assert "poolsieve export OUT --format parquet --reason 'text.*'" in text


def test_what_the_reader_should_know_of_the_files(subject: Subject) -> None:
    import msgspec

    index = msgspec.structs.replace(subject.index, warnings=("3 values of 'a|b' could not be read",), unreadable=3)
    text = card_text(dataclasses.replace(subject, index=index))
    assert "- 3 rows that should be here could not be read" in text
    assert "`3 values of 'a\\|b' could not be read`" in text


def test_rows_that_leave_several_times_are_counted_so(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table({"text": ["a", "a", "a", "b"]}), tmp_path / "pool" / "a.parquet")
    pool = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    run = poolsieve.run(pool | dedup.exact() | Repeat("dup", {3: 4}), tmp_path / "out", samples=False)
    run.export()
    subject = subject_of(run)
    found = load(subject, tmp_path / "loaded")
    says = front_of(card_text(subject))["dataset_info"]
    assert found.num_rows == says["splits"][0]["num_examples"] == run.counts.repeated == 5 > run.counts.kept
    said = json.loads(croissant(subject))["description"]
    assert said.startswith("5 rows, ") and "2 kept and repeated, 2 dropped" in said

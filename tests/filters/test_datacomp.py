"""DataComp's baselines on a metadata-only pool, against a straightforward reading of the published script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import datacomp
from poolsieve.scoring_models import Gcld3, Language
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run

CAPTIONS = [
    "a photo of a dog running on the beach",
    "red car",
    "cat",
    "ein Hund läuft am Strand entlang und bellt",
    "un chien court sur la plage avec un ballon",
    "the best\nshoes of the season are here",
    "",
    "   ",
    "a b c",
    "a bc d",
    "IMG_2034.JPG",
    "犬が海岸を走っている写真です",
    None,
]


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """1,500 rows in three shards, as DataComp's metadata has them: ties, NaN, extreme and empty sizes."""
    r = np.random.default_rng(7)
    folder = tmp_path / "metadata"
    folder.mkdir()
    for shard in range(3):
        n = 500
        score = r.normal(0.25, 0.05, n).astype(np.float32).round(2)
        score[r.random(n) < 0.02] = np.nan
        table = pa.table(
            {
                "uid": [r.bytes(16).hex() for _ in range(n)],
                "text": [CAPTIONS[i] for i in r.integers(0, len(CAPTIONS), n)],
                "original_width": r.choice([0, 100, 199, 200, 201, 300, 600, 601, 1800], n),
                "original_height": r.choice([0, 200, 199, 300, 600], n),
                "clip_b32_similarity_score": pa.array(score),
                "clip_l14_similarity_score": pa.array(r.permutation(score).astype(np.float64)),
            }
        )
        pq.write_table(table, folder / f"{shard:08d}.parquet")
    return folder


def table_of(metadata: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(metadata.glob("*.parquet")))


def pool_of(metadata: Path) -> Pool:
    return Pool.parquet(
        f"{metadata}/*.parquet", uid="uid", text="text", width="original_width", height="original_height"
    )


def kept(out: Path) -> set[str]:
    found = ledger(out)
    return set(found.filter(found["keep"])["uid"].to_pylist())


def wanted(table: pa.Table, mask: Any) -> set[str]:
    return set(table.filter(pa.array(mask))["uid"].to_pylist())


def test_basic(metadata: Path, tmp_path: Path) -> None:
    run(pool_of(metadata) | datacomp.basic(), tmp_path / "out")
    model = fasttext.load_model(str(Language().files()["lid.176.ftz"]))

    def basic(text: str | None, width: int, height: int) -> bool:
        if text is None or not text.strip():
            return False
        english = model.predict(text.replace("\n", " "))[0][0] == "__label__en"
        small, large = min(width, height), max(width, height)
        return english and len(text.split()) > 2 and len(text) > 5 and small >= 200 and large / small <= 3.0

    table = table_of(metadata)
    columns = (table[name].to_pylist() for name in ("text", "original_width", "original_height"))
    expected = wanted(table, [basic(*row) for row in zip(*columns, strict=True)])
    assert 20 < len(expected) < 400
    assert kept(tmp_path / "out") == expected


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.29, 0.3, 0.57, 0.9])
@pytest.mark.parametrize("column", ["clip_b32_similarity_score", "clip_l14_similarity_score"])
def test_clip_score_fraction_with_its_off_by_one_and_ties(
    metadata: Path, tmp_path: Path, column: str, fraction: float
) -> None:
    run(pool_of(metadata) | datacomp.clip_score(column, fraction=fraction), tmp_path / "out")
    table = table_of(metadata)
    scores = table[column].to_numpy()
    threshold = -np.sort(-scores)[int(len(scores) * fraction)]
    assert kept(tmp_path / "out") == wanted(table, scores >= threshold)


def test_clip_score_threshold_in_the_columns_own_type(metadata: Path, tmp_path: Path) -> None:
    run(pool_of(metadata) | datacomp.clip_score("clip_b32_similarity_score", threshold=0.28), tmp_path / "out")
    table = table_of(metadata)
    expected = wanted(table, table["clip_b32_similarity_score"].to_numpy() >= np.float32(0.28))
    assert wanted(table, pc.equal(table["clip_b32_similarity_score"], pa.scalar(0.28, pa.float32())).to_pylist())
    assert kept(tmp_path / "out") == expected


def test_intersection_takes_its_cut_from_the_whole_pool(metadata: Path, tmp_path: Path) -> None:
    column = "clip_l14_similarity_score"
    recipe = pool_of(metadata) | datacomp.basic() | datacomp.clip_score(column, fraction=0.3)
    run(recipe, tmp_path / "out")
    run(pool_of(metadata) | datacomp.basic(), tmp_path / "basic")
    run(pool_of(metadata) | datacomp.clip_score(column, fraction=0.3), tmp_path / "clip")
    assert kept(tmp_path / "out") == kept(tmp_path / "basic") & kept(tmp_path / "clip")
    assert ledger(tmp_path / "out")[column].null_count == 0


def test_laion2b_without_its_package_says_what_to_install(metadata: Path, tmp_path: Path) -> None:
    try:
        Gcld3().files()
    except PlanError as error:
        assert "poolsieve[gcld3]" in str(error)  # noqa: PT017
        with pytest.raises(PlanError, match="gcld3"):
            run(pool_of(metadata) | datacomp.laion2b(), tmp_path / "out")
        return
    run(pool_of(metadata) | datacomp.laion2b(), tmp_path / "out")
    assert kept(tmp_path / "out")


def test_stored_size_must_be_asked_for(metadata: Path, tmp_path: Path) -> None:
    pool = Pool.parquet(f"{metadata}/*.parquet", uid="uid", text="text")
    with pytest.raises(PlanError, match=r"original_width.*size=\"stored\""):
        run(pool | datacomp.basic(), tmp_path / "out")

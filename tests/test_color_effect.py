"""`benchmarks/color_effect.py`: its texts, its arithmetic, the whole of it at sizes that measure nothing, and its page."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER, DOCS = ROOT / "benchmarks", ROOT / "docs"

pytest.importorskip("torch")


pytestmark = pytest.mark.usefixtures("beside_the_benchmarks")


def test_where_curves_meet() -> None:
    from effect_training import fewer, needed

    falling = [(1000, 5.0), (4000, 3.0), (16_000, 3.5), (64_000, 2.0)]
    assert needed(falling, 4.0) == pytest.approx(2000) and needed(falling, 3.0) == 4000
    assert needed(falling, 5.5) == 1000 and needed(falling, 1.9) is None
    assert needed(falling, 2.75) == pytest.approx(32_000)  # from the last point above it, not from the lowest before
    assert fewer([(1000, 5.0), (8000, 3.0)], [(1000, 4.0), (2000, 2.0)]) == (
        3.0,
        8000,
        pytest.approx(2000**0.5 * 1000**0.5),
    )
    assert fewer([(1000, 5.0), (8000, 3.0)], [(1000, 4.5), (2000, 4.0)]) == (
        4.0,
        pytest.approx(8000**0.5 * 1000**0.5),
        2000,
    )


def test_operations_are_those_of_the_matrices() -> None:
    """2 for each weight that multiplies, and what attention does with half a context: Kaplan et al., arXiv 2001.08361."""
    import torch
    from effect_training import Target, forward
    from transformers import PersimmonConfig, PersimmonForCausalLM

    preset = Target().preset
    with torch.device("meta"):
        model = PersimmonForCausalLM(PersimmonConfig(**preset.model(1024)))
    weights = sum(one.numel() for name, one in model.named_parameters() if one.dim() == 2 and "embed" not in name)
    attention = preset.layers * 2 * 2 * (preset.length / 2) * preset.width
    assert forward(preset, 1024) == 2 * weights + attention


def test_passes_are_counted_as_in_the_paper() -> None:
    """The example of arXiv 2406.10670: Books, m = 3.1 B, n = 1.5 B, tau = 16, L = 5.5: 82 B; 25 B at random: 412.5 B."""
    from color_effect import SIZES, cost

    sizes, one = SIZES["full"], {"trained_tokens": {"prior": 3.1, "conditional": 0.0}}
    assert sizes.tau == 16
    assert cost("color", 1.5, one, sizes, 5.5) == pytest.approx(82.05)
    assert cost("conditional", 1.5, one, sizes, 5.5) == pytest.approx(82.05 - 24)
    assert cost("distilled", 1.5, one, sizes, 5.5) == pytest.approx(9.3 + 2.4 + 24.75)
    assert cost("random", 25, one, sizes, 5.5) == cost("dsir", 25, one, sizes, 5.5) == 412.5


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Manuals of four families, one of them large, and links, damage and repetitions among them."""
    folder = tmp_path / "man" / "man1"
    folder.mkdir(parents=True)
    dice = random.Random(0)
    for name in ("git", *(f"git-{i}" for i in range(60)), "ls", "cat-a", "cat-b", "dpkg"):
        text = "\n".join(f"{name} {dice.random()}" for _ in range(40))
        (folder / f"{name}.1.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "copy.1.gz").write_bytes((folder / "ls.1.gz").read_bytes())
    (folder / "torn.1.gz").write_bytes((folder / "ls.1.gz").read_bytes()[:50])
    (folder / "link.1.gz").symlink_to(folder / "ls.1.gz")
    return tmp_path / "man"


def test_a_family_is_on_one_side_and_no_piece_comes_twice(world: Path) -> None:
    from effect_texts import PER_FAMILY, Source, World, family

    made = World("manuals", "", ((str(world), "man[1-9]/*.gz"),))
    assert "link.1.gz" not in {path.name for path in made.files()}
    source = Source(made, random.Random(1), set())
    parts = [source.take(3000) for _ in range(6)]
    sides = [{family(Path(where)) for where, _ in part} for part in parts]
    assert not any(one & other for i, one in enumerate(sides) for other in sides[:i])
    texts = [text for part in parts for _, text in part]
    assert len(texts) == len(set(texts)) > 5
    assert sum("/git" in where for part in parts for where, _ in part) <= PER_FAMILY
    assert {"copy", "ls"} - set().union(*sides)  # the same text under two names


def test_too_little_text_is_said(tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import effect_texts
    from effect_texts import Wanted, World, make

    few = (World("manuals", "", ((str(world), "man[1-9]/*.gz"),)), World("other", "", ((str(world), "*.nothing"),)))
    monkeypatch.setattr(effect_texts, "WORLDS", few)
    with pytest.raises(SystemExit, match=r"manuals, as target, has .* 9,999,999 are wanted"):
        make(tmp_path / "a", Wanted(pool=1000, share=0.5, target=9_999_999, held_out=1000), 0)
    with pytest.raises(SystemExit, match="all other worlds together has 0 characters"):
        make(tmp_path / "b", Wanted(pool=1000, share=0.5, target=300, held_out=300), 0)


def enough_text() -> bool:
    from effect_texts import WORLDS

    return sum(len(world.files()) >= 30 for world in WORLDS) >= 3 and len(WORLDS[0].files()) >= 200


def test_the_whole_of_it_runs_and_its_page_says_what_it_found(tmp_path: Path) -> None:
    import effect_page

    if not enough_text():
        pytest.skip("this machine has no manual pages")
    out = tmp_path / "result.json"
    command = [sys.executable, str(FOLDER / "color_effect.py"), "--test", "--json", str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(effect_page.NAMES)[1:]
    result = json.loads(out.read_text())
    (one,) = result["seeds"]
    assert one["kept"]["color"] == one["kept"]["dsir"] == one["kept"]["distilled"] > 10
    assert one["agree"]["color"] == 1 and one["manuals"]["label"] == 1
    assert one["manuals"]["color"] > 2 * one["manuals"]["random"]  # untrained models would not
    effect_page.write(result, tmp_path)
    assert f"{one['examples'][0]['color']:+.2f}" in (tmp_path / "color-effect.md").read_text()


def test_the_page_in_docs_is_what_the_results_say() -> None:
    import effect_page

    result = json.loads((DOCS / "color-effect.json").read_text())
    assert result["size"] == "full" and len(result["seeds"]) >= 3
    assert (DOCS / "color-effect.md").read_text() == effect_page.page(result)
    drawn = (DOCS / "color-effect.svg").read_text()
    assert drawn == effect_page.plot(result)
    ET.fromstring(drawn)  # our own


def test_names_beside_the_lines_do_not_cover_each_other() -> None:
    from effect_chart import BOTTOM, HEIGHT, LABEL_ROOM, spaced

    made = spaced({"a": 400.0, "b": 401.0, "c": 399.0, "d": 100.0})
    order = sorted(made.values())
    assert [key for key, _ in sorted(made.items(), key=lambda item: item[1])] == ["d", "c", "a", "b"]
    assert all(after - before >= LABEL_ROOM for before, after in itertools.pairwise(order))
    assert order[-1] <= HEIGHT - BOTTOM

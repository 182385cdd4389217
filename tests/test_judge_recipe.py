"""The recipe with a judge, as it stands in the repository, against a server on the loopback; and the same as YAML."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.chat import Chat, Sent, said, text_of
from tests.filters.corpus import real
from tests.jobs.test_cli import cli

RECIPES = Path(__file__).parents[1] / "recipes"


def graded(asked: dict[str, object]) -> Sent:
    page = text_of(asked).split("====================")[1]
    return said(f'{{"quality": {len(page) % 6}, "reason": "its length"}}', (len(page) // 4, 20))


@pytest.fixture
def pool(tmp_path: Path) -> str:
    lines = [json.dumps({"text": text}) for text in real(60)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "docs.jsonl")


def test_documents_are_judged_by_the_rubric(pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "correct-horse-battery")
    with Chat(graded) as chat:
        monkeypatch.setenv("JUDGE_URL", f"{chat.url}/v1")
        rubric = RECIPES / "rubrics" / "educational.md"
        given = (f"pool={pool}", "key=JUDGE_API_KEY", f"rubric={rubric}")
        common = (RECIPES / "judge.py", *(part for one in given for part in ("-p", one)), "--out", tmp_path / "out")
        assert "'edu' asks an endpoint about each row" in cli("plan", *common)
        assert not chat.requests
        told = cli("run", *common)
        asked = len(chat.requests)
        assert 0 < asked <= 60 and {one["Authorization"] for one in chat.headers} == {"Bearer correct-horse-battery"}
        assert re.search(rf"^asked    edu: {asked} requests? for {asked} rows?, .+ tokens in, \d+ out$", told, re.M), (
            told
        )
        assert "edu.quality.below_cut" in told
        assert "asks an endpoint" not in cli("plan", *common)
        cli("run", *common, "-p", "at_least=2")
        assert len(chat.requests) == asked
        assert text_of(chat.requests[0]).startswith(rubric.read_text().split("{text}")[0])
        page = next((tmp_path / "out").glob("decisions/*/report.html")).read_text()
        assert "Questions to endpoints" in page
        for path in (tmp_path / "out").rglob("*"):
            if path.is_file():
                assert b"correct-horse" not in path.read_bytes() and chat.url.encode() not in path.read_bytes(), path


def test_a_judge_in_yaml(pool: str, tmp_path: Path) -> None:
    with Chat(lambda asked: said('{"quality": 4}')) as chat:
        (tmp_path / "rubric.md").write_text("Rate {text}")
        (tmp_path / "recipe.yaml").write_text(
            f"""
pool: {{jsonl: {pool}, text: text}}
stages:
  - score: {{edu: {{Judge: {{endpoint: {{url: "{chat.url}", model: m}}, prompt: {tmp_path}/rubric.md, columns: {{quality: float32}}}}}}}}
  - above: {{name: edu.quality, limit: 3}}
"""
        )
        cli("run", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
        assert len(chat.requests) == 60

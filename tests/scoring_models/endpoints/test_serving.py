"""A judge over a pool, from recipe to ledger, with a real server of a real model: `transformers serve`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import Above, Score
from poolsieve.scoring_models import Endpoint, Judge, Panel
from poolsieve.scoring_models.endpoints import EndpointError, question
from tests.conftest import ledger, run
from tests.scoring_models.endpoints.tiny_chat import Serving, make_chat


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    pytest.importorskip("fastapi", reason="pip install 'transformers[serving]'")
    with Serving(make_chat(tmp_path_factory.mktemp("chat"))) as made:
        yield made


def test_a_judge_over_a_pool(server: Serving, tmp_path: Path) -> None:
    texts = ["w1 is dull", "w2 is fair", "w3 is good", "w4 says nothing", None, "w2 again"]
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table({"uid": list("abcdef"), "text": texts}), tmp_path / "pool" / "a.parquet")
    endpoint = Endpoint(server.url, server.model, max_tokens=40, concurrency=2, price=(1.0, 2.0))
    judge = Judge(endpoint, "{text}", columns={"quality": "float32"}, least=0, most=5)
    pool = Pool.parquet(f"{tmp_path}/pool/*.parquet", uid="uid", text="text")
    made = run(pool | Score(edu=judge) | Above("edu.quality", 1.5), tmp_path / "out")
    assert ledger(tmp_path / "out")["edu.quality"].to_pylist() == [1.0, 2.0, 3.0, None, None, 2.0]
    assert made.reasons == {"edu.quality.below_cut": 2, "quarantine.judge_unreadable": 1} and made.kept == 3
    work = made.work.models["edu"]
    assert (work.requests, work.retries, work.uncounted, work.rows) == (6, 0, 0, 5)  # one was asked once more
    assert work.tokens_in > 0 and work.cost == pytest.approx((work.tokens_in + 2 * work.tokens_out) / 1e6)


def test_a_panel_over_a_pool(server: Serving, tmp_path: Path) -> None:
    items = {
        "uid": list("abcd"),
        "question": ["w3 is it?", "w3 or which?", "w1 is it?", "w4 says what?"],
        "answer": ["3", "3", "1", "w5 w6 w7"],
        "options": pa.array([None, ["1", "2", "3"], None, None], pa.list_(pa.string())),
    }
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table(items), tmp_path / "pool" / "a.parquet")
    endpoint = Endpoint(server.url, server.model, max_tokens=40, concurrency=2)
    panel = Panel([endpoint], image=None, prompt="{question}", choice_prompt="{question} {options}")
    pool = Pool.parquet(
        f"{tmp_path}/pool/*.parquet", uid="uid", question="question", answer="answer", options="options"
    )
    made = run(pool | Score(panel=panel) | Above("panel.right", 1), tmp_path / "out")
    assert ledger(tmp_path / "out")["panel.right"].to_pylist() == [1, 1, 0, 1]
    assert ledger(tmp_path / "out")["panel.asked"].to_pylist() == [1] * 4 and made.kept == 3


def test_a_model_that_the_server_has_not(server: Serving) -> None:
    with pytest.raises(EndpointError, match="pinned"):
        Endpoint(server.url, "no/such-model").ask(question("w1"))

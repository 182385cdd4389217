"""Answers of an endpoint are committed as they come: what is stored is never asked for again, whatever stops a run."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import Above, Keep, Score, col
from poolsieve.scoring_models import Endpoint, Judge
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, RowError
from poolsieve.scoring_models.base.scorer import Scored, ScorerConfig
from poolsieve.scoring_models.endpoints import EndpointError
from poolsieve.scoring_models.feeding.pieces import gathered
from tests import forked
from tests.chat import Chat, Sent, said, text_of
from tests.conftest import ledger, run
from tests.jobs.test_cli import cli

POOLSIEVE = str(Path(sys.executable).parent / "poolsieve")

RECIPE = """
import os
import shutil
from poolsieve.dataflow import Pool
from poolsieve.filters import Above, Score
from poolsieve.scoring_models import Endpoint, Judge

def recipe(pool: str):
    endpoint = Endpoint(os.environ["CHAT_URL"], "m", key="CHAT_KEY", concurrency=16)
    judge = Judge(endpoint, "Rate this: {text}", columns={"quality": "float32"}, least=0, most=5)
    return Pool.parquet(pool, uid="uid", text="text") | Score(edu=judge) | Above("edu.quality", 2.5)
"""


def write(folder: Path, sizes: tuple[int, ...]) -> str:
    folder.mkdir()
    for number, n in enumerate(sizes):
        texts = [f"row {number}-{i}" for i in range(n)]
        pq.write_table(
            pa.table({"uid": [f"u{number}-{i}" for i in range(n)], "text": texts}), folder / f"{number}.parquet"
        )
    return f"{folder}/*.parquet"


def row_of(asked: dict[str, Any]) -> str:
    return text_of(asked).partition("Rate this: ")[2].partition("\n")[0]


def rated(asked: dict[str, Any]) -> Sent:
    """A number that depends on the row alone; every tenth row is refused."""
    row = row_of(asked)
    number = int(row.rpartition("-")[2] or 0)
    return Sent(400, b"no") if number % 10 == 3 else said(f'{{"quality": {number % 6}}}')


def slowly(seconds: float) -> Callable[[dict[str, Any]], Sent]:
    return lambda asked: rated(asked)._replace(wait=seconds)


def stored(out: Path) -> set[str]:
    """Texts of the rows of which an answer is stored."""
    found = set()
    for path in out.glob("scores/*/*.parquet"):
        found |= {f"row {path.name[0]}-{row}" for row in pq.read_table(path, columns=["row"])["row"].to_pylist()}
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    with Chat(rated) as made:
        monkeypatch.setenv("CHAT_URL", made.url)
        monkeypatch.setenv("CHAT_KEY", "correct-horse-battery")
        yield made


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("decisions/*/ledger/*"))}


def ledger_files(out: Path) -> dict[str, bytes]:
    """The same without the decision, whose name comes from the endpoint's address too."""
    return {Path(name).name: data for name, data in files_of(out).items()}


@pytest.fixture(scope="module")
def in_one_go(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The ledger of the same pool where nothing stopped the run."""
    folder = tmp_path_factory.mktemp("whole")
    pool = Pool.parquet(write(folder / "pool", (900, 700)), uid="uid", text="text")
    with Chat(rated) as chat, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAT_KEY", "correct-horse-battery")
        run(pool | Score(edu=judge(chat, key="CHAT_KEY", concurrency=16)) | Above("edu.quality", 2.5), folder / "out")
    return ledger_files(folder / "out")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_was_stored_before_a_kill_is_never_asked_for_again(
    how: signal.Signals, in_one_go: dict[str, bytes], recipe: Path, chat: Chat, tmp_path: Path
) -> None:
    pool, out = write(tmp_path / "pool", (900, 700)), tmp_path / "killed"
    command = [POOLSIEVE, "run", str(recipe), "-p", f"pool={pool}", "--out", str(out)]
    chat.answer = slowly(0.02)
    with (tmp_path / "said").open("w") as told:
        process = forked.Popen(command, stdout=told, stderr=told, start_new_session=True)
        end = time.monotonic() + 100
        while len(stored(out)) < 256 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, how) if how == signal.SIGKILL else process.send_signal(how)
        process.wait(60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    assert not list(out.glob("rows/*")), "the shard was through before the kill: nothing is shown"
    before, kept, chat.answer = Counter(chat.asked), stored(out), rated
    assert 256 <= len(kept) < 1600
    asked_for = {row_of(asked) for asked in chat.requests}
    if how != signal.SIGKILL:  # whoever asks nicely loses at most what was under way
        assert len(asked_for - kept) <= 2 * 2 * 16
    cli("run", recipe, "-p", f"pool={pool}", "--out", out)
    again = chat.asked - before
    assert not kept & {text.partition("Rate this: ")[2].partition("\n")[0] for text in again}
    assert stored(out) == {f"row {number}-{i}" for number, n in enumerate((900, 700)) for i in range(n)}
    assert ledger_files(out) == in_one_go
    for path in [tmp_path / "said", *out.rglob("*.json"), *out.rglob("*.html")]:
        assert chat.url not in path.read_text() and "correct-horse" not in path.read_text()


def judge(chat: Chat, **options: Any) -> Judge:
    endpoint = Endpoint(chat.url, "m", attempts=2, timeout=5.0, **options)
    return Judge(endpoint, "Rate this: {text}", columns={"quality": "float32"}, least=0, most=5)


def test_an_endpoint_that_goes_away_keeps_what_it_answered(chat: Chat, tmp_path: Path) -> None:
    pool = Pool.parquet(write(tmp_path / "pool", (120,)), uid="uid", text="text")
    recipe = pool | Score(edu=judge(chat)) | Above("edu.quality", 2.5)
    chat.answer = lambda asked: rated(asked) if len(chat.requests) <= 40 else Sent(401, b"expired")
    with pytest.raises(PoolsieveError, match="does not accept the key"):
        run(recipe, tmp_path / "out")
    kept = stored(tmp_path / "out")
    assert 20 <= len(kept) <= 40
    chat.answer, before = rated, len(chat.requests)
    assert run(recipe, tmp_path / "out").rows == 120
    assert {row_of(asked) for asked in chat.requests[before:]} == {f"row 0-{i}" for i in range(120)} - kept
    run(recipe, tmp_path / "whole")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_run_that_is_through_asks_nothing_and_neither_does_a_plan(chat: Chat, tmp_path: Path) -> None:
    from poolsieve.jobs import api

    recipe = Pool.parquet(write(tmp_path / "pool", (30, 0)), uid="uid", text="text") | Score(edu=judge(chat))
    api.plan(recipe | Above("edu.quality", 2.5), str(tmp_path / "out"))
    assert not chat.requests
    made = run(recipe | Above("edu.quality", 2.5), tmp_path / "out")
    work = made.work.models["edu"]
    assert (work.requests, work.rows, work.tokens_in, work.tokens_out) == (30, 30, 270, 135)
    assert made.work.scored == {"edu": 30}
    moved = run(recipe | Above("edu.quality", 1.5), tmp_path / "out")
    assert len(chat.requests) == 30 and moved.kept > made.kept and not moved.work.models


def test_failures_are_stored_and_tried_again_when_asked(chat: Chat, tmp_path: Path) -> None:
    pool = Pool.parquet(write(tmp_path / "pool", (30,)), uid="uid", text="text")
    recipe = pool | Score(edu=judge(chat)) | Above("edu.quality", -1)
    assert run(recipe, tmp_path / "out").reasons == {"quarantine.endpoint_refused": 3}
    chat.answer = lambda asked: said('{"quality": 5}')
    assert run(recipe, tmp_path / "out").quarantined == 3 and len(chat.requests) == 30
    assert run(recipe, tmp_path / "out", retry_quarantined=True).kept == 30 and len(chat.requests) == 33


def test_only_rows_that_a_rule_left_are_asked_about(chat: Chat, tmp_path: Path) -> None:
    pool = Pool.parquet(write(tmp_path / "pool", (40,)), uid="uid", text="text")
    few = pool | Keep(col("text").char_count() > len("row 0-9"), reason="short.text")
    run(few | Score(edu=judge(chat)) | Above("edu.quality", 2.5), tmp_path / "out")
    assert {row_of(asked) for asked in chat.requests} == {f"row 0-{i}" for i in range(10, 40)}
    assert ledger(tmp_path / "out")["edu.quality"].null_count == 10 + 3


def test_stages_as_a_transform_ask_as_well(chat: Chat) -> None:
    batch = pa.record_batch({"text": ["row 0-1", None, "row 0-3", "row 0-5"]})
    stage = Score(edu=judge(chat)) | Above("edu.quality", 2.5)
    made = apply_stages(program_for(stage, batch.schema), batch)
    assert made.column("keep").to_pylist() == [False, False, False, True]


@dataclass(frozen=True, eq=False)
class Given(ScorerConfig):
    """Gives the rows that it is told to, in pieces."""

    rows: tuple[tuple[int, ...], ...]
    reads: ClassVar[tuple[str, ...]] = ("text",)
    columns: ClassVar[Mapping[str, pa.DataType]] = {"": pa.int32()}
    version: ClassVar[int] = 1
    commit_rows: ClassVar[int] = 2
    commit_seconds: ClassVar[float] = 1e9

    def pieces(self, batch: pa.RecordBatch, check: Any) -> Generator[tuple[list[int], Scored]]:
        for rows in self.rows:
            check()
            errors = {i: RowError("odd", "a row") for i, row in enumerate(rows) if row == 1}
            yield list(rows), Scored({"": pa.array([None if row == 1 else row for row in rows], pa.int64())}, errors)


def test_pieces_are_put_together_in_the_order_of_the_rows() -> None:
    batch = pa.record_batch({"text": ["a", "b", "c", "d"]})
    seen: list[list[int]] = []
    made = gathered(Given(((2, 0), (), (3, 1))), batch, Given.columns, list, lambda rows, _: seen.append(rows))
    assert made.columns[""].to_pylist() == [0, None, 2, 3] and made.columns[""].type == pa.int32()
    assert made.errors == {1: RowError("odd", "a row")}
    assert seen == [[2, 0], [], [3, 1]]


@pytest.mark.parametrize("rows", [((0, 1, 2),), ((0, 1), (1, 2, 3)), ((0, 1, 2, 4),), ()])
def test_a_row_that_comes_twice_or_never_is_the_scorers_fault(rows: Any) -> None:
    batch = pa.record_batch({"text": ["a", "b", "c", "d"]})
    with pytest.raises(PoolsieveError, match="Given gave"):
        gathered(Given(rows), batch, Given.columns, list, lambda *_: None)


def test_a_missing_key_is_refused_before_anything_is_read(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAT_KEY")
    pool = Pool.parquet(write(tmp_path / "pool", (3,)), uid="uid", text="text")
    with pytest.raises(PlanError, match="CHAT_KEY"):
        run(pool | Score(edu=judge(chat, key="CHAT_KEY")) | Above("edu.quality", 2.5), tmp_path / "out")
    assert not chat.requests and issubclass(EndpointError, PoolsieveError)


def test_prune_makes_one_file_of_many(chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "commit_rows", 4)
    pool = Pool.parquet(write(tmp_path / "pool", (60,)), uid="uid", text="text")
    recipe, out = pool | Score(edu=judge(chat)) | Above("edu.quality", 2.5), tmp_path / "out"
    run(recipe, out)
    before, many = files_of(out), list(out.glob("scores/*/*.parquet"))
    assert len(many) > 8
    told = cli("prune", out, "--yes")
    (one,) = out.glob("scores/*/*.parquet")
    assert told.count("removed scores/edu-") >= len(many) - 1
    assert pq.read_table(one)["row"].to_pylist() == list(range(60))
    shutil.rmtree(out / "decisions")
    run(recipe, out)
    assert files_of(out) == before and len(chat.requests) == 60
    assert cli("prune", out, "--yes").strip() == "nothing to remove"

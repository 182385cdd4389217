"""A panel over the wire: a loopback server that answers, fails, counts, and is left in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("httpx2")

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col, suite
from poolsieve.filters.items.guessing import chance_limit
from poolsieve.scoring_models import Endpoint, Judge, Panel
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.panels.judged import told, verdict
from tests.chat import Chat, Sent, said, text_of
from tests.scoring_models.panels import tiny_panel
from tests.scoring_models.panels.test_items import item

COLOURS = ["red", "green", "blue"]


def write(folder: Path, n: int = 6, source: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    rows = range(n)
    columns: dict[str, Any] = {
        "uid": [f"{i:032x}" for i in rows],
        "image": [tiny_panel.picture(i, 8) for i in rows],
        "question": [f"What colour is thing {i}?" for i in rows],
        "answer": [COLOURS[i % 3] for i in rows],
        "options": pa.array([COLOURS if i % 2 == 0 else None for i in rows], pa.list_(pa.string())),
    }
    if source is not None:
        columns["source"] = [source if i % 2 else "other" for i in rows]
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder


def recipe(pool: Path, panel: Panel) -> Any:
    scored = Pool.parquet(f"{pool}/*.parquet", uid="uid") | Score(panel=panel)
    return scored | Keep(col("panel.asked") >= 0, reason="never.drops")


def number(asked: dict[str, Any]) -> int:
    """The number of the thing that is asked about."""
    return int(text_of(asked).partition("thing ")[2].partition("?")[0])


def sees(asked: dict[str, Any]) -> bool:
    return not isinstance(asked["messages"][-1]["content"], str)


def right(asked: dict[str, Any]) -> Sent:
    """The right answer where it sees, else nothing."""
    colour = COLOURS[number(asked) % 3]
    lines = text_of(asked).split("\n")
    lettered = [line[0] for line in lines if line[1:] == f". {colour}"]
    return said((lettered or [colour])[0] if sees(asked) else "")


def test_an_endpoint_is_asked_with_the_image_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, out = write(tmp_path / "pool"), tmp_path / "OUT"
    with Chat(right) as chat:
        panel = Panel([Endpoint(chat.url, "m")])
        ledger = poolsieve.run(recipe(pool, panel), str(out)).ledger()
        assert len(chat.requests) == 12 and sum(map(sees, chat.requests)) == 6
    assert ledger["panel.right"].to_pylist() == ledger["panel.asked"].to_pylist() == [1] * 6
    # An empty answer is an answer, and not right.
    assert ledger["panel.blind_right"].to_pylist() == [0] * 6
    assert ledger["panel.blind_asked"].to_pylist() == [1] * 6
    monkeypatch.setenv("OUR_KEY", "sesame-open-4711")
    with Chat(right) as chat:  # at another address, with another key: the same model
        again = Panel([Endpoint(chat.url, "m", concurrency=2, key="OUR_KEY")])
        same = poolsieve.run(recipe(pool, again), str(out)).ledger()
        assert not chat.requests
        more = Panel([Endpoint(chat.url, "m"), Endpoint(chat.url, "n", key="OUR_KEY")])
        poolsieve.run(recipe(pool, more), str(out))
        assert {asked["model"] for asked in chat.requests} == {"n"} and len(chat.requests) == 12
    assert same.equals(ledger)
    for path in out.rglob("*.*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(secret in data for secret in (b"sesame", b"OUR_KEY", chat.url.encode())), path


def test_a_key_is_needed_only_where_something_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, out = write(tmp_path / "pool"), tmp_path / "OUT"
    monkeypatch.setenv("PANEL_KEY", "sk-secret")
    with Chat(right) as chat:
        scored = recipe(pool, Panel([Endpoint(chat.url, "m", key="PANEL_KEY")]))
        poolsieve.run(scored, str(out))
        monkeypatch.delenv("PANEL_KEY")
        again = scored | Keep(col("panel.right") > 0, reason="now.drops")
        assert poolsieve.run(again, str(out)).ledger()["panel.right"].to_pylist() == [1] * 6
        assert len(chat.requests) == 12
        for elsewhere, options in ((tmp_path / "other", {}), (out, {"retry_quarantined": True})):
            with pytest.raises(PlanError, match="variable PANEL_KEY with the key"):
                poolsieve.run(scored, str(elsewhere), **options)
        pq.write_table(pq.read_table(pool / "a.parquet"), pool / "b.parquet", compression="none")
        with pytest.raises(PlanError, match="variable PANEL_KEY with the key"):
            poolsieve.plan(scored, str(out), sample_rows=0)


def test_a_failed_answer_costs_that_answer_and_is_tried_again_when_asked_for(tmp_path: Path) -> None:
    pool, out = write(tmp_path / "pool"), tmp_path / "OUT"
    broken = True

    def answer(asked: dict[str, Any]) -> Sent:
        refused = broken and sees(asked) and number(asked) == 3
        return Sent(400, b'{"error": "too long a context"}') if refused else right(asked)

    with Chat(answer) as chat:
        panel = Panel([Endpoint(chat.url, "m"), Endpoint(chat.url, "other")])
        run = poolsieve.run(recipe(pool, panel), str(out))
        assert run.ledger()["keep"].to_pylist() == [True] * 6
        assert run.ledger()["panel.asked"].to_pylist() == [2, 2, 2, 0, 2, 2]
        told = json.loads(Path(run.report).with_suffix(".json").read_text())["throughput"]["asked"]
        assert sorted(line["failed"] for line in told) == [0, 0, 1, 1]
        asked, broken = len(chat.requests), False
        poolsieve.run(recipe(pool, panel), str(out))
        assert len(chat.requests) == asked
        again = poolsieve.run(recipe(pool, panel), str(out), retry_quarantined=True)
        assert len(chat.requests) == asked + 2
        assert again.ledger()["panel.asked"].to_pylist() == [2] * 6
        assert again.ledger()["panel.right"].to_pylist() == [2] * 6


def test_turns_are_asked_apart_and_count_together(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool")

    def answer(asked: dict[str, Any]) -> Sent:
        return said("A") if number(asked) == 2 else right(asked)

    with Chat(answer) as chat:
        panel = Panel([Endpoint(chat.url, "m")], blind=False, circular=True)
        ledger = poolsieve.run(recipe(pool, panel), str(tmp_path / "OUT")).ledger()
        per_item = Counter(map(number, chat.requests))
    assert per_item == {0: 3, 1: 1, 2: 3, 3: 1, 4: 3, 5: 1}
    assert ledger["panel.right"].to_pylist() == [1, 1, 0, 1, 1, 1]


def test_a_judge_marks_what_it_is_asked_to_and_nothing_else(tmp_path: Path) -> None:
    pool, out = write(tmp_path / "pool", source="Open"), tmp_path / "OUT"

    def judges(asked: dict[str, Any]) -> Sent:
        return said("False" if "thing 5" in text_of(asked) else "maybe" if "thing 3" in text_of(asked) else "true")

    with Chat(lambda asked: said("it is RED, I think")) as chat, Chat(judges) as judge:
        panel = Panel(
            [Endpoint(chat.url, "m")],
            blind=False,
            scoring={"Open": "judge", "*": "exact"},
            judge=Endpoint(judge.url, "j"),
        )
        ledger = poolsieve.run(recipe(pool, panel), str(out)).ledger()
        assert len(judge.requests) == 3  # the other items have another source
        assert all("it is RED, I think" in text_of(asked) for asked in judge.requests)
        other = replace(panel, scoring={"Open": "judge", "*": "normalised", "New": "anls"})
        poolsieve.run(recipe(pool, other), str(out))
        assert len(judge.requests) == 3 and len(chat.requests) == 6  # another way for others asks nobody
    # 0 and 2, 4 have options: red is right in 0 alone. 3 the judge did not say, so it is not counted.
    assert ledger["panel.right"].to_pylist() == [1, 1, 0, 0, 0, 0]
    assert ledger["panel.asked"].to_pylist() == [1, 1, 1, 0, 1, 1]


def test_an_empty_answer_needs_no_judge(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool", source="Open")
    with Chat(lambda asked: said("  ")) as chat, Chat(lambda asked: said("true")) as judge:
        panel = Panel([Endpoint(chat.url, "m")], scoring="judge", judge=Endpoint(judge.url, "j"))
        ledger = poolsieve.run(recipe(pool, panel), str(tmp_path / "OUT")).ledger()
        assert not judge.requests
    assert ledger["panel.right"].to_pylist() == [0] * 6
    assert ledger["panel.asked"].to_pylist() == [1] * 6


def test_what_a_judge_is_told() -> None:
    text = told(item(question="{said} What?"), "ignore {right}", 1)
    assert "{said} What?\nA. green\nB. blue\nC. red" in text
    assert "-----\nC. red\n-----" in text
    assert "-----\nignore {right}\n-----" in text
    assert verdict("The answer is not false. TRUE") == 1.0
    assert verdict("<think>true</think>false") == 0.0


def test_the_stages_of_a_suite_read_a_live_panel(tmp_path: Path) -> None:
    pool, out = write(tmp_path / "pool", 12), tmp_path / "OUT"

    def skilled(asked: dict[str, Any]) -> Sent:
        """Each model knows every third, second, or each thing; thing 7 is known blind, and thing 11 to nobody."""
        every = {"weak": 3, "middling": 2, "good": 1}[asked["model"]]
        at = number(asked)
        knows = at == 7 or (sees(asked) and at != 11 and at % every == 0)
        picture = {**asked, "messages": [{"content": [{"text": text_of(asked)}]}]}
        return right(picture) if knows else said("pink")

    def judges(asked: dict[str, Any]) -> Sent:
        flags = '{"ground_truth_wrong": true, "question_is_ambiguous": false, "needs_high_resolution": false}'
        return said(flags)

    with Chat(skilled) as chat, Chat(judges) as judge:
        panel = Panel([Endpoint(chat.url, name) for name in ("weak", "middling", "good")])
        stages = (
            Score(panel=panel)
            | suite.blind_solvable("panel", tau=3)
            | suite.mislabelled("panel", judge=Judge(Endpoint(judge.url, "j")))
            | suite.discriminative("panel", by=None, count=5, frontier=0.0)
        )
        pooled = Pool.parquet(f"{pool}/*.parquet", uid="uid") | stages
        ledger = poolsieve.run(pooled, str(out)).ledger()
        assert len(judge.requests) == 1
    reasons = dict(enumerate(ledger["reason"].to_pylist()))
    assert reasons[7] == "suite.blind_solvable" and reasons[11] == "suite.wrong_label"
    assert ledger["keep"].to_pylist().count(True) == 5
    # Where all are right (0 and 6) nobody is told apart.
    assert {reasons[0], reasons[6]} == {"suite.not_discriminative"}


def test_guessing_is_harder_where_all_turns_must_be_right(tmp_path: Path) -> None:
    """Two of three models know the items with options blind: guessers do so in 7 of 27 cases, or in 79 of 19,683."""
    pool = write(tmp_path / "pool", 4)

    def leaks(asked: dict[str, Any]) -> Sent:
        picture = {**asked, "messages": [{"content": [{"text": text_of(asked)}]}]}
        return right(picture) if asked["model"] != "c" and number(asked) % 2 == 0 else said("pink")

    with Chat(leaks) as chat:
        for circular, ways, dropped, warned in ((False, 3, [], True), (True, 27, [0, 2], False)):
            panel = Panel([Endpoint(chat.url, name) for name in "abc"], circular=circular)
            scored = Pool.parquet(f"{pool}/*.parquet", uid="uid") | Score(panel=panel)
            ledger = poolsieve.run(scored | suite.blind_solvable(), str(tmp_path / f"out-{circular}")).ledger()
            assert ledger["panel.options"].to_pylist() == [ways, None, ways, None]
            assert [row for row, keep in enumerate(ledger["keep"].to_pylist()) if not keep] == dropped
            limit = chance_limit(3, ways)
            assert sum(comb(3, c) * (ways - 1) ** (3 - c) for c in range(limit, 4)) <= 0.01 * ways**3
            plan = poolsieve.plan(scored | suite.blind_solvable(tau=1), str(tmp_path / "plan"), sample_rows=0)
            assert any("only guess" in one for one in plan.warnings) == warned


KILLED = """
import sys
import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Endpoint, Panel
from poolsieve.scoring_models.panels import remote

remote.AskEndpoint.commit_rows = 5
pool, out, url = sys.argv[1:]
panel = Panel([Endpoint(url, "m", concurrency=2)])
scored = Pool.parquet(f"{pool}/*.parquet", uid="uid") | Score(panel=panel)
poolsieve.run(scored | Keep(col("panel.asked") >= 0, reason="never.drops"), out)
"""


def committed(out: Path) -> set[tuple[bool, int]]:
    """(with the image, row) of every answer that is stored."""
    found = set()
    for path in out.glob("scores/panel.ask.*/*.parquet"):
        shown = ".image-" in path.parent.name
        found |= {(shown, row) for row in pq.read_table(path)["row"].to_pylist()}
    return found


def test_a_panel_killed_in_the_middle_asks_nothing_twice_that_was_committed(tmp_path: Path) -> None:
    pool, out = write(tmp_path / "pool", 40), tmp_path / "OUT"

    def slow(asked: dict[str, Any]) -> Sent:
        return right(asked)._replace(wait=0.05)

    with Chat(slow) as chat:
        command = [sys.executable, "-c", KILLED, str(pool), str(out), chat.url]
        env = {**os.environ, "PYTHONPATH": str(Path(poolsieve.__file__).parents[1])}
        with subprocess.Popen(command, env=env, start_new_session=True) as process:
            deadline = time.monotonic() + 120
            while len(committed(out)) < 50 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
        kept, asked = committed(out), len(chat.requests)
        assert 50 <= len(kept) < 80, "it was to be killed in the middle"
        assert not list(out.glob("rows/*"))
        time.sleep(0.3)
        chat.requests.clear()
        ledger = poolsieve.run(recipe(pool, Panel([Endpoint(chat.url, "m")])), str(out)).ledger()
        again = {(sees(one), number(one)) for one in chat.requests}
    assert not again & kept
    assert len(again) == len(chat.requests) == 80 - len(kept)
    assert asked - len(kept) < 20
    assert ledger["panel.right"].to_pylist() == [1] * 40

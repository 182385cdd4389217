"""Pairs of commands on one OUT, begun at random moments, some killed by `kill -9`: what stands there is always whole."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from tests.fuzz import checks, tasks
from tests.fuzz.boxes import Box, boxed, kill_after
from tests.fuzz.conftest import Campaign
from tests.fuzz.outs import build

ROUNDS = 3
"""Pairs of a seed, one after the other in the same OUT."""

COMMANDS = ("run", "decide", "prune", "export", "report", "what_if", "open")


def case(seed: int, folder: Path) -> list[str]:
    """Some rounds of two commands each; then a run, which must come to the ledger that it would have come to alone."""
    r, found = Random(f"commands {seed}"), []
    reference = build(folder)
    before = checks.fence(folder, folder / "out", folder / "logs", folder / "target")
    for number in range(ROUNDS):
        pair = (r.choice(COMMANDS), r.choice(COMMANDS))
        told = [*round_of(r, folder, pair, number), *whole(folder / "out")]
        found += [f"round {number}, {' and '.join(pair)}: {text}" for text in told]
    last = boxed(tasks.run_to_the_end, str(folder), reference, log=folder / "logs" / "last")
    found += last.value if last.how == "ok" else [f"the run at the end: {last}"]
    after = checks.fence(folder, folder / "out", folder / "logs", folder / "target")
    return found + checks.differences(before, after)


def round_of(r: Random, folder: Path, pair: tuple[str, str], number: int) -> list[str]:
    """Two commands, the second begun while the first is at work; each is killed in one case of three."""
    kills = [r.uniform(0.0, 2.5) if r.random() < 0.35 else None for _ in pair]
    pause, boxes = r.uniform(0.0, 1.5), []
    for i, command in enumerate(pair):
        boxes.append(Box(tasks.use_out, str(folder), [command], "", log=folder / "logs" / f"{number}-{i}"))
        time.sleep(pause if i == 0 else 0.0)
    for box, seconds in zip(boxes, kills, strict=True):
        if seconds is not None:
            kill_after(box, seconds)
    ends = [box.outcome() for box in boxes]
    fell = [str(end) for end in ends if end.is_fall]
    return fell + [text for end in ends if end.how == "ok" for text in end.value]


def whole(out: Path) -> list[str]:
    """What a reader would find now."""
    if not (out / "manifest.json").exists():
        return ["there was a manifest, and there is none"]
    try:
        return [*checks.visible(out), *checks.adds_up(out), *checks.subset(out)]
    except (OSError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


def test_pairs_of_commands(campaign: Campaign) -> None:
    campaign.each(case, seeds=(1,))

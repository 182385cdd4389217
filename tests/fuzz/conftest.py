"""How long is fuzzed, and with which seeds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.fuzz.known import unknown

Case = Callable[[int, Path], list[str]]
"""A seed and an empty folder -> what fell, one line each."""


class Campaign:
    """Goes through seeds: the given ones in an ordinary run, one with `--seed`, fresh ones for a time with `--long`.

    Args:
        folder: for the cases.
        only: the one seed, if there is one.
        seconds: how long to go on with fresh seeds; 0 for not at all.
        say: prints a line at once, since a campaign may take hours.
    """

    def __init__(self, folder: Path, only: int | None, seconds: float, say: Callable[[str], None]) -> None:
        self.folder, self.only, self.seconds, self.say = folder, only, seconds, say

    def each(self, case: Case, seeds: Sequence[int]) -> None:
        """Fails with everything that fell, and with the seed that repeats it."""
        falls = []
        for seed in self._seeds(seeds):
            place = self.folder / str(seed)
            place.mkdir()
            fell = [f"--seed {seed}: {text}" for text in unknown(case(seed, place))]
            for text in fell if self.seconds else ():
                self.say(text)
            falls += fell
        assert not falls, "\n".join(falls)

    def _seeds(self, seeds: Sequence[int]) -> Iterator[int]:
        if self.only is not None or not self.seconds:
            yield from seeds if self.only is None else [self.only]
            return
        end, tried = time.monotonic() + self.seconds, 0
        while time.monotonic() < end:
            yield int.from_bytes(os.urandom(4), "big")
            tried += 1
        self.say(f"{tried} seeds in {self.seconds:.0f} s")


@pytest.fixture
def campaign(request: pytest.FixtureRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Campaign:
    """The cases of one test."""
    config = request.config
    sharing = sum("campaign" in getattr(item, "fixturenames", ()) for item in request.session.items)
    seconds = (config.getoption("--long") or 0) / max(1, sharing)

    def say(text: str) -> None:
        with capfd.disabled():
            config.get_terminal_writer().line(f"\n{request.node.name}: {text}", flush=True)

    return Campaign(tmp_path, config.getoption("--seed"), seconds, say)

"""What starts many processes and tells each which one it is: one module each, registered here.

A launcher is a function of the environment to (place of this process from 0, number of processes). Whatever counts by
itself needs none: `--part I/N` takes numbers from anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from poolsieve.dataflow.parts.launchers import slurm

Launcher = Callable[[Mapping[str, str]], tuple[int, int]]

LAUNCHERS: Mapping[str, Launcher] = {"slurm": slurm.place}
"""Name, as `--part` takes it -> what reads its environment."""

"""A run on a Ray cluster: one Ray task a part, on as many GPUs as there are free, then `finish`. See docs/slurm.md.

    ray job submit --working-dir . -- python examples/ray_jobs.py recipe.py s3://bucket/OUT --parts 64

Ray starts processes and nothing more here: shards, scores and the decision are poolsieve's, as everywhere.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def poolsieve(*arguments: str) -> int:
    """A command in a process of its own, so that a part that dies takes no worker of Ray with it; its exit status."""
    command = [sys.executable, "-m", "poolsieve.jobs.cli", *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603  (what this script was given)


def main() -> int:
    """Runs all parts, once for each pass that the recipe takes, and finishes."""
    import ray

    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("out")
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--gpus", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    ray.init()
    task = ray.remote(num_gpus=given.gpus, max_retries=3)(poolsieve)
    for _ in range(given.rounds):
        run = ("run", given.recipe, "--out", given.out, "--part")
        ray.get([task.remote(*run, f"{part}/{given.parts}") for part in range(given.parts)])
        status = poolsieve("finish", given.recipe, "--out", given.out)
        if status != 3:  # 3: scores are lacking: of parts that died, or of a further pass
            return status
    return 3


if __name__ == "__main__":
    sys.exit(main())

"""What this machine's device and host can do, and how near the pipeline comes to it.

    python benchmarks/devices.py                    # everything, about 25 minutes on two cores
    python benchmarks/devices.py --quick            # smaller, about 5 minutes
    python benchmarks/devices.py --parts feed standin --runs 3

Parts, in this order:

    models    CLIP B/32, L/14, H/14, Celadon's shape and a language model alone: rates, and shares of the device's peak
    feed      the host's feed alone: real JPEGs are decoded for a device that takes no time
    pipeline  the CLIP job on tars against a bare loop and against a DataLoader loop as users write it
    shards    on a CPU, the CLIP job against the bare loop at several numbers of images a shard, on one core and on all
    standin   the job in front of a stand-in device of 0.5, 1 and 2 times the feed's rate, against the slower of both
    tiny      many shards of three rows against one shard of the same rows

All weights are random, which speed does not depend on. Ratios are of runs in turn; where the machine is busy with something
else, take more (`--runs`) and trust no single one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import device_jobs
import device_models
from device_common import FULL, QUICK, TEST, Line, machine

PARTS: Mapping[str, device_jobs.Part] = {
    "models": device_models.models,
    "feed": device_jobs.feed_alone,
    "pipeline": device_jobs.against_loops,
    "shards": device_jobs.by_shard_size,
    "standin": device_jobs.standin,
    "tiny": device_jobs.tiny_shards,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="sizes", const=QUICK, default=FULL, help="small sizes")
    size.add_argument("--test", action="store_const", dest="sizes", const=TEST, help="sizes that measure nothing")
    parser.add_argument("--runs", type=int, help="pairs of runs in turn")
    parser.add_argument("--tiny-shards", type=int, metavar="N", help="shards of three rows")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    changed = {"runs": given.runs, "tiny": given.tiny_shards}
    if any(number is not None and number < 1 for number in changed.values()):
        parser.error("--runs and --tiny-shards take a number of at least 1")
    given.sizes = replace(given.sizes, **{name: number for name, number in changed.items() if number is not None})
    return given


def main() -> None:
    """Runs the parts that were asked for, and prints all ratios at the end."""
    given = arguments()
    print(machine(), flush=True)
    lines: list[Line] = []
    for name, part in PARTS.items():
        if name in given.parts:
            print(f"\n{name}", flush=True)
            lines.extend(part(given.sizes, given.folder))
    print(f"\n{'ratio':<64} {'':>7}  {'goal':<13} note")
    for line in lines:
        print(line)
    print(machine())


if __name__ == "__main__":
    main()

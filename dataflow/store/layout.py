"""Where everything in OUT stands. No other module joins a path below OUT.

Names that were read from files of OUT (of decisions, shards, fingerprints) are refused here if they lead elsewhere:
what they name is read, written or removed.

OUT/manifest.json                     written last; names the current decision
OUT/hub.json                          which commits the Hub's revisions were when a run first read them
OUT/rows/<shard>.<identity>.parquet   once a shard
OUT/scores/<scorer>-<fingerprint>/    scorer.json, and <shard>.<identity>-<rows>.parquet
OUT/splits/<file>.<identity>.json     where the pieces of a big file begin, and how many rows are before each
OUT/artefacts/<scorer>-<id>.parquet   made from other pools before the first pass; or <scorer>-<id>.json, which lists
                                          its parts, <scorer>-<id>/<first bits of hashes>.arrow
OUT/derived/<content>.parquet         what derived values gathered of all rows, or joined of one group of shards:
                                          these files stand in a list, <content>-files.parquet
OUT/decisions/<id>/                   ledger/<shard>.parquet, shards.parquet, cuts.json, summary.json,
                                          subset.npy, report.html, report.json; published/, the ledger as a
                                          table for the Hub, where that was asked for
OUT/runs/<run>/                       what workers of one run leave for one another, for a moment
OUT/leases/                           who works here right now (see `leases.py`)
OUT/parts/<run>/                      what parts of one run leave for one another until it is finished
OUT/export/                           the kept rows
"""

from __future__ import annotations

import functools
import os

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

_OWN = ("rows", "scores", "splits", "artefacts", "derived", "decisions", "runs", "leases", "parts")
"""Folders of OUT that hold nothing of anybody else's."""

NEIGHBOURS = 512
"""Names that are remembered: those of the shards that a process works on, each of which is asked for several times."""


def below(folder: str, name: str) -> str:
    """`folder/name`, for a name that came from a file.

    Raises:
        PoolsieveError: if it is more than one component, or no name of a file.
    """
    # Nothing that poolsieve names has characters that a terminal would take for commands.
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise PoolsieveError(f"{name[:200]!r}, which a file in OUT names, is no name of a file in {folder}")
    return fs.join(folder, name)


def check_pool_url(url: str) -> None:
    """Refuses a pool's URL that a file in OUT names and that has fsspec do more than open a file where it says.

    A chain (`a::b`) or a `reference:` names a further file, which fsspec takes instructions from.

    Raises:
        PoolsieveError: for such a URL.
    """
    if "::" in url or url.partition(":")[0] == "reference":
        raise PoolsieveError(f"{url[:200]!r}, which a file in OUT names as the pool, is no URL of plain files")


def own_folders(out: str) -> list[str]:
    """URLs of OUT's own folders; not all of them need be there."""
    return [fs.join(out, name) for name in _OWN]


def manifest_url(out: str) -> str:
    """The truth of a run."""
    return fs.join(out, "manifest.json")


def pins_url(out: str) -> str:
    """Which commits the Hub's revisions are read at."""
    return fs.join(out, "hub.json")


def rows_folder(out: str) -> str:
    """Files of rows."""
    return fs.join(out, "rows")


def rows_url(out: str, shard: Shard, uid_source: str) -> str:
    """The rows of a shard; `uid_source` is the hash of how uids are read from the pool."""
    name, identity = _known_by(shard)
    return fs.join(rows_folder(out), f"{name}.{digest([identity, uid_source], 6)}.parquet")


@functools.lru_cache(maxsize=NEIGHBOURS)
def _known_by(shard: Shard) -> tuple[str, str]:
    """Name and identity: every file of a shard is called after them."""
    return shard.name, shard.identity


def splits_folder(out: str) -> str:
    """Pieces of big files."""
    return fs.join(out, "splits")


def split_name(shard: Shard, cut: str) -> str:
    """The file that says where a big file's pieces begin; `cut` says how it was cut."""
    return f"{shard.name}.{digest([shard.identity, cut], 6)}.json"


def scores_folder(out: str) -> str:
    """Folders of scorers."""
    return fs.join(out, "scores")


@functools.lru_cache(maxsize=NEIGHBOURS)
def scorer_folder(out: str, name: str, fingerprint: str) -> str:
    """The folder of one scorer's scores."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return below(scores_folder(out), f"{safe}-{fingerprint}")


def retried_url(out: str) -> str:
    """There once a run has tried failures again: the same rules may then come to another ledger."""
    return fs.join(scores_folder(out), "_retried")


def settings_url(folder: str) -> str:
    """What the scores in a scorer's folder were made with."""
    return fs.join(folder, "scorer.json")


@functools.lru_cache(maxsize=NEIGHBOURS)
def score_prefix(shard: Shard, reading: str = "") -> str:
    """What the names of a shard's score files begin with.

    Args:
        shard: of the pool.
        reading: how its part of a union reads the scorer's roles (`PoolFiles.readings`); empty for other pools.
    """
    name, identity = _known_by(shard)
    return f"{name}.{digest([identity, reading] if reading else identity, 6)}"


def artefact_url(out: str, name: str, identity: str, ending: str) -> str:
    """A file that a scorer needs and that is made from pools of its own: `parquet`, or `json` for a list of parts."""
    return fs.join(out, "artefacts", f"{name}-{identity}.{ending}")


def artefact_part_url(artefact: str, place: int) -> str:
    """A part of an artefact, as `filters/parted.py` finds it too: its name is what the artefact's own begins with."""
    return fs.join(artefact.removesuffix(".json"), f"{place:05d}.arrow")


def derived_folder(out: str) -> str:
    """What derived values gathered or joined."""
    return fs.join(out, "derived")


def derived_url(out: str, file: str) -> str:
    """A file of what a derived value gathered, as `cuts.json` names it."""
    return below(derived_folder(out), file)


def shard_of_file(name: str) -> str:
    """Name of the shard whose rows or scores a file holds: none has a dot in it."""
    return name.split(".", 1)[0]


def decisions_folder(out: str) -> str:
    """Folders of decisions."""
    return fs.join(out, "decisions")


def decision_folder(out: str, decision: str) -> str:
    """The folder of one decision."""
    return below(decisions_folder(out), decision)


def ledger_url(out: str, decision: str, shard_name: str) -> str:
    """A shard's ledger."""
    return below(ledger_folder(out, decision), f"{shard_name}.parquet")


def shards_url(out: str, decision: str) -> str:
    """One line a shard."""
    return fs.join(decision_folder(out, decision), "shards.parquet")


def cuts_url(out: str, decision: str) -> str:
    """The cuts that a decision came to."""
    return fs.join(decision_folder(out, decision), "cuts.json")


def summary_url(out: str, decision: str) -> str:
    """The sums of a decision."""
    return fs.join(decision_folder(out, decision), "summary.json")


def subset_url(out: str, decision: str) -> str:
    """The sorted uids of the kept rows, as DataComp has them."""
    return fs.join(decision_folder(out, decision), "subset.npy")


def published_folder(out: str, decision: str) -> str:
    """The ledger as files for the Hub."""
    return fs.join(decision_folder(out, decision), "published")


def ledger_name(decision: str) -> str:
    """The folder of a decision's ledger, as the manifest names it below OUT."""
    return f"decisions/{decision}/ledger"


def ledger_folder(out: str, decision: str) -> str:
    """A decision's ledger, one file a shard."""
    return fs.join(decision_folder(out, decision), "ledger")


def report_url(out: str, decision: str, ending: str) -> str:
    """The report, as `html` or `json`."""
    return fs.join(decision_folder(out, decision), f"report.{ending}")


def runs_folder(out: str) -> str:
    """What runs need for a moment; what stands here while nobody works was left by killed ones."""
    return fs.join(out, "runs")


def run_folder(out: str, run_id: str) -> str:
    """What one run needs for a moment: no other run may meet it."""
    return fs.join(runs_folder(out), run_id)


def result_url(out: str, run_id: str) -> str:
    """What a finished pipeline leaves for whoever started it."""
    return fs.join(run_folder(out, run_id), "result.json")


def items_url(out: str, run_id: str, number: int) -> str:
    """A file of the list of a run's shards, where there are too many to travel with the job."""
    return fs.join(run_folder(out, run_id), "items", f"{number:05d}.arrow")


def uids_url(out: str, run_id: str, name: str) -> str:
    """A part of `subset.npy`, until it is merged; its name is that of the first shard in it."""
    return fs.join(run_folder(out, run_id), "uids", f"{name}.npy")


def at_hand_url(out: str, run_id: str, left_by: str, name: str) -> str:
    """A copy of what one pass knew of neighbouring shards, for later steps; its name is that of the first of them."""
    return fs.join(run_folder(out, run_id), "at-hand", left_by, f"{name}.arrow")


def reports_folder(out: str, run_id: str) -> str:
    """How far worker processes are."""
    return fs.join(run_folder(out, run_id), "progress")


def leases_folder(out: str) -> str:
    """Who works in OUT right now."""
    return fs.join(out, "leases")


def artefact_leases(out: str, file: str) -> str:
    """Who makes an artefact right now; `file` is its own name."""
    return below(leases_folder(out), f"artefact-{file}")


def parts_folder(out: str) -> str:
    """What parts of runs leave for one another."""
    return fs.join(out, "parts")


def part_folder(out: str, mark: str) -> str:
    """What the parts of one run, over one listing with one recipe, leave."""
    return below(parts_folder(out), mark)


def lacking_url(out: str, mark: str) -> str:
    """Which scores the run was lacking when somebody tried to finish it, and the cuts that it had come to."""
    return fs.join(part_folder(out, mark), "lacking.json")


def part_recipe_url(out: str, mark: str) -> str:
    """The recipe of the parts."""
    return fs.join(part_folder(out, mark), "recipe.json")


def part_note_url(out: str, mark: str, name: str) -> str:
    """How far one part has come."""
    return below(part_folder(out, mark), name)


def check_export_folder(out: str, target: str) -> None:
    """Refuses an export into the folders of OUT whose files are its own: `prune` would remove it from some of them.

    Raises:
        PlanError: naming the folder.
    """
    system, own = fs.connect(out)
    there, wanted = fs.connect(target)
    if type(system) is not type(there):
        return
    own, wanted = ((os.path.realpath(one) if fs.is_local(system) else one).rstrip("/") for one in (own, wanted))
    first = wanted.removeprefix(f"{own}/").partition("/")[0]
    if wanted == own or (wanted.startswith(f"{own}/") and first in _OWN):
        raise PlanError(f"{target} is where OUT keeps its own files: choose {export_folder(out)} or a folder elsewhere")


def export_folder(out: str) -> str:
    """Where an export goes if nothing else is said."""
    return fs.join(out, "export")

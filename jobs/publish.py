"""`poolsieve.publish("OUT", "org/name")`: what a run kept becomes a dataset on the Hugging Face Hub."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace as replaced

from poolsieve.dataflow import progress as counters
from poolsieve.dataflow.publish.contents import Item, Subject
from poolsieve.dataflow.publish.publish import Describe, Publication, Wishes
from poolsieve.dataflow.publish.publish import publish as publish_export
from poolsieve.dataflow.publish.record import CARD
from poolsieve.dataflow.publish.remote import Changes
from poolsieve.dataflow.publish.repository import MAIN
from poolsieve.dataflow.publish.upload import SENT
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.jobs.api import Say, warn
from poolsieve.jobs.card.card import card_text
from poolsieve.jobs.card.croissant import croissant
from poolsieve.jobs.card.pictures import captions, pictures

CROISSANT = "croissant.json"


def publish(
    out: str | os.PathLike[str],
    repo: str,
    *,
    license: str | None = None,
    private: bool = False,
    revision: str = MAIN,
    pr: bool = False,
    dry_run: bool = False,
    replace: bool = False,
    also: Sequence[str] = (),
    format: str | None = None,
    scores: bool = False,
    to: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    progress: bool = False,
    say: Say = warn,
) -> Publication:
    """Publishes what a run's current decision kept, in one step: readers see all of it or nothing.

    It exports first if that has not been done. What the Hub has already is not sent: files of an earlier version, and
    files of a pool on the Hub that left whole. Stopped or killed, the same call goes on from where it was; a second one
    makes no commit. A card that people have edited keeps what they wrote.

    Args:
        out: OUT of a whole run.
        repo: the dataset, as `org/name`; made if it is not there.
        license: as the Hub spells it; if not given, what the card says that is there, or the pool's own on the Hub.
        private: make the repository a private one; one that is there must be.
        revision: the branch, made of main if it is not there; or `refs/pr/N`, a pull request that is there.
        pr: leave it in a pull request.
        dry_run: export, say what would be done, and send nothing.
        replace: remove what other people put into the repository.
        also: `scores` (the whole ledger as a second configuration), `subset` (`subset.npy`), `manifest`.
        format: of the export, if one has to be made; see `poolsieve.export`.
        scores: add every score as a column, if an export has to be made.
        to: folder of the export; `OUT/export` if not given.
        workers: files at a time, if an export has to be made.
        token: for the Hub; if not given, the one that is logged in, or `HF_TOKEN`.
        endpoint: the Hub's URL; if not given, `HF_ENDPOINT`.
        progress: show progress on stderr.
        say: is told what should be known; Python's `warnings` if not given.

    Returns:
        The commit, and what was sent and saved.

    Raises:
        PlanError: for anything that can't work, before anything is sent.
        PoolsieveError: whatever stopped it.
    """
    wishes = Wishes(
        repo=repo,
        license=license,
        private=private,
        revision=revision,
        pull=pr,
        dry_run=dry_run,
        replace=replace,
        extras=(also,) if isinstance(also, str) else tuple(also),
        format=format,
        scores=scores,
        folder=to,
        token=token,
        endpoint=endpoint,
    )
    engine = Engine("local", 1 if workers is None else workers)
    with contextlib.ExitStack() as stack:
        began = stack.enter_context(_shown()) if progress else None
        return publish_export(os.fspath(out), wishes, _describer(), engine=engine, say=say, began=began)


def _describer() -> Describe:
    """Makes pictures, Croissant and the card, which comes last; pictures once, however often the Hub is looked at."""
    drawn = functools.cache(pictures)
    return lambda subject, card: _described(subject, card, drawn(subject.run))


def _described(subject: Subject, card: str | None, drawn: Mapping[str, bytes]) -> Sequence[Item]:
    subject = replaced(subject, pictures=captions(subject.run))
    made = [Item.of(path, data) for path, data in drawn.items()]
    made.append(Item.of(CROISSANT, croissant(subject)))
    return [*made, Item.of(CARD, card_text(subject, card).encode())]


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Changes], None]]:
    """A bar of bytes, once it is known how many there are; it takes its counts from this process' progress."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("publish"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar, over, before = (
        Progress(*columns, console=Console(stderr=True)),
        threading.Event(),
        counters.counts().get(SENT, 0),
    )
    task = bar.add_task("publish", total=None, visible=False)

    def follow() -> None:
        while not over.wait(0.2):
            bar.update(task, completed=counters.counts().get(SENT, 0) - before)

    def began(made: Changes) -> None:
        bar.update(task, total=sum(item.size for item in made.add), visible=bool(made.add))

    watcher = threading.Thread(target=follow, daemon=True, name="poolsieve-publish")
    with bar:
        watcher.start()
        try:
            yield began
        finally:
            over.set()
            watcher.join()

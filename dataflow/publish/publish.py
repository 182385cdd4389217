"""`publish`: an export becomes a dataset on the Hub, in one step that readers see all of or nothing of.

    check | export | compare with the Hub | send contents | one commit | look at what is there

What the Hub has is not sent: files of an earlier version, whatever they are called now, and files of the pool that left
whole, if the pool is on the Hub itself.
"""

from __future__ import annotations

import datetime
import os
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import ExportIndex, read_index
from poolsieve.dataflow.export.target import LEASES
from poolsieve.dataflow.publish.collect import check_export, check_limits, files_of, parents, tables_of, with_copies
from poolsieve.dataflow.publish.contents import Item, Parent, Subject, Table
from poolsieve.dataflow.publish.ledger_files import ledger_table
from poolsieve.dataflow.publish.pulls import PullRequest
from poolsieve.dataflow.publish.record import CARD, RECORD, PublishedFile, Record
from poolsieve.dataflow.publish.remote import Changes, Remote, changes
from poolsieve.dataflow.publish.repository import LICENSE, MAIN, Repository, There, license_in
from poolsieve.dataflow.publish.send import Look, Message, Sending, refuse_strangers
from poolsieve.dataflow.publish.upload import check_sources
from poolsieve.dataflow.publish.verify import verify
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

SCORES, SUBSET, MANIFEST = "scores", "subset", "manifest"
EXTRAS = (SCORES, SUBSET, MANIFEST)
"""What is published beside the rows if it is asked for."""

_BRANCH = re.compile(r"(?![-/.])(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)|[/.]$))[^\x00-\x20\x7f~^:?*\[\\#%]{1,200}")
"""What git takes for a branch's name (`git check-ref-format`), without what URLs mean otherwise."""

_PULL, _COMMIT = re.compile(r"refs/pr/[1-9]\d{0,9}"), re.compile(r"[0-9a-f]{40}")

_TOKEN = frozenset(string.ascii_letters + string.digits + string.punctuation)

Describe = Callable[[Subject, str | None], Sequence[Item]]
"""Card, pictures and Croissant of a subject, given the card that is there; the card comes last."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user asked for; see `poolsieve.publish`."""

    repo: str
    license: str | None = None
    private: bool = False
    revision: str = MAIN
    pull: bool = False
    dry_run: bool = False
    replace: bool = False
    extras: tuple[str, ...] = ()
    format: str | None = None
    scores: bool = False
    folder: str | os.PathLike[str] | None = None
    token: str | None = field(default=None, repr=False)
    endpoint: str | None = None

    def __post_init__(self) -> None:
        for name in self.extras:
            if name not in EXTRAS:
                raise unknown_name(f"--with {name}: there is no such part", name, EXTRAS)
        if len(set(self.extras)) < len(self.extras):
            raise PlanError(f"--with names a part twice: {', '.join(self.extras)}")
        if self.license is not None and not LICENSE.fullmatch(self.license):
            raise PlanError(
                f"--license {self.license!r}: give the Hub's word for it, as cc-by-4.0, apache-2.0, other or unknown"
            )
        if self.pull and self.revision != MAIN:
            raise PlanError("--pr asks to merge into main, so that --revision can't be given with it")
        if not _may_move(self.revision):
            raise PlanError(f"--revision {self.revision[:100]!r}: give a branch's name, or refs/pr/N of a pull request")
        if self.token is not None and not (self.token and set(self.token) <= _TOKEN):
            raise PlanError("token= has characters that no token has, or none at all: give it as the Hub shows it")


def _may_move(revision: str) -> bool:
    """Whether it can be something that commits are made on: a branch or a pull request, no commit."""
    if revision.startswith("refs/"):
        return _PULL.fullmatch(revision) is not None
    return _BRANCH.fullmatch(revision) is not None and _COMMIT.fullmatch(revision) is None


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What was published, or would be.

    Attributes:
        repo, url: the dataset's name and page.
        revision: the branch.
        commit: that holds it; empty where nothing was sent.
        rows: of the export.
        files: of ours in the repository.
        changes: what was, or would be, changed there.
        commits: that were made; 0 where everything was there.
        sent: bytes that went over the line; by Xet, those of the files that were offered.
        saved: bytes of files that were there, or that the Hub copied.
        pull: the page of the pull request that it went through, or waits in.
        dry: whether nothing was sent.
    """

    repo: str
    url: str
    revision: str
    commit: str
    rows: int
    files: int
    changes: Changes
    commits: int = 0
    sent: int = 0
    saved: int = 0
    pull: PullRequest | None = None
    dry: bool = False


def publish(
    out: str,
    wishes: Wishes,
    describe: Describe,
    *,
    engine: Engine = Engine(),
    say: Callable[[str], None],
    began: Callable[[Changes], None] | None = None,
) -> Publication:
    """Publishes what a run's current decision kept.

    Args:
        out: the folder of a whole run.
        wishes: where to, and how.
        describe: makes card and Croissant.
        engine: for the export, if there is none yet.
        say: is told what should be known: what is waited for, what could not be copied.
        began: is told what will be sent, right before it is.

    Raises:
        PlanError: for anything that can't work, before anything is sent.
        InUse: while an export writes to the folder, or `prune` removes something from OUT.
        PoolsieveError: whatever stopped it.
    """
    run = OutFolder(out)
    work = layout.leases_folder(run.url)
    with leases.held(work, leases.WORK, "poolsieve publish", patience=leases.PRUNE_SECONDS, read_only=True):
        made = _Publishing(run, wishes, describe, say)
        made.check()
        index = made.exported(engine)
        with leases.held(fs.join(made.folder, LEASES), leases.WORK, "poolsieve publish", read_only=True):
            return made.send(made.collected(index), began)


@dataclass(frozen=True, kw_only=True)
class _Collected:
    """What is published, but for what depends on the card that is there."""

    index: ExportIndex
    items: tuple[Item, ...]
    tables: tuple[Table, ...]
    others: tuple[Item, ...]
    parents: tuple[Parent, ...]


@dataclass
class _Publishing:
    run: OutFolder
    wishes: Wishes
    describe: Describe
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        given = self.wishes.folder
        self.folder = layout.export_folder(self.run.url) if given is None else fs.absolute(given)
        self.repository = Repository(
            name=self.wishes.repo,
            revision=self.wishes.revision,
            endpoint=self.wishes.endpoint,
            token=self.wishes.token,
            say=self.say,
        )
        self.today = datetime.datetime.now(datetime.UTC).date()
        self.license = ""
        self.there: There | None = None

    def check(self) -> None:
        """What can be refused before any work: name, token, right, other people's files, no license."""
        wishes, repository = self.wishes, self.repository
        repository.check_name()
        repository.check_endpoint()
        repository.check_writer()
        self.there = repository.there()
        self._check_there(self.there)
        origin = self._origin()
        there = Remote(head="") if origin is None else origin.look()
        if not wishes.revision.startswith("refs/"):
            refuse_strangers(repository, there, (), clear=wishes.replace)
        self.parents = parents(self.run, repository)
        self.license = self._license(there)
        if SUBSET in wishes.extras and not self.run.has_subset():
            raise PlanError(
                "--with subset: the pool's uids are no 128-bit hexadecimal numbers, so there is no subset.npy"
            )

    def _check_there(self, there: There | None) -> None:
        wishes = self.wishes
        if wishes.revision.startswith("refs/") and (there is None or not there.has_branch):
            raise PlanError(f"--revision {wishes.revision}: {wishes.repo} has no such pull request")
        if wishes.private and there is not None and not there.private:
            raise PlanError(
                f"--private: {wishes.repo} is there and public, and stays so: make it private in its settings first, "
                "or publish without --private"
            )

    def _origin(self) -> Repository | None:
        """Where a new version begins: the branch, or main, which a new branch is made of; None where nothing is."""
        if self.there is None or self.there.has_branch:
            return None if self.there is None else self.repository
        return replace(self.repository, revision=MAIN)

    def _license(self, there: Remote) -> str:
        own = license_in(there.card) if there.card is not None else None
        if self.wishes.license is not None:
            if self.wishes.license != own:
                self.repository.check_license(self.wishes.license)
            return self.wishes.license
        inherited = {parent.license for parent in self.parents}
        found = own or (inherited.pop() if len(inherited) == 1 else None)
        if found is None:
            raise PlanError(
                f"no license is known for {self.wishes.repo}: name it with --license, as --license cc-by-4.0; "
                "`unknown` and `other` are words of the Hub too"
            )
        return found

    def exported(self, engine: Engine) -> ExportIndex:
        """The export; made if there is none, and made anew if it is an older decision's."""
        wishes, index = self.wishes, read_index(self.folder)
        if index is not None and index.decision == self.run.decision:
            self._as_asked(index)
            return check_export(index, self.run, self.folder)
        if index is not None and (index.columns or index.select or index.uids):
            return check_export(index, self.run, self.folder)
        older = {} if index is None else {"target_bytes": index.target_bytes, "scores": index.scores}
        own = self.run.manifest.pool.kind
        before = "same" if index is None or index.format == own else index.format
        if index is not None:
            self.say(f"{self.folder} holds an export of decision {index.decision}: it is made anew")
        how = {**older, "format": wishes.format or before, **({"scores": True} if wishes.scores else {})}
        made = export(self.run.url, target=self.folder, replace=index is not None, engine=engine, say=self.say, **how)  # type: ignore[arg-type]
        return check_export(made, self.run, self.folder)

    def _as_asked(self, index: ExportIndex) -> None:
        asked = self.wishes.format
        own = self.run.manifest.pool.kind if asked == "same" else asked
        if (own is not None and index.format != own) or (self.wishes.scores and not index.scores):
            raise PlanError(
                f"{self.folder} holds an export as {index.format}, with other settings than asked for: export again "
                "with --replace, or name another folder with --to"
            )

    def collected(self, index: ExportIndex) -> _Collected:
        """The files, compared with what the export wrote."""
        items = with_copies(self.run, index, files_of(index, self.folder), self.repository)
        check_sources(items)
        tables, others = tables_of(index, items), list(items[len(index.files) :])
        if SCORES in self.wishes.extras:
            folder = layout.published_folder(self.run.url, self.run.decision)
            tables.append(ledger_table(self.run, folder))
            items += tables[-1].items
        for name in self._also():
            others.append(Item.of(name.rpartition("/")[2], fs.read_bytes(name)))
            items.append(others[-1])
        check_limits(items)
        return _Collected(
            index=index, items=tuple(items), tables=tuple(tables), others=tuple(others), parents=self.parents
        )

    def _also(self) -> list[str]:
        run = self.run
        there = {SUBSET: layout.subset_url(run.url, run.decision), MANIFEST: layout.manifest_url(run.url)}
        return [url for name, url in there.items() if name in self.wishes.extras]

    def send(self, found: _Collected, began: Callable[[Changes], None] | None) -> Publication:
        """Compares with the Hub, sends, and looks at what is there."""
        message = _message(found)
        sending = Sending(
            repository=self.repository,
            wanted=lambda remote: self.wanted(found, remote),
            message=message,
            clear=self.wishes.replace,
            pull=self.wishes.pull,
        )
        if self.wishes.dry_run:
            origin = self._origin()
            first = self._nothing_there(found) if origin is None else sending.look(origin)
            return self._published(found, sending, first, "")
        self.repository.create(self.there, private=self.wishes.private)
        first = sending.look()
        if began is not None:
            began(first.made)
        commit = sending(first)
        if commit != first.remote.head:
            verify(self.repository, sending.items, first.made.same, commit)
        return self._published(found, sending, first, commit)

    def _nothing_there(self, found: _Collected) -> Look:
        remote = Remote(head="")
        items = self.wanted(found, remote)
        return Look(remote=remote, items=items, made=changes(self.repository.name, remote, items))

    def _published(self, found: _Collected, sending: Sending, first: Look, commit: str) -> Publication:
        # Once more, since copies from other repositories may have been given up.
        made = changes(self.repository.name, first.remote, first.items, copies=sending.copies)
        return Publication(
            repo=self.repository.name,
            url=self.repository.url,
            revision=self.repository.revision,
            commit=commit,
            rows=found.index.rows,
            files=len(first.items),
            changes=made,
            commits=sending.commits,
            sent=sending.sent,
            saved=sum(item.size for item in (*(item for item, _ in made.copy), *made.same)),
            pull=sending.request,
            dry=self.wishes.dry_run,
        )

    def wanted(self, found: _Collected, remote: Remote) -> list[Item]:
        """Everything that the repository should hold, the record last."""
        subject = self._subject(found, remote.record)
        items = [*found.items, *self.describe(subject, remote.card)]
        record = Record(
            decision=self.run.decision,
            export=found.index.export,
            pool=self.run.manifest.pool.id,
            published=subject.published,
            started=subject.started,
            ended=subject.ended,
            files=tuple(_on_record(item) for item in items if item.path != CARD),
        )
        return [*items, Item.of(RECORD, record.to_bytes())]

    def _first_published(self, found: _Collected, record: Record | None) -> datetime.date:
        known = {(file.path, file.sha256) for file in (record.files if record else ())}
        same = all((item.path, item.sha256) in known for item in found.items)
        return record.published if record is not None and same else self.today

    def _subject(self, found: _Collected, record: Record | None) -> Subject:
        started, ended = self._times(record)
        return Subject(
            repo=self.repository.name,
            url=self.repository.url,
            license=self.license,
            run=self.run,
            index=found.index,
            tables=found.tables,
            others=found.others,
            revision=self.repository.revision,
            parents=found.parents,
            started=started,
            ended=ended,
            published=self._first_published(found, record),
        )

    def _times(self, record: Record | None) -> tuple[datetime.datetime | None, datetime.datetime | None]:
        """When the run began and ended: by the decision's own file, and what it measured; as published before."""
        if record is not None and record.decision == self.run.decision:
            return record.started, record.ended
        try:
            ended = fs.modified(layout.summary_url(self.run.url, self.run.decision)).replace(microsecond=0)
        except (OSError, NotImplementedError):
            return None, None
        ended = ended.astimezone(datetime.UTC)
        seconds = self.run.summary.wall_seconds
        return (None if seconds is None else ended - datetime.timedelta(seconds=round(seconds))), ended


def _on_record(item: Item) -> PublishedFile:
    return PublishedFile(path=item.path, bytes=item.size, sha256=item.sha256, rows=item.rows)


def _message(found: _Collected) -> Message:
    """Titles tell what is published apart, so that a killed command finds its own pull request again."""
    index = found.index
    contents = digest(sorted((item.path, item.sha256) for item in found.items), 4)
    title = f"{index.rows:,} rows that poolsieve kept (decision {index.decision}, files {contents})"
    return Message(title=title, description=f"decision {index.decision}, export {index.export}, by poolsieve")

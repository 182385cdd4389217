"""Brings a repository to what it should hold: look, compare, send, commit; and look again after whatever went wrong.

A commit whose answer was lost may have been made, another writer may have been quicker, and a killed command begins
anew. All of them are the same case here: nothing is repeated without a look at what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from poolsieve.dataflow.publish.contents import Item
from poolsieve.dataflow.publish.patience import attempts, passes
from poolsieve.dataflow.publish.pulls import PullRequest, begun, merge, show
from poolsieve.dataflow.publish.remote import Changes, Remote, changes
from poolsieve.dataflow.publish.repository import MAIN, Repository
from poolsieve.dataflow.publish.upload import Uploads
from poolsieve.dataflow.publish.verify import NotAsMeant
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

COMMIT_FILES = 100
"""Most operations of one commit: the Hub advises 50 to 100 (its "Storage limits"), since a commit has a minute."""

Wanted = Callable[[Remote], Sequence[Item]]
"""What a repository should hold, given what it holds: the card keeps what people wrote into it."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """Of the commit, and of the pull request where there is one."""

    title: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a repository holds, what it should hold, and the difference."""

    remote: Remote
    items: Sequence[Item]
    made: Changes


@dataclass
class Sending:
    """One publication on its way.

    Attributes:
        repository: where to.
        wanted: what it should hold.
        message: of commits.
        clear: whether what other people put there may go.
        pull: whether it waits in a pull request.
        copies: whether files of other repositories are copied; given up where the Hub does not.
        commits: that were made.
        sent: bytes that went over the line; where the Hub has Xet, bytes of the files that were offered.
        request: the pull request that it went through, or waits in.
        items: what the repository should hold, by the last look at it.
    """

    repository: Repository
    wanted: Wanted
    message: Message
    clear: bool = False
    pull: bool = False
    copies: bool = True
    commits: int = 0
    sent: int = 0
    request: PullRequest | None = None
    items: Sequence[Item] = ()

    def __call__(self, first: Look) -> str:
        """Sends what is missing; the commit that holds everything.

        Args:
            first: what a look has found already.

        Raises:
            PlanError: if what is there is not ours.
            PoolsieveError: if the Hub goes on failing.
        """
        if not first.made:
            return first.remote.head
        if self.pull or len(first.made) > COMMIT_FILES:
            return self._by_pull_request()
        return self._bring(self.repository, known=first)

    def look(self, repository: Repository | None = None) -> Look:
        """Looks at the repository, and refuses what other people put there.

        Raises:
            PlanError: for files that are not ours.
        """
        repository = repository or self.repository
        remote = repository.look()
        self.items = items = self.wanted(remote)
        refuse_strangers(repository, remote, items, clear=self.clear)
        made = changes(repository.name, remote, items, copies=self.copies)
        return Look(remote=remote, items=items, made=made)

    def _bring(self, repository: Repository, most: int | None = None, known: Look | None = None) -> str:
        """Commits parts of so many operations until nothing is left to do; all at once if `most` is None.

        `known` is a look that was just made: if it has become old, the Hub refuses a commit on top of it.
        """
        uploads = Uploads(repository, repository.has_xet())
        while True:
            try:
                commit, is_last = self._step(repository, uploads, most, known)
            except _NotCopied as error:
                repository.say(f"{error}: its bytes are sent")
                self.copies, is_last = False, False
            known = None
            self.sent = uploads.sent
            if is_last:
                return commit

    def _step(self, repository: Repository, uploads: Uploads, most: int | None, known: Look | None) -> tuple[str, bool]:
        """A look, and a commit of what is missing: the commit, and whether that was all."""
        with repository.told("commit"):
            for attempt in attempts(repository.say):
                with attempt:
                    found, known = known or self.look(repository), None
                    part = found.made if most is None else first_of(found.made, most)
                    commit = self._commit(repository, part, uploads, found.remote.head) if part else found.remote.head
        return commit, len(part) == len(found.made)

    def _commit(self, repository: Repository, part: Changes, uploads: Uploads, head: str) -> str:
        additions = uploads.additions(part.add)
        try:
            commit = repository.commit(part, additions, head, self.message.title, self.message.description)
        except Exception as error:
            far = [item.path for item, source in part.copy if source.repo != repository.name]
            if passes(error) or not far:
                raise
            raise _NotCopied(f"the Hub does not copy {far[0]} from another repository") from error
        self.commits += commit != head
        return commit

    def _by_pull_request(self) -> str:
        """Parts on a pull request, which readers see none of; merged when all of them are there."""
        if self.repository.revision != MAIN:
            raise PlanError(
                f"there is more to change than one commit on a branch takes ({COMMIT_FILES} files): export again "
                "with a larger --target-mb, or publish without --revision"
            )
        self.request = begun(self.repository, self.message.title, self.message.description)
        commit = self._bring(replace(self.repository, revision=self.request.revision), COMMIT_FILES)
        show(self.repository, self.request)
        return commit if self.pull else self._merged(self.request)

    def _merged(self, request: PullRequest) -> str:
        merge(self.repository, request)
        found = self.look()
        if found.made:
            raise NotAsMeant(
                f"{self.repository.name} was changed while {request.url} was merged: publish again, and look at it"
            )
        return found.remote.head


class _NotCopied(PoolsieveError):
    """The Hub does not copy a file from another repository: they may be in different regions."""


def first_of(made: Changes, most: int) -> Changes:
    """The first `most` operations: copies before their sources may go, and what goes last."""
    copy = made.copy[:most]
    add = made.add[: most - len(copy)]
    return Changes(add=add, copy=copy, delete=made.delete[: most - len(copy) - len(add)], same=())


def refuse_strangers(repository: Repository, remote: Remote, items: Sequence[Item], *, clear: bool) -> None:
    """Whether what a repository holds may be replaced.

    Raises:
        PlanError: if it has files that poolsieve did not put there, unless they may go.
    """
    if clear:
        return
    if remote.damage is not None:
        raise PlanError(f"{repository.url}: {remote.damage}. With --replace all that is there is replaced")
    strange = remote.strangers(items)
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise PlanError(
            f"{repository.url} has files that poolsieve did not put there, or that were changed since "
            f"({', '.join(map(repr, strange[:3]))}{more}): publish to another repository, or have everything there "
            "replaced with --replace"
        )

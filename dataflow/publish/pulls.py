"""Pull requests: where more is published than one commit takes, or where somebody wants to look at it first."""

from __future__ import annotations

from dataclasses import dataclass

from poolsieve.dataflow.publish.patience import attempts
from poolsieve.dataflow.publish.repository import Repository

OPEN = ("open", "draft")


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """One that is not closed: its number, its page."""

    number: int
    url: str

    @property
    def revision(self) -> str:
        """The branch that its commits are made on."""
        return f"refs/pr/{self.number}"


def begun(repository: Repository, title: str, description: str) -> PullRequest:
    """The pull request of that title, the newest that is open; a new one where there is none.

    The Hub makes another one each time it is asked, so it is looked for before each attempt.
    """
    api, name = repository.api, repository.name
    with repository.told("open a pull request"):
        for attempt in attempts(repository.say):
            with attempt:
                number = _found(repository, title)
                if number is None:
                    made = api.create_pull_request(name, title, description=description, repo_type="dataset")
                    number = int(made.num)
    assert number is not None
    return PullRequest(number=number, url=f"{repository.url}/discussions/{number}")


def _found(repository: Repository, title: str) -> int | None:
    found = repository.api.get_repo_discussions(repository.name, discussion_type="pull_request", repo_type="dataset")
    return max((one.num for one in found if one.title == title and one.status in OPEN), default=None)


def show(repository: Repository, pull: PullRequest) -> None:
    """Takes it out of draft, as which the Hub makes it."""
    with repository.told("show the pull request"):
        for attempt in attempts(repository.say):
            with attempt:
                found = repository.api.get_discussion_details(repository.name, pull.number, repo_type="dataset")
                if found.status == "draft":
                    repository.api.change_discussion_status(repository.name, pull.number, "open", repo_type="dataset")


def merge(repository: Repository, pull: PullRequest) -> None:
    """Merges it, if that has not been done."""
    with repository.told("merge the pull request"):
        for attempt in attempts(repository.say):
            with attempt:
                found = repository.api.get_discussion_details(repository.name, pull.number, repo_type="dataset")
                if found.status != "merged":
                    repository.api.merge_pull_request(repository.name, pull.number, repo_type="dataset")

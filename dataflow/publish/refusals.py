"""What the Hub's errors mean for whoever publishes: what is wrong, of which repository, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from poolsieve.dataflow.publish.patience import passes, status
from poolsieve.dataflow.storage_errors import StorageAway, chain, is_away, kinds_of
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

LOGIN = "run `hf auth login`, or set HF_TOKEN to a token that may write"

_TEXT = 200
"""Characters of the Hub's own words that a message repeats."""


def in_words(error: BaseException, repo: str, endpoint: str, what: str) -> PoolsieveError | None:
    """An error of the client as the user should read it; None for what is none of the Hub's.

    Args:
        error: that a call to the Hub raised.
        repo: the dataset's name.
        endpoint: the Hub's URL.
        what: that was tried, as "commit".
    """
    if isinstance(error, PoolsieveError):
        return error
    said = _said(error)
    found = next((text for hit, text in _refused(error, repo, endpoint, said) if hit), None)
    if found is not None:
        return PlanError(found)
    if is_away(error) or passes(error):
        return StorageAway(
            f"the Hub at {endpoint} can't be reached, or goes on failing ({said}), at: {what}. Run the same command "
            "again: what has arrived is not sent twice"
        )
    code = status(error)
    if code is not None:
        return PoolsieveError(f"the Hub at {endpoint} answers {code} to {what} of {repo} ({said})")
    return None


def _said(error: BaseException) -> str:
    """The Hub's own words, if it said any; a terminal's commands among them are dropped."""
    words = next(filter(None, (getattr(one, "server_message", None) for one in chain(error))), None)
    text = " ".join(str(words or list(chain(error))[-1]).split())
    return "".join(char for char in text if char.isprintable())[:_TEXT]


def _refused(error: BaseException, repo: str, endpoint: str, said: str) -> Iterator[tuple[bool, str]]:
    kinds = kinds_of(error)
    code = status(error)
    yield "OfflineModeIsEnabled" in kinds, "HF_HUB_OFFLINE is set, so that nothing can be published: unset it"
    yield "LocalTokenNotFoundError" in kinds, f"there is no token for the Hub at {endpoint}: {LOGIN}"
    yield "GatedRepoError" in kinds, f"{repo} is gated for your token: ask for access at {endpoint}/datasets/{repo}"
    yield (
        "RevisionNotFoundError" in kinds,
        f"{repo} has no such revision ({said})",
    )
    yield (
        "RepositoryNotFoundError" in kinds,
        f"{repo} is not on the Hub at {endpoint}, or your token may not see it: check its name, and {LOGIN}",
    )
    yield code == 401, f"the Hub at {endpoint} does not take your token ({said}): {LOGIN}"
    yield (
        code == 403,
        f"your token may not write to {repo} ({said}): ask for the right, name another repository, or {LOGIN}",
    )
    yield code == 402, f"the Hub refuses {repo} for its quota ({said})"
    yield "Invalid metadata in README" in str(error), f"the Hub does not take the card's front matter: {said}"
    yield code == 400, f"the Hub at {endpoint} refuses what was sent for {repo}: {said}"

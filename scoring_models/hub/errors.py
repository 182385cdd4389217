"""What to say when a model can't be had from the hub: what is wrong, of which model, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError

_TEXT = 200
"""Characters of the client's own words that a message repeats."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCKED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)

_NETWORK = frozenset({"TransportError", "ConnectionError", "TimeoutException", "Timeout", "TimeoutError"})
"""Names of classes, or of one that they derive from, in httpx and requests, which older clients use."""

LOCAL = "give the path of a local folder that holds the model"


def not_cached(repository: str, revision: str, name: str) -> PlanError:
    """What to say offline of a model that is not in the cache."""
    return PlanError(
        f"hf-hub:{repository} is not in the cache {_cache()} ({name}, revision {revision}), and HF_HUB_OFFLINE is set: "
        f"run once without it to fill the cache, or {LOCAL}"
    )


def may_pass(error: BaseException) -> bool:
    """Whether the hub may answer if it is asked again: it was away, busy or broken."""
    status = _status(error)
    return status in (408, 429) or status >= 500 if status else _is_network(error)


def explained(error: BaseException, repository: str, revision: str, name: str) -> PlanError:
    """An error of the client, as the user should read it."""
    found = list(_chain(error))
    text = next((text for hit, text in _words(found, repository, revision, name) if hit), "")
    said = " ".join(str(found[-1]).split())[:_TEXT]
    return PlanError(text or f"can't fetch {name} of hf-hub:{repository}: {type(found[-1]).__name__}: {said}")


def _words(found: list[BaseException], repository: str, revision: str, name: str) -> Iterator[tuple[bool, str]]:
    kinds = set().union(*map(_names, found))
    status = next(filter(None, map(_status, found)), 0)
    said, wanted = " ".join(str(found[-1]).split())[:_TEXT], f"{name} of hf-hub:{repository}"
    yield from _refused(kinds, status, repository, revision)
    yield from _disk(found, wanted, said)
    yield (
        status >= 400,
        f"the hub at {_endpoint()} answers {status} when asked for {wanted} ({said}): try again later, or {LOCAL}",
    )
    yield (
        any(_is_network(one) for one in found),
        f"the hub at {_endpoint()} can't be reached for {wanted} ({said}), and it is not in the cache "
        f"{_cache()}: check the network, proxies and HF_ENDPOINT, or {LOCAL}",
    )
    yield (
        "Consistency check" in said or "RecursionError" in kinds,
        f"{wanted} arrived with another size than the hub names: the connection was cut, or "
        "something between changes the file. Nothing of it was kept; run again",
    )


def _refused(kinds: set[str], status: int, repository: str, revision: str) -> Iterator[tuple[bool, str]]:
    login = "`hf auth login` (or set HF_TOKEN)"
    yield (
        "GatedRepoError" in kinds,
        f"hf-hub:{repository} is gated: ask for access at {_endpoint()}/{repository}, then run {login}",
    )
    yield "RevisionNotFoundError" in kinds, f"hf-hub:{repository} has no revision {revision!r}"
    yield (
        status == 401 or "RepositoryNotFoundError" in kinds,
        f"hf-hub:{repository} is not on the hub at {_endpoint()}, or it is private: check its name; for a private one "
        f"run {login}",
    )
    yield (
        status == 403,
        f"the hub at {_endpoint()} does not let you read hf-hub:{repository} (403): run {login} with a token that may",
    )


def _disk(found: list[BaseException], wanted: str, said: str) -> Iterator[tuple[bool, str]]:
    numbers = {getattr(one, "errno", None) for one in found}
    yield (
        bool(numbers & set(_FULL)),
        f"no space left in the cache {_cache()} for {wanted} ({said}): make room, or set HF_HOME to "
        "a folder on a larger disk",
    )
    yield (
        bool(numbers & set(_LOCKED)),
        f"the cache {_cache()} can't be written for {wanted} ({said}): set HF_HOME to a folder where you may write",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes. The client sets `__cause__` wherever it says something simpler."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        found = found.__cause__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _is_network(error: BaseException) -> bool:
    return bool(_names(error) & _NETWORK)


def _status(error: BaseException) -> int:
    """The HTTP status of an answer; 0 where there was none."""
    answer: Any = getattr(error, "response", None)
    return int(getattr(answer, "status_code", 0) or 0)


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)

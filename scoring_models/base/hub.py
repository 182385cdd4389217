"""Files of Hugging Face Hub repositories, through the client's own cache."""

from __future__ import annotations

from pathlib import Path

from poolsieve.scoring_models.base.errors import PlanError


def fetch(repository: str, revision: str | None, name: str) -> Path | None:
    """A file of a repository in the local cache; None if the repository has no such file.

    Raises:
        PlanError: if it can't be had: no such repository, no access, no network.
    """
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:
        if try_to_load_from_cache(repository, name, revision=revision) is _CACHED_NO_EXIST:
            return None  # offline, but an earlier visit found that the repository has no such file
        raise PlanError(
            f"hf-hub:{repository} is not in the local cache and the hub can't be reached: {error}"
        ) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise PlanError(f"can't fetch {name} of hf-hub:{repository}: {error}") from error

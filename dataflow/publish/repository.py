"""One dataset on the Hub, by the Hub's own client: looked at, made, written to."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from poolsieve.dataflow.pools.hub import card
from poolsieve.dataflow.publish.contents import HubFile, Item
from poolsieve.dataflow.publish.patience import patiently, status
from poolsieve.dataflow.publish.record import CARD, RECORD, Damaged, read
from poolsieve.dataflow.publish.refusals import LOGIN, in_words
from poolsieve.dataflow.publish.remote import Changes, Remote, RemoteFile
from poolsieve.scoring_models.base.errors import PlanError

T = TypeVar("T")

MAIN = "main"

_MOST_RECORD = 64 << 20
"""Bytes of a record or card that are read: more is no record."""

LICENSE = re.compile(r"[a-z0-9][a-z0-9.\-]{0,63}")
"""How the Hub spells licenses."""

_NOT_VALID = 400
"""The answer to a card that the Hub does not take."""

_PATHS = 500
"""Paths that are asked for at once; the Hub takes 1,000."""

_FRONT = re.compile(r"\s*---[ \t]*(?:\r\n|\r|\n)(.*?)(?:\r\n|\r|\n)---[ \t]*(?:\r|\n|\Z)", re.DOTALL)
_LICENSE = re.compile(r"^(?:license|\"license\"|'license')[ \t]*:.{0,1000}(?:\r?\n[ \t-].{0,1000}){0,20}", re.MULTILINE)
"""A card's front matter, and its license with the lines that belong to it: in a time that grows with the text."""


@dataclass(frozen=True, kw_only=True)
class There:
    """A repository that is there: whether it is a private one, and has the branch."""

    private: bool
    has_branch: bool


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A dataset's repository.

    Attributes:
        name: `org/name`.
        revision: branch, or `refs/pr/N`.
        endpoint: the Hub's URL; None for that of the environment.
        token: None for the one that is logged in.
        say: is told what is waited for.
    """

    name: str
    revision: str = MAIN
    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    say: Callable[[str], None] = field(default=print, repr=False)

    @functools.cached_property
    def api(self) -> Any:
        """The client."""
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise PlanError(f"publishing needs more packages ({error}): pip install 'poolsieve[hub]'") from error
        return HfApi(endpoint=self.endpoint, token=self.token, library_name="poolsieve")

    @property
    def hub(self) -> str:
        """The Hub's URL."""
        return str(self.api.endpoint)

    @property
    def url(self) -> str:
        """The dataset's page."""
        return f"{self.hub}/datasets/{self.name}"

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """The client's errors in words."""
        try:
            yield
        except Exception as error:
            found = in_words(error, self.name, self.hub, what)
            if found is None or found is error:
                raise
            raise found from error

    def _patiently(self, call: Callable[[], T], what: str) -> T:
        with self.told(what):
            return patiently(call, self.say)

    def check_name(self) -> None:
        """Refuses what the Hub takes for no name.

        Raises:
            PlanError: with the rule.
        """
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        try:
            validate_repo_id(self.name)
            known = "/" in self.name
        except HFValidationError:
            known = False
        if not known:
            raise PlanError(
                f"--repo {self.name[:200]!r}: write org/name, or your own user's name before the slash: letters, "
                "digits, `-`, `_` and `.`, at most 96 of them, no `--` or `..`, and nothing else of its address"
            )

    def check_endpoint(self) -> None:
        """Refuses an endpoint that is no URL, which no waiting would help.

        Raises:
            PlanError: with what it should look like.
        """
        if not self.hub.startswith(("http://", "https://")):
            raise PlanError(f"HF_ENDPOINT (or endpoint=) is {self.hub!r}: write https:// before the Hub's name")

    def check_writer(self) -> None:
        """Whether there is a token, and whether the Hub takes it for one that may write at all.

        Raises:
            PlanError: if not.
        """
        me = self._patiently(self.api.whoami, "ask who you are")
        access = (me.get("auth") or {}).get("accessToken") or {}
        if access.get("role") == "read":
            raise PlanError(f"your token ({str(me.get('name'))[:100]}) may only read: {LOGIN}")

    def there(self) -> There | None:
        """What is there under that name and may be written to; None for nothing.

        Raises:
            PlanError: if it may not be written to, or has another name by now.
        """
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        def ask() -> Any:
            try:
                return self.api.repo_info(self.name, repo_type="dataset")
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None

        found = self._patiently(ask, "look")
        if found is None:
            return None
        if str(found.id).lower() != self.name.lower():
            # The Hub leads there, but to make the old name again would end that.
            raise PlanError(f"{self.name} is called {found.id} by now: publish to --repo {found.id}")
        self._patiently(lambda: self.api.auth_check(self.name, repo_type="dataset", write=True), "ask for the right")
        return There(private=bool(found.private), has_branch=self._has_branch())

    def _has_branch(self) -> bool:
        """Whether the branch is there.

        Raises:
            PlanError: if it is no branch, but a tag.
        """
        if self.revision == MAIN:
            return True
        if self.revision.startswith("refs/"):
            ask = functools.partial(self.api.revision_exists, self.name, self.revision, repo_type="dataset")
            return bool(self._patiently(ask, "look"))
        refs = self._patiently(lambda: self.api.list_repo_refs(self.name, repo_type="dataset"), "look at branches")
        if self.revision in {tag.name for tag in refs.tags}:
            raise PlanError(f"--revision {self.revision}: {self.name} has a tag of that name, and tags do not move")
        return self.revision in {branch.name for branch in refs.branches}

    def check_license(self, license: str) -> None:
        """Asks the Hub whether it knows a license, as it does at each commit of a card: only then it would be late.

        Raises:
            PlanError: with the Hub's words.
        """
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        asked = {"content": f"---\nlicense: {license}\n---\n", "repoType": "dataset"}
        headers = build_hf_headers(token=self.token)

        def ask() -> str | None:
            answer = get_session().post(f"{self.hub}/api/validate-yaml", json=asked, headers=headers)
            if answer.status_code != _NOT_VALID:
                hf_raise_for_status(answer)
                return None
            return "; ".join(str(one.get("message")) for one in answer.json().get("errors", []))

        said = self._patiently(ask, "ask for the license")
        if said is not None:
            raise PlanError(f"--license {license}: the Hub does not take it ({said[:300]})")

    def create(self, there: There | None, *, private: bool) -> None:
        """Makes the repository, and the branch, if they are not there."""
        if there is None:
            made = functools.partial(self.api.create_repo, self.name, repo_type="dataset", exist_ok=True)
            self._patiently(lambda: made(private=private or None), "make the repository")
        if self.revision != MAIN and not (there is not None and there.has_branch):
            branch = functools.partial(self.api.create_branch, self.name, branch=self.revision, repo_type="dataset")
            self._patiently(lambda: branch(exist_ok=True), f"make the branch {self.revision}")

    def look(self) -> Remote:
        """What it holds now, with the record and the card."""
        return self._patiently(self._look, "look")

    def _look(self) -> Remote:
        head = self.api.repo_info(self.name, repo_type="dataset", revision=self.revision).sha
        files = dict(self._files(self.api.list_repo_tree(self.name, **self._at(head), recursive=True)))
        record, damage = None, None
        if RECORD in files:
            try:
                record = read(self._small(RECORD, head, files[RECORD]))
            except Damaged as error:
                damage = str(error)
        card = self._card(head, files[CARD]) if CARD in files else None
        return Remote(head=head, files=files, record=record, card=card, damage=damage)

    def _at(self, revision: str) -> dict[str, str]:
        return {"repo_type": "dataset", "revision": revision}

    @staticmethod
    def _files(entries: Any) -> Iterator[tuple[str, RemoteFile]]:
        for entry in entries:
            if hasattr(entry, "blob_id"):  # folders have none
                sha256 = entry.lfs.sha256 if entry.lfs is not None else None
                yield entry.path, RemoteFile(size=entry.size, blob=entry.blob_id, sha256=sha256)

    def _small(self, path: str, commit: str, file: RemoteFile) -> bytes:
        if file.size > _MOST_RECORD:
            raise PlanError(f"{path} in {self.name} has {file.size:,} bytes, which is no {path} of ours: remove it")
        with self.system.open(self.inside(path, commit), "rb") as opened:
            return bytes(opened.read())

    def _card(self, commit: str, file: RemoteFile) -> str:
        try:
            return self._small(CARD, commit, file).decode()
        except UnicodeDecodeError as error:
            raise PlanError(
                f"{CARD} in {self.name} is not in UTF-8 (its byte {error.start:,}), so that what it says would be "
                "lost: save it as UTF-8 first"
            ) from error

    @functools.cached_property
    def system(self) -> Any:
        """Files of the Hub, as fsspec has them; read at a commit, so that nothing it remembers is ever old."""
        from huggingface_hub import HfFileSystem

        return HfFileSystem(endpoint=self.hub, token=self.token, skip_instance_cache=True)

    def inside(self, path: str, commit: str) -> str:
        """A file's path in `system`."""
        return f"datasets/{self.name}@{commit}/{path}"

    def paths(self, names: Sequence[str], commit: str, repo: str | None = None) -> dict[str, RemoteFile]:
        """What some files are at a commit; what is not there is left out. `repo`: another dataset."""
        found: dict[str, RemoteFile] = {}
        for start in range(0, len(names), _PATHS):
            some = list(names[start : start + _PATHS])
            ask = functools.partial(self.api.get_paths_info, repo or self.name, some, **self._at(commit))
            found.update(self._files(self._patiently(ask, "look at files")))
        return found

    def license_of(self, repo: str, commit: str) -> str | None:
        """The license in another dataset's card; None where it says none."""
        with self.told(f"look at {repo}"):
            return license_in(card(f"hf://datasets/{repo}@{commit}", {"endpoint": self.hub, "token": self.token}))

    def has_xet(self) -> bool:
        """Whether the Hub takes uploads by Xet: a mirror may not, and the client would not notice until it fails."""
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = f"{self.hub}/api/datasets/{self.name}/xet-write-token/{self.revision.replace('/', '%2F')}"
        headers = build_hf_headers(token=self.token)

        def ask() -> bool:
            try:
                hf_raise_for_status(get_session().get(url, headers=headers))
            except HfHubHTTPError as error:
                if status(error) in (404, 405, 501):
                    return False
                raise
            return True

        return self._patiently(ask, "ask for Xet")

    def commit(self, made: Changes, additions: Sequence[Any], parent: str, title: str, description: str) -> str:
        """One commit of everything; its hash. It is made once: whoever calls looks before trying again."""
        from huggingface_hub import CommitOperationDelete

        operations = [
            *additions,
            *(self._copy(item, source) for item, source in made.copy),
            *(CommitOperationDelete(path_in_repo=path, is_folder=False) for path in made.delete),
        ]
        found = self.api.create_commit(
            self.name,
            operations,
            commit_message=title,
            commit_description=description,
            parent_commit=parent,
            **self._at(self.revision),
        )
        return str(found.oid)

    def _copy(self, item: Item, source: HubFile) -> Any:
        from huggingface_hub import CommitOperationCopy

        own = source.repo == self.name
        return CommitOperationCopy(
            src_path_in_repo=source.path,
            path_in_repo=item.path,
            src_revision=source.commit,
            src_repo_id=None if own else source.repo,
            src_repo_type=None if own else "dataset",
        )


def license_in(text: str) -> str | None:
    """The license that a card's front matter says, as the Hub spells it; None for none, and for several.

    Anybody may have written the card: nothing of it but the lines of that key is read as YAML.
    """
    front = _FRONT.match(text.removeprefix("\ufeff"))
    found = None if front is None else _LICENSE.search(front[1])
    if found is None:
        return None
    try:
        said = next(iter(yaml.safe_load(found[0]).values()))
    except (ValueError, TypeError, AttributeError, yaml.YAMLError, RecursionError):
        return None
    return said if isinstance(said, str) and LICENSE.fullmatch(said) else None

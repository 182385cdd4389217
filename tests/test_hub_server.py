"""The loopback Hub answers as the real one does, in what publishing leans on: asked by the real client.

What the real one does: huggingface_hub 2.4's `_commit_api.py`, `lfs.py`, `hf_api.py` and `utils/_http.py`, which say what
they send and what they make of each answer; hf.co/docs/hub, "Repository limits and recommendations".
"""

from __future__ import annotations

import io
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests import hub_server
from tests.hub_server import HubServer
from tests.hub_store import git_hash, sha256

NAME = "org/data"
LARGE = b"PAR1" + bytes(range(256)) * 8


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    hub.create(NAME, {"old.txt": b"old", "old.parquet": b"old"})
    return HfApi(endpoint=hub.url, token="hf_write")


def add(path: str, data: bytes = b"new") -> CommitOperationAdd:
    return CommitOperationAdd(path, io.BytesIO(data))  # by LFS: the client sends open files so


def commit(api: HfApi, *operations: Any, **how: Any) -> Any:
    return api.create_commit(NAME, list(operations), commit_message="test", repo_type="dataset", **how)


def refusal(status: int, call: Any) -> HfHubHTTPError:
    with pytest.raises(HfHubHTTPError) as caught:
        call()
    assert caught.value.response is not None and caught.value.response.status_code == status
    return caught.value


def test_a_commit_is_made_whole_or_not_at_all(hub: HubServer, api: HfApi) -> None:
    repo = hub.repos[NAME]
    before, head = repo.files(), repo.head()
    gone = CommitOperationDelete("never.txt", is_folder=False)
    refusal(404, lambda: commit(api, add("a.txt"), add("a.parquet", LARGE), gone))
    assert repo.files() == before and repo.head() == head
    made = commit(api, add("a.txt"), add("a.parquet", LARGE), CommitOperationDelete("old.txt", is_folder=False))
    assert made.oid == repo.head() and repo.at().parent == head
    after = {**before, "a.txt": b"new", "a.parquet": LARGE}
    assert repo.files() == {path: data for path, data in after.items() if path != "old.txt"}


def test_a_commit_on_another_parent_is_412(hub: HubServer, api: HfApi) -> None:
    repo = hub.repos[NAME]
    old = repo.head()
    made = commit(api, add("a.txt"), parent_commit=old)
    refusal(412, lambda: commit(api, add("b.txt"), parent_commit=old))
    assert repo.head() == made.oid and "b.txt" not in repo.files()
    commit(api, add("b.txt"))  # without a parent it goes on top of whatever is there
    commit(api, add("c.txt"), parent_commit=repo.head())
    assert {"a.txt", "b.txt", "c.txt"} <= set(repo.files())


def test_a_file_of_lfs_that_was_not_sent_is_no_part_of_a_commit(hub: HubServer, api: HfApi) -> None:
    lines = (
        b'{"key": "header", "value": {"summary": "test", "description": ""}}\n'
        b'{"key": "lfsFile", "value": {"path": "a.parquet", "algo": "sha256", "oid": "%s", "size": 3}}\n'
    )
    url, head = f"{hub.url}/api/datasets/{NAME}/commit/main", hub.repos[NAME].head()
    asked = httpx2.post(url, content=lines % (b"0" * 64), headers={"Authorization": "Bearer hf_write"})
    assert asked.status_code == 400 and hub.repos[NAME].head() == head


def test_preupload_says_how_a_file_travels_and_what_is_there(hub: HubServer, api: HfApi) -> None:
    made = [add("b.txt"), add("old.txt", b"old"), add("b.parquet", LARGE), add("old.parquet", b"old")]
    api.preupload_lfs_files(NAME, made, repo_type="dataset", free_memory=False)
    assert [one._upload_mode for one in made] == ["regular", "regular", "lfs", "lfs"]
    assert [one._remote_oid for one in made] == [None, git_hash(b"old"), None, sha256(b"old")]


def test_an_object_that_is_there_is_not_sent_again_and_each_is_verified(hub: HubServer, api: HfApi) -> None:
    api.preupload_lfs_files(NAME, [add("b.parquet", LARGE)], repo_type="dataset")
    assert hub.received("PUT") == len(LARGE) and hub.count("POST", "^/lfs/") == 1
    hub.forget()
    api.preupload_lfs_files(NAME, [add("c.parquet", LARGE)], repo_type="dataset")
    assert hub.count("POST", "objects/batch") == 1 and hub.count("PUT") == hub.count("POST", "^/lfs/") == 0
    oid = sha256(LARGE)
    assert httpx2.put(f"{hub.url}/lfs/{oid}", content=b"other").status_code == 400
    assert httpx2.post(f"{hub.url}/lfs/{oid}", json={"oid": oid, "size": 1}).status_code == 422
    assert hub.objects[oid] == LARGE


def test_a_pull_request_is_seen_when_it_is_merged(hub: HubServer, api: HfApi) -> None:
    repo = hub.repos[NAME]
    pull = api.create_pull_request(NAME, "more", repo_type="dataset")
    commit(api, add("a.txt"), revision=f"refs/pr/{pull.num}")
    commit(api, add("b.txt"), revision=f"refs/pr/{pull.num}")
    assert not {"a.txt", "b.txt"} & set(repo.files())
    api.change_discussion_status(NAME, pull.num, "open", repo_type="dataset")
    commits = len(repo.commits())
    api.merge_pull_request(NAME, pull.num, repo_type="dataset")
    assert {"a.txt", "b.txt"} <= set(repo.files()) and len(repo.commits()) == commits + 1
    refusal(400, lambda: api.merge_pull_request(NAME, pull.num, repo_type="dataset"))


def test_files_of_lfs_are_copied_without_their_bytes(hub: HubServer, api: HfApi) -> None:
    hub.create("other/pool", {"p.parquet": LARGE})
    source = {"src_repo_id": "other/pool", "src_repo_type": "dataset", "src_revision": hub.repos["other/pool"].head()}
    hub.forget()
    commit(api, CommitOperationCopy("p.parquet", "copy.parquet", **source))  # type: ignore[arg-type]
    assert hub.repos[NAME].files()["copy.parquet"] == LARGE
    assert hub.count("GET", "/resolve/") == hub.count("PUT") == 0


def test_a_long_tree_comes_in_pages(hub: HubServer, api: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[NAME].change({f"d/{number}.txt": b"%d" % number for number in range(7)})
    monkeypatch.setattr(hub_server, "PAGE", 3)
    found = {one.path for one in api.list_repo_tree(NAME, repo_type="dataset", recursive=True)}
    assert found == {".gitattributes", "old.txt", "old.parquet", "d", *(f"d/{number}.txt" for number in range(7))}
    assert hub.count("GET", "/tree/") == 4


def test_the_client_knows_its_errors(hub: HubServer, api: HfApi) -> None:
    hub.create("else/private", private=True)
    hub.create("else/gated").gated = True
    info = {"repo_type": "dataset"}
    for name in ("org/none", "else/private"):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info(name, **info)  # type: ignore[arg-type]
    with pytest.raises(GatedRepoError):
        api.repo_info("else/gated", **info)  # type: ignore[arg-type]
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(NAME, revision="none", **info)  # type: ignore[arg-type]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(NAME, "none", **info))  # type: ignore[arg-type]
    reader = HfApi(endpoint=hub.url, token="hf_read")
    refusal(403, lambda: commit(reader, add("a.txt")))
    refusal(401, HfApi(endpoint=hub.url, token="hf_wrong").whoami)
    assert "a.txt" not in hub.repos[NAME].files()

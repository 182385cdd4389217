"""What is there, and what was asked for: looked at before an export is made, and before anything is sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from poolsieve.dataflow.publish.publish import Publication, Wishes
from poolsieve.dataflow.publish.repository import license_in
from poolsieve.scoring_models.base.errors import PlanError
from tests.dataflow.publish.conftest import NAME, decided, write_file
from tests.hub_server import HubServer
from tests.published import data, exported

Publish = Callable[..., Publication]
SENDS = "preupload|/commit|create|/branch|discussions"


NO_BRANCHES = (
    *("", "a b", "a?b", "a#b", "-x", "../main", "v1..2", "x.lock", "a//b", "/a", "a/", "a@{1}", "a\nb", "a" * 300),
    *("refs/heads/main", "refs/x", "refs/pr/0", "refs/pr/x", "0" * 40),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is whole, made once."""
    folder = tmp_path_factory.mktemp("whole")
    write_file(folder / "pool.parquet", 0)
    decided(folder / "out", folder)
    return folder / "out"


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, without an export."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.mark.parametrize("revision", NO_BRANCHES)
def test_what_no_branch_is_called(revision: str) -> None:
    with pytest.raises(PlanError, match="--revision"):
        Wishes(repo=NAME, revision=revision)


@pytest.mark.parametrize("revision", ["main", "v2", "feature/x-1", "refs/pr/12", "ü", "deadbeef"])
def test_what_a_branch_may_be_called(revision: str) -> None:
    assert Wishes(repo=NAME, revision=revision).revision == revision


def test_a_tag_is_no_branch(hub: HubServer, out: Path, publish: Publish) -> None:
    repo = hub.create(NAME)
    repo.tags["v1"] = repo.head()
    with pytest.raises(PlanError, match="has a tag of that name"):
        publish(out, revision="v1")
    assert not (out / "export").exists() and not hub.count("POST", SENDS)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("dry", [False, True])
def test_a_pull_request_that_is_not_there(hub: HubServer, out: Path, publish: Publish, there: bool, dry: bool) -> None:
    if there:
        hub.create(NAME)
    with pytest.raises(PlanError, match="has no such pull request"):
        publish(out, revision="refs/pr/7", dry_run=dry)
    assert set(hub.repos) == ({NAME} if there else set()) and not (out / "export").exists()


@pytest.mark.parametrize("dry", [False, True])
def test_a_new_branch_begins_as_main_and_what_others_put_there_is_refused(
    hub: HubServer, out: Path, publish: Publish, dry: bool
) -> None:
    hub.create(NAME, {"notes.txt": b"mine"})
    with pytest.raises(PlanError, match=r"notes\.txt"):
        publish(out, revision="v2", dry_run=dry)
    assert "v2" not in hub.repos[NAME].refs and not (out / "export").exists()


def test_a_dry_run_knows_what_a_new_branch_begins_with(hub: HubServer, out: Path, publish: Publish) -> None:
    publish(out)
    assert not publish(out, revision="v2", dry_run=True).changes and "v2" not in hub.repos[NAME].refs
    publish(out, revision="v2")
    assert data(hub.repos[NAME].files("v2")) == exported(out)


def test_a_public_repository_is_not_taken_for_a_private_one(hub: HubServer, out: Path, publish: Publish) -> None:
    hub.create(NAME)
    with pytest.raises(PlanError, match="is there and public"):
        publish(out, private=True)
    assert not hub.count("POST", SENDS)
    publish(out, "org/secret", private=True)
    assert hub.repos["org/secret"].private
    publish(out, "org/secret", private=True)
    publish(out, "org/secret")


def test_a_repository_that_was_renamed_is_not_made_anew_under_its_old_name(
    hub: HubServer, out: Path, publish: Publish
) -> None:
    publish(out, "org/new")
    hub.renamed[NAME] = "org/new"
    with pytest.raises(PlanError, match=f"{NAME} is called org/new by now"):
        publish(out)
    assert set(hub.repos) == {"org/new"}


def test_a_license_that_the_hub_does_not_know_is_found_before_anything_is_sent(
    hub: HubServer, out: Path, publish: Publish
) -> None:
    with pytest.raises(PlanError, match=r"--license not-a-license.*must be one of"):
        publish(out, license="not-a-license")
    assert not hub.repos and not (out / "export").exists()


def test_a_card_that_is_not_utf_8_is_not_written_over(hub: HubServer, out: Path, publish: Publish) -> None:
    card = "---\nlicense: mit\n---\nÄrger\n".encode("latin-1")
    hub.create(NAME, {"README.md": card})
    with pytest.raises(PlanError, match=rf"README\.md in {NAME} is not in UTF-8"):
        publish(out)
    assert hub.repos[NAME].files()["README.md"] == card


@pytest.mark.parametrize("token", ["hf_secret\n", "", "hf secret", "hfü"])
def test_what_is_no_token_is_told_and_not_shown(token: str) -> None:
    with pytest.raises(PlanError, match="token=") as told:
        Wishes(repo=NAME, token=token)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "repo", ["https://huggingface.co/datasets/org/kept", "datasets/org/kept", "org/", "org/a--b", ""]
)
def test_what_is_no_name_of_a_repository(out: Path, publish: Publish, repo: str) -> None:
    with pytest.raises(PlanError, match="write org/name"):
        publish(out, repo)


def test_an_endpoint_without_a_scheme_is_not_waited_for(out: Path, publish: Publish) -> None:
    with pytest.raises(PlanError, match="write https://"):
        publish(out, endpoint="127.0.0.1:9")


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("\ufeff---\r\ntags:\r\n- a\r\nlicense: cc-by-4.0  # mine\r\n---\r\nx", "cc-by-4.0"),
        ('---\n"license": "mit"\n---\n', "mit"),
        ("---\nlicense:\n  mit\n---", "mit"),
        ("---\nlicense:\n- mit\n- other\n---\n", None),
        ("---\nlicense: [mit]\n---\n", None),
        ("---\nlicense: 'a\n\n  ---'\n---\n", None),
        ("---\nlicense_name: mine\n---\nlicense: mit\n", None),
        ("---\nx:\n  license: mit\n---\n", None),
        ("license: mit\n", None),
        ("---\nlicense: !!python/object/apply:os.system ['x']\n---\n", None),
        ("---\nlicense: " + "[" * 5000 + "\n---\n", None),
        ("---\nx: " + "[" * 5000 + "]" * 5000 + "\nlicense: mit\n---\n", "mit"),
    ],
)
def test_the_license_of_a_card(card: str, license: str | None) -> None:
    assert license_in(card) == license


@pytest.mark.parametrize("piece", ["\n", "a: b\n", " ", "\r", "license:\n", "---", "license: x\n -"])
def test_a_license_is_looked_for_in_a_card_of_any_length(piece: str) -> None:
    """By a pattern that went back at each line, two megabytes took an hour; pytest's own limit would end it."""
    license_in("---\n" + piece * (2_000_000 // len(piece)))

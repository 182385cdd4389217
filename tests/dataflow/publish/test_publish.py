"""Publishing to a loopback Hub by the real client, with everything that goes wrong on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import poolsieve
from poolsieve.dataflow.publish import send
from poolsieve.dataflow.publish.publish import Publication
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.dataflow.publish.conftest import NAME, ROWS, decided, write_file
from tests.hub_server import Fault, HubServer
from tests.published import data, exported

Publish = Callable[..., Publication]
COMMIT = "/commit/"


def test_a_first_publication_is_one_commit_of_everything(hub: HubServer, out: Path, publish: Publish) -> None:
    made = publish(out)
    repo = hub.repos[NAME]
    assert data(repo.files()) == exported(out)
    assert [commit.title for commit in repo.commits()][-1] == "initial commit" and len(repo.commits()) == 2
    assert made.commit == repo.head() and made.commits == 1
    assert made.sent >= sum(map(len, exported(out).values())) and made.saved == 0
    assert set(repo.files()) == {".gitattributes", "README.md", "poolsieve.json", *exported(out)}
    kept = poolsieve.open(out).counts.kept
    assert made.rows == kept == sum(file["rows"] or 0 for file in json.loads(repo.files()["poolsieve.json"])["files"])


def test_a_second_publication_makes_no_commit_and_sends_nothing(hub: HubServer, out: Path, publish: Publish) -> None:
    first = publish(out)
    hub.forget()
    second = publish(out)
    assert second.commit == first.commit and second.commits == 0 and second.sent == 0 and not second.changes
    assert hub.count("PUT") == hub.count("POST", COMMIT) == hub.count("POST", "preupload") == 0
    assert second.saved >= sum(map(len, exported(out).values()))


def test_a_moved_cut_sends_only_files_that_changed(hub: HubServer, out: Path, pool: Path, publish: Publish) -> None:
    poolsieve.export(out, target_bytes=1)
    publish(out)
    before = exported(out)
    decided(out, pool, least=6)
    hub.forget()
    made = publish(out)
    after = exported(out)
    new = [contents for contents in after.values() if contents not in before.values()]
    assert 0 < len(new) < len(after)
    assert data(hub.repos[NAME].files()) == after
    assert sum(map(len, new)) <= hub.received("PUT") == sum(map(len, new))
    assert made.saved >= sum(map(len, after.values())) - sum(map(len, new))
    assert any("made anew" in said for said in publish.said)  # type: ignore[attr-defined]


def test_files_of_an_earlier_version_go_in_the_same_commit(
    hub: HubServer, out: Path, pool: Path, publish: Publish
) -> None:
    poolsieve.export(out, target_bytes=1)
    publish(out)
    assert len(exported(out)) == 5
    poolsieve.export(out, replace=True)
    publish(out)
    assert data(hub.repos[NAME].files()) == exported(out) and len(exported(out)) == 1
    assert len(hub.repos[NAME].commits()) == 3


def test_what_only_changed_its_name_is_copied_by_the_hub(
    hub: HubServer, out: Path, pool: Path, publish: Publish
) -> None:
    poolsieve.export(out, target_bytes=1)
    publish(out)
    write_file(pool / "5.parquet", 5)
    decided(out, pool)
    hub.forget()
    made = publish(out)
    assert len(made.changes.copy) == 5 and len(exported(out)) == 6
    assert hub.count("PUT") == 1 and data(hub.repos[NAME].files()) == exported(out)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "/lfs/", 500),
        Fault("PUT", "/lfs/", drop=True),
        Fault("POST", "preupload", 503),
        Fault("POST", "/batch", 429, {"Retry-After": "1"}),
        Fault("POST", COMMIT, 503),
        Fault("POST", COMMIT, 409),
        Fault("POST", COMMIT, 429, {"Retry-After": "1"}),
        Fault("POST", COMMIT, drop=True),
        Fault("POST", COMMIT, drop=True, after=True),
        Fault("POST", COMMIT, 504, after=True),
        Fault("POST", "validate-yaml", 502, raw=b"<html>bad gateway</html>"),
        Fault("POST", "repos/create", 500),
        Fault("GET", "/tree/", 503, skip=1),
        Fault("GET", "whoami", 500),
        Fault("POST", "paths-info", 500),
        Fault("GET", "/resolve/", 500, times=2),
    ],
    ids=lambda fault: f"{fault.pattern} {fault.status or 'drop'}{' after' if fault.after else ''}",
)
def test_what_may_pass_is_tried_again_and_a_commit_is_made_once(
    hub: HubServer, out: Path, publish: Publish, fault: Fault
) -> None:
    hub.faults.append(fault)
    publish(out)
    assert fault.times == 0
    assert len(hub.repos[NAME].commits()) == 2 and data(hub.repos[NAME].files()) == exported(out)
    assert publish(out).commits == 0


def test_what_goes_on_failing_is_an_error_in_words_and_leaves_the_repository_as_it_was(
    hub: HubServer, out: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poolsieve.dataflow.publish import patience

    monkeypatch.setattr(patience, "ATTEMPTS", 3)
    publish(out, "org/other")  # so that the export is there
    hub.faults.append(Fault("POST", f"{NAME}{COMMIT}", 503, times=1000))
    with pytest.raises(PoolsieveError, match=r"goes on failing.*Run the same command again"):
        publish(out)
    assert len(hub.repos[NAME].commits()) == 1
    hub.faults.clear()
    hub.forget()
    publish(out)
    assert hub.count("PUT") == 0 and data(hub.repos[NAME].files()) == exported(out)


def test_somebody_elses_commit_in_between_is_seen(hub: HubServer, out: Path, publish: Publish) -> None:
    publish(out)
    poolsieve.export(out, replace=True, target_bytes=1)
    repo = hub.repos[NAME]
    beside(hub, lambda: repo.change({"README.md": repo.files()["README.md"] + b"\nby me\n"}))
    publish(out)
    assert data(repo.files()) == exported(out)
    assert len(repo.commits()) == 4


def test_somebody_elses_data_in_between_is_left_alone(hub: HubServer, out: Path, publish: Publish) -> None:
    publish(out)
    poolsieve.export(out, replace=True, target_bytes=1)
    repo = hub.repos[NAME]
    beside(hub, lambda: repo.change({"data/mine.parquet": b"mine"}))
    with pytest.raises(PlanError, match=r"data/mine\.parquet"):
        publish(out)
    assert repo.files()["data/mine.parquet"] == b"mine" and len(repo.commits()) == 3


def beside(hub: HubServer, act: Callable[[], object]) -> None:
    """Acts once, after the next upload and so before the commit that was meant."""

    class Once(Fault):
        def hits(self, method: str, path: str) -> bool:
            if super().hits(method, path):
                act()
            return False

    hub.faults.append(Once("POST", COMMIT))


def test_other_peoples_repositories_are_refused_before_anything_is_sent(
    hub: HubServer, out: Path, publish: Publish
) -> None:
    hub.create(NAME, {"data/train-00000-of-00001.parquet": b"x", "notes.txt": b"y"})
    with pytest.raises(PlanError, match=r"notes\.txt.*--replace"):
        publish(out)
    assert not (out / "export").exists() and hub.count("POST", "preupload|/commit") == 0
    publish(out, replace=True)
    assert data(hub.repos[NAME].files()) == exported(out) and "notes.txt" not in hub.repos[NAME].files()


def test_a_card_alone_is_no_stranger(hub: HubServer, out: Path, publish: Publish) -> None:
    hub.create(NAME, {"README.md": b"---\nlicense: mit\n---\n# mine\n"})
    publish(out, license=None)
    assert b"license: mit" in hub.repos[NAME].files()["README.md"]


REFUSED = {
    "no license": ({"license": None}, "--license"),
    "odd license": ({"license": "Do what you like"}, "--license"),
    "a bad name": ({"repo": "a b/c"}, "--repo 'a b/c'"),
    "no owner": ({"repo": "kept"}, "org/name"),
    "a read token": ({"token": "hf_read"}, "only read"),
    "a wrong token": ({"token": "hf_wrong"}, "does not take your token"),
    "another's namespace": ({"repo": "someone/kept"}, "may not write"),
    "pull and branch": ({"pull": True, "revision": "dev"}, "--pr"),
    "an unknown part": ({"extras": ("score",)}, "scores"),
    "a part twice": ({"extras": ("scores", "scores")}, "twice"),
    "nobody there": ({"endpoint": "http://127.0.0.1:9"}, "can't be reached"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    hub: HubServer, out: Path, publish: Publish, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poolsieve.dataflow.publish import patience

    monkeypatch.setattr(patience, "AWAY_SECONDS", 0.5)
    how, said = REFUSED[case]
    with pytest.raises(PoolsieveError, match=said):
        publish(out, **how)
    assert hub.count("POST", "preupload|/commit") == hub.count("PUT") == 0
    assert NAME not in hub.repos


def test_a_repository_that_may_not_be_written_to_is_refused_at_once(
    hub: HubServer, out: Path, publish: Publish
) -> None:
    hub.create("someone/kept")
    with pytest.raises(PlanError, match="may not write to someone/kept"):
        publish(out, "someone/kept")
    assert not (out / "export").exists()


def test_a_file_that_is_not_what_the_export_wrote_is_refused(hub: HubServer, out: Path, publish: Publish) -> None:
    poolsieve.export(out)
    file = next((out / "export" / "data").iterdir())
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        with pytest.raises(PlanError, match=rf"{file.name}.*export again"):
            publish(out)
    file.unlink()
    with pytest.raises(PlanError, match="is gone"):
        publish(out)
    assert NAME not in hub.repos


def test_a_run_that_is_not_whole_is_refused(hub: HubServer, out: Path, publish: Publish) -> None:
    (out / "manifest.json").unlink()
    with pytest.raises(PlanError, match=r"manifest\.json"):
        publish(out)
    assert not hub.requests


def test_rows_of_a_list_or_of_a_reason_are_not_published_as_kept(out: Path, publish: Publish) -> None:
    poolsieve.export(out, reason="text.*")
    with pytest.raises(PlanError, match="dropped for"):
        publish(out)


def test_a_dry_run_sends_nothing(hub: HubServer, out: Path, publish: Publish) -> None:
    made = publish(out, dry_run=True)
    assert made.dry and len(made.changes.add) == 3 and made.sent == 0 and not hub.repos
    publish(out)
    hub.forget()
    assert not publish(out, dry_run=True).changes
    assert hub.count("PUT") == hub.count("POST", "preupload|/commit|create") == 0


def test_a_branch_is_made_and_main_stays_as_it_is(hub: HubServer, out: Path, publish: Publish) -> None:
    hub.create(NAME)
    publish(out, revision="v2")
    assert data(hub.repos[NAME].files("v2")) == exported(out) and not data(hub.repos[NAME].files())


def test_a_pull_request_is_left_open_and_found_again(hub: HubServer, out: Path, publish: Publish) -> None:
    first = publish(out, pull=True)
    second = publish(out, pull=True)
    repo = hub.repos[NAME]
    assert len(repo.pulls) == 1 and repo.pulls[1].status == "open"
    assert data(repo.files("refs/pr/1")) == exported(out) and not data(repo.files())
    assert first.pull == second.pull and first.pull is not None and first.pull.url.endswith("/discussions/1")


def test_more_than_one_commit_takes_goes_through_a_pull_request(
    hub: HubServer, out: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    poolsieve.export(out, target_bytes=1)
    monkeypatch.setattr(send, "COMMIT_FILES", 2)
    hub.faults.append(Fault("POST", COMMIT, drop=True, after=True, skip=1))
    hub.faults.append(Fault("POST", "/merge", drop=True, after=True))
    made = publish(out)
    repo = hub.repos[NAME]
    assert data(repo.files()) == exported(out) and made.commit == repo.head()
    assert repo.pulls[1].status == "merged" and len(repo.commits()) == 2 and len(repo.commits("refs/pr/1")) > 3
    hub.forget()
    assert publish(out).commits == 0 and not hub.count("POST", "discussions")


def test_a_pull_request_is_gone_on_with_after_a_failure(
    hub: HubServer, out: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    poolsieve.export(out, target_bytes=1)
    monkeypatch.setattr(send, "COMMIT_FILES", 2)
    hub.faults.append(Fault("POST", COMMIT, 403, skip=1))
    with pytest.raises(PlanError):
        publish(out)
    assert not data(hub.repos[NAME].files())
    hub.forget()
    publish(out)
    assert len(hub.repos[NAME].pulls) == 1 and data(hub.repos[NAME].files()) == exported(out)
    assert 0 < hub.count("PUT") < len(exported(out))


def test_out_elsewhere_is_published_through_local_copies(
    hub: HubServer, out: Path, pool: Path, publish: Publish
) -> None:
    decided("memory://published/out", pool)  # type: ignore[arg-type]
    publish("memory://published/out")
    publish(out, "org/local")
    assert data(hub.repos[NAME].files()) == data(hub.repos["org/local"].files())


def test_subset_and_manifest_are_published_if_asked_for(hub: HubServer, out: Path, publish: Publish) -> None:
    publish(out, extras=("subset", "manifest"))
    files = hub.repos[NAME].files()
    decision = poolsieve.open(out).decision
    assert files["subset.npy"] == (out / "decisions" / decision / "subset.npy").read_bytes()
    assert files["manifest.json"] == (out / "manifest.json").read_bytes()
    publish(out)
    assert "subset.npy" not in hub.repos[NAME].files()


def test_an_older_export_of_chosen_columns_is_not_replaced_unasked(out: Path, pool: Path, publish: Publish) -> None:
    poolsieve.export(out, reason="text.*")
    decided(out, pool, least=6)
    with pytest.raises(PlanError, match="holds an export of decision"):
        publish(out)


def test_another_format_than_the_export_that_is_there_is_refused(out: Path, publish: Publish) -> None:
    poolsieve.export(out)
    with pytest.raises(PlanError, match="--replace"):
        publish(out, format="jsonl")
    shutil.rmtree(out / "export")
    assert publish(out, format="jsonl").rows > ROWS

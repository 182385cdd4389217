"""What must change in a repository, by its listing alone."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow.publish.contents import HubFile, Item
from poolsieve.dataflow.publish.record import CARD, RECORD, Damaged, PublishedFile, Record, read
from poolsieve.dataflow.publish.remote import Changes, Remote, RemoteFile, changes, git_blob
from poolsieve.dataflow.publish.repository import Repository, license_in
from poolsieve.dataflow.publish.send import first_of, refuse_strangers
from poolsieve.scoring_models.base.errors import PlanError

TODAY = datetime.date(2026, 11, 29)


def held(item: Item, *, lfs: bool = True) -> RemoteFile:
    return RemoteFile(size=item.size, blob=git_blob(item), sha256=item.sha256 if lfs else None)


def record_of(*items: Item) -> Record:
    files = tuple(PublishedFile(path=item.path, bytes=item.size, sha256=item.sha256) for item in items)
    return Record(decision="d", export="e", pool="p", published=TODAY, files=files)


def test_git_knows_contents_by_this_hash() -> None:
    # `printf 'what is up, doc?' | git hash-object --stdin`, the example of the book "Pro Git", 10.2.
    assert git_blob(Item.of("a", b"what is up, doc?")) == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


def test_what_is_there_is_not_sent_and_what_moved_is_copied() -> None:
    a, b, c = Item.of("data/a", b"1"), Item.of("data/b", b"22"), Item.of("data/c", b"333")
    moved = replace(b, path="data/b-of-3")
    remote = Remote(head="h" * 40, files={"data/a": held(a), "data/b": held(b), ".gitattributes": held(c, lfs=False)})
    made = changes("org/x", remote, [a, moved, c])
    assert made.same == (a,) and made.add == (c,) and made.delete == ("data/b",)
    assert made.copy == ((moved, HubFile(repo="org/x", commit="h" * 40, path="data/b")),)


def test_a_small_file_of_other_contents_is_sent() -> None:
    a, other = Item.of("a.json", b"1"), Item.of("a.json", b"2")
    remote = Remote(head="h", files={"a.json": held(a, lfs=False)})
    assert changes("org/x", remote, [other]).add == (other,)
    assert not changes("org/x", remote, [a])


def test_the_pools_own_file_is_copied_unless_that_is_given_up() -> None:
    source = HubFile(repo="org/pool", commit="c" * 40, path="data/0.parquet")
    item = replace(Item.of("data/a", b"1"), copy_of=source)
    assert changes("org/x", Remote(head="h"), [item]).copy == ((item, source),)
    assert changes("org/x", Remote(head="h"), [item], copies=False).add == (item,)


contents = st.sampled_from([b"", b"1", b"22", b"333", b"4444"])
trees = st.dictionaries(st.sampled_from(["data/a", "data/b", "c", "d/e/f", CARD, RECORD]), contents)


@given(trees, trees, st.booleans(), st.integers(1, 3))
def test_changes_make_the_repository_hold_just_that(before: dict, after: dict, lfs: bool, most: int) -> None:
    items = [Item.of(path, data) for path, data in after.items()]
    tree = dict(before)
    for _ in range(20):
        remote = Remote(head="h", files={path: held(Item.of(path, data), lfs=lfs) for path, data in tree.items()})
        found = changes("org/x", remote, items)
        if not found:
            break
        tree = applied(tree, first_of(found, most))
    assert tree == after


def applied(tree: dict[str, bytes], made: Changes) -> dict[str, bytes]:
    copied = {item.path: tree[source.path] for item, source in made.copy}
    kept = {path: data for path, data in tree.items() if path not in made.delete}
    return {**kept, **copied, **{item.path: bytes(item.source) for item in made.add}}  # type: ignore[arg-type]


def test_strangers_are_what_neither_is_on_record_nor_published_now() -> None:
    ours, old, theirs = Item.of("data/a", b"1"), Item.of("data/b", b"2"), Item.of("notes.txt", b"3")
    card, attributes = Item.of(CARD, b"# mine"), Item.of(".gitattributes", b"*.png")
    files = {item.path: held(item) for item in (ours, old, theirs, card, attributes)}
    remote = Remote(head="h", files=files, record=record_of(old))
    assert remote.strangers([ours]) == ["notes.txt"]
    assert remote.strangers([]) == ["data/a", "notes.txt"]
    changed = Remote(head="h", files={"data/b": held(Item.of("data/b", b"9"))}, record=record_of(old))
    assert changed.strangers([]) == ["data/b"]


def test_other_peoples_files_are_refused_unless_they_may_go() -> None:
    remote = Remote(head="h", files={f"f{i}": held(Item.of(f"f{i}", b"1")) for i in range(5)})
    repository = Repository(name="org/x", endpoint="http://127.0.0.1:1")
    with pytest.raises(PlanError, match=r"'f0', 'f1', 'f2' and 2 more.*--replace"):
        refuse_strangers(repository, remote, [], clear=False)
    refuse_strangers(repository, remote, [], clear=True)
    damaged = Remote(head="h", damage="poolsieve.json there is not one of poolsieve's")
    with pytest.raises(PlanError, match="--replace"):
        refuse_strangers(repository, damaged, [], clear=False)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"format": 1}', b"\xff", b"[" * 100_000, b'{"files": [{"path": 1}]}']
)
def test_a_record_that_is_none_says_so(data: bytes) -> None:
    with pytest.raises(Damaged, match=r"poolsieve\.json there is not one"):
        read(data)


def test_a_record_comes_back_and_a_newer_one_is_refused() -> None:
    made = record_of(Item.of("a", b"1"))
    assert read(made.to_bytes()) == made
    with pytest.raises(Damaged, match="newer"):
        read(made.to_bytes().replace(b'"format": 1', b'"format": 2').replace(b'"format":1', b'"format":2'))


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: cc0-1.0\n---\n# x", "cc0-1.0"),
        ("# x", None),
        ("---\nlicense: [a, b]\n---\n", None),
        ("---\nlicense: {a: 1\n---\n", None),
        ("---\nlicense: " + "x" * 200 + "\n---\n", None),
        ("---\n- a\n---\n", None),
        ("", None),
    ],
)
def test_the_license_of_a_card(card: str, license: str | None) -> None:
    assert license_in(card) == license


def test_hashes_are_of_the_contents() -> None:
    item = Item.of("a", b"xyz")
    assert item.sha256 == hashlib.sha256(b"xyz").hexdigest() and item.size == 3

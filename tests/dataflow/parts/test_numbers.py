"""`--part`: which parts it names, and what is refused."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from poolsieve.dataflow.parts.numbers import Share, share_of, spelled
from poolsieve.dataflow.parts.spread import part_of_each, shards_of
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError


def slurm(task: int | str, first: int, last: int, count: int) -> dict[str, str]:
    """The environment of a task, as `sbatch --array` sets it."""
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "numbers", "of"),
    [
        ("0/1", (0,), 1),
        ("3/100", (3,), 100),
        ("99/100", (99,), 100),
        ("17,3,18-20,19/100", (3, 17, 18, 19, 20), 100),
    ],
)
def test_parts_by_number(text: str, numbers: tuple[int, ...], of: int) -> None:
    assert share_of(text, {}) == Share(numbers, of)


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/3", "3/100/2", "-1/3", "1.5/3", "a/b", "1-/3", "1,,2/3", "1/3 ", "١/3", "12345678/9"]
)
def test_what_is_no_part_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(PlanError, match=r"write I/N, as 0/100 to 99/100.*--part slurm"):
        share_of(text, {})


@pytest.mark.parametrize(("text", "said"), [("100/100", "the last of 100 is 99/100"), ("0-3/3", "counted from 0")])
def test_a_part_too_many_says_where_counting_begins(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        share_of(text, {})


@pytest.mark.parametrize(("text", "said"), [("0/0", "0 parts"), ("5-3/9", "3-5"), ("0/9999999", "1 to 1,000,000")])
def test_other_mistakes_have_a_line_each(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        share_of(text, {})


@pytest.mark.parametrize(
    ("array", "tasks"),
    [("0-3", [0, 1, 2, 3]), ("1-3", [1, 2, 3]), ("7", [7]), ("10-30:10", [10, 20, 30]), ("0-9:4", [0, 4, 8])],
)
def test_tasks_of_an_array_are_the_parts_wherever_it_begins(array: str, tasks: list[int]) -> None:
    shares = [share_of("slurm", slurm(task, tasks[0], tasks[-1], len(tasks))) for task in tasks]
    assert shares == [Share((i,), len(tasks)) for i in range(len(tasks))], array


@pytest.mark.parametrize(("tasks", "parts"), [(4, 10), (3, 3), (7, 5), (1000, 5000)])
def test_an_array_takes_more_parts_than_it_has_tasks(tasks: int, parts: int) -> None:
    shares = [share_of(f"slurm/{parts}", slurm(task, 1, tasks, tasks)) for task in range(1, tasks + 1)]
    assert sorted(number for share in shares for number in share.numbers) == list(range(parts))
    sizes = [len(share.numbers) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("task", "tasks"), [(2, (1, 2, 7)), (4, (1, 2, 4, 7)), (1, (1, 2, 3, 8)), (8, (1, 2, 3, 8))])
def test_a_task_of_a_list_is_not_guessed(task: int, tasks: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match=rf"is a list \(task {task} of .* Use a range"):
        share_of("slurm", slurm(task, tasks[0], tasks[-1], len(tasks)))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "no task of a job array. Submit with `sbatch --array=0-99`"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MIN is ''"),
        (slurm("x", 0, 3, 4), "SLURM_ARRAY_TASK_ID is 'x'"),
        (slurm(9, 0, 3, 4), "does not say which one"),
        (slurm(0, 0, 3, 0), "does not say which one"),
    ],
)
def test_an_environment_that_is_no_array_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(PlanError, match=re.escape(said)):
        share_of("slurm", environ)


@pytest.mark.parametrize("text", ["slurm/", "slurm/x", "slurm/0", "slurm/3/4"])
def test_a_launcher_with_no_number_of_parts_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="--part"):
        share_of(text, slurm(0, 0, 3, 4))


def test_numbers_are_spelled_as_they_are_read() -> None:
    for numbers in ([0], [0, 1], [0, 2, 3, 4, 8], list(range(50))):
        assert share_of(f"{spelled(numbers)}/50", {}) == Share(tuple(numbers), 50)
    assert str(Share((0, 1, 2, 7), 9)) == "0-2,7/9"


def listing(sizes: list[int]) -> list[Shard]:
    return sorted(Shard(path=f"{i:05d}.tar", size=size) for i, size in enumerate(sizes))


@pytest.mark.parametrize("parts", [1, 3, 10, 100])
def test_every_shard_has_one_part_in_any_order_of_the_listing(parts: int) -> None:
    sizes = random.Random(parts)
    shards = listing([sizes.randrange(1 << 30) for _ in range(57)])
    shuffled = sizes.sample(shards, len(shards))
    found = [shards_of(shards, Share((part,), parts)) for part in range(parts)]
    assert sorted(shard for some in found for shard in some) == shards
    assert [set(shards_of(shuffled, Share((part,), parts))) for part in range(parts)] == [set(some) for some in found]


def test_parts_have_about_as_many_bytes() -> None:
    sizes = random.Random(0)
    shards = listing([int(sizes.lognormvariate(18, 1)) for _ in range(1000)])
    loads = Counter[int]()
    for shard, part in part_of_each(shards, 16).items():
        loads[part] += shard.size
    assert max(loads.values()) <= 4 / 3 * sum(loads.values()) / 16


def test_a_part_of_a_file_counts_as_much_as_it_is() -> None:
    big = [Shard(path="a.parquet", first=i, extent=1, size=4000) for i in range(4)]
    part = part_of_each([*big, *(Shard(path=f"b{i}", size=1000) for i in range(4))], 2)
    assert Counter(part.values()) == {0: 4, 1: 4}


def test_files_of_no_bytes_are_spread_too() -> None:
    assert Counter(part_of_each(listing([0] * 12), 4).values()) == dict.fromkeys(range(4), 3)

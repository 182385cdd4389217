"""How an export is cut into files."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow.export.parts import ShardExtract, plan_parts
from poolsieve.dataflow.pools.shards import Shard


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("xyz"))),
    st.integers(1, 120),
)
def test_plan_takes_every_input_once_in_order(items: list[tuple[int, str, str, str]], target: int) -> None:
    inputs = [
        ShardExtract(shard=Shard(path=f"{i:04d}"), rows=1, nbytes=size, schema=schema, first_key=first, last_key=last)
        for i, (size, schema, first, last) in enumerate(items)
    ]
    parts = plan_parts(inputs, target, lambda i, n, folder, path: f"{folder}/{i}-of-{n}.{path}")
    schemas = list(dict.fromkeys(item.schema for item in inputs))
    assert [item for part in parts for item in part.inputs] == sorted(inputs, key=lambda x: schemas.index(x.schema))
    for k, schema in enumerate(schemas, 1):
        mine = [part for part in parts if part.inputs[0].schema == schema]
        folder = "data" if k == 1 else f"data-{k}"
        assert [part.name for part in mine] == [
            f"{folder}/{i}-of-{len(mine)}.{part.inputs[0].shard.path}" for i, part in enumerate(mine)
        ]
    for part in parts:
        assert len({item.schema for item in part.inputs}) == 1
        assert sum(item.nbytes for item in part.inputs[:-1]) < target
        assert all(a.last_key != b.first_key for a, b in zip(part.inputs, part.inputs[1:], strict=False))
    for before, after in itertools.pairwise(parts):
        full = sum(item.nbytes for item in before.inputs) >= target
        last, first = before.inputs[-1], after.inputs[0]
        assert full or last.schema != first.schema or last.last_key == first.first_key

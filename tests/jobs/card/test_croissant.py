"""Croissant: valid by the real `mlcroissant`, which reads the rows by it, and true."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import poolsieve
from poolsieve.dataflow.publish.contents import HubFile, Item, Parent, Subject
from poolsieve.jobs.card.croissant import MOST_FILES, croissant, license_url
from poolsieve.jobs.card.croissant_fields import fields_of
from tests.jobs.card.subjects import URL, subject_of

RECOMMENDED = "citeAs"
"""The only thing that `mlcroissant` may miss: nobody said how the dataset is cited."""


def checked(subject: Subject, **more: Any) -> tuple[Any, dict[str, Any]]:
    """As `mlcroissant` reads it, without an error, and as it is."""
    import mlcroissant

    made = json.loads(croissant(subject))
    found = mlcroissant.Dataset(json.loads(croissant(subject)), **more)
    issues = found.metadata.ctx.issues
    assert not issues.errors and all(RECOMMENDED in str(one) for one in issues.warnings)
    return found, made


def test_it_is_croissant_1_1(subject: Subject) -> None:
    found, made = checked(subject)
    assert str(found.metadata.ctx.conforms_to.value) == "http://mlcommons.org/croissant/1.1" == made["conformsTo"]
    assert made["license"] == "https://spdx.org/licenses/CC-BY-4.0" and made["datePublished"] == "2026-11-29"
    assert made["version"] == f"1.0.0+{subject.run.decision}" and made["url"] == URL
    assert made["creator"] == {"@type": "sc:Organization", "name": "curators", "url": "https://huggingface.co/curators"}
    assert made["@context"]["prov"] == "http://www.w3.org/ns/prov#"
    assert croissant(subject) == croissant(subject)


def test_its_records_are_the_rows(subject: Subject) -> None:
    found, _ = checked(subject, mapping={"repo": subject.index.target})
    records = list(found.records("default"))
    ledger = subject.run.ledger(["uid", "keep"]).filter(pa.compute.field("keep"))
    assert [one["default/uid"].decode() for one in records] == ledger["uid"].to_pylist()
    first = records[0]
    assert first["default/image"].size == (8, 8) and isinstance(first["default/clip"], float)
    assert all(set(one["default/tags"]) <= {b"a", b"b"} for one in records)
    assert first["default/size"]["default/size/height"] == 8


def test_every_file_can_be_checked(subject: Subject) -> None:
    _, made = checked(subject)
    files = {one["@id"]: one for one in made["distribution"] if one["@type"] == "cr:FileObject"}
    for item in subject.tables[0].items:
        one = files[item.path]
        assert one["sha256"] == item.sha256 and one["contentSize"] == f"{item.size} B"
        # Of the commit that this file is of, whichever that is: it can't name it.
        assert one["contentUrl"] == item.path and one["containedIn"] == {"@id": "repo"}
    sets = [one for one in made["distribution"] if one["@type"] == "cr:FileSet"]
    assert [one["includes"] for one in sets] == ["data/train-*"]


@pytest.mark.parametrize(
    ("revision", "url"), [("main", URL), ("refs/pr/3", URL), ("v2", f"{URL}/tree/v2"), ("a/b", f"{URL}/tree/a%2Fb")]
)
def test_the_repository_is_named_at_its_branch(subject: Subject, revision: str, url: str) -> None:
    _, made = checked(dataclasses.replace(subject, revision=revision))
    assert made["distribution"][0]["contentUrl"] == url
    assert not any("/resolve/" in str(one.get("contentUrl")) for one in made["distribution"])


@pytest.mark.parametrize("kind", ["jsonl", "tars"])
def test_files_without_a_schema_are_described_too(kind: str, request: pytest.FixtureRequest) -> None:
    subject = subject_of(request.getfixturevalue(f"{kind}_run"))
    _, made = checked(subject)
    types = {"jsonl": ["application/jsonlines", "application/zstd"], "tars": "application/x-tar"}
    assert made["recordSet"] == [] and made["distribution"][1]["encodingFormat"] == types[kind]
    for item in subject.others:
        assert any(one["@id"] == item.path and one["sha256"] == item.sha256 for one in made["distribution"])


def test_where_it_is_from(subject: Subject, parquet_run: poolsieve.Run) -> None:
    parent = Parent(repo="crawlers/raw", commit="b2" * 20, license="mit")
    found, made = checked(dataclasses.replace(subject, parents=(parent,)))
    origin = made["prov:wasDerivedFrom"]
    assert [one["@id"] for one in origin] == [f"https://huggingface.co/datasets/crawlers/raw/tree/{'b2' * 20}"]
    assert origin[0]["license"] == "https://spdx.org/licenses/MIT"
    activity = made["prov:wasGeneratedBy"]
    assert activity["prov:startedAtTime"] == "2026-11-28T10:00:00Z"
    assert activity["prov:endedAtTime"] == "2026-11-28T11:30:00Z"
    assert activity["@id"].endswith(parquet_run.decision)
    version = dict(parquet_run.summary.facts.versions)["poolsieve"]  # type: ignore[union-attr]
    assert activity["prov:wasAssociatedWith"]["prov:label"] == f"poolsieve {version}"
    assert activity["prov:used"][0]["prov:value"] == parquet_run.manifest.source.text  # type: ignore[union-attr]
    # `mlcroissant` carries it along.
    assert {"prov:wasDerivedFrom", "prov:wasGeneratedBy"} <= found.metadata.to_json().keys()


def test_a_pool_from_elsewhere_is_named_by_its_listing(subject: Subject) -> None:
    _, made = checked(dataclasses.replace(subject, started=None, ended=None))
    (origin,) = made["prov:wasDerivedFrom"]
    assert origin["@id"] == f"urn:poolsieve:pool:{subject.run.manifest.pool.id}"
    assert origin["prov:label"] == ".../pool/*.parquet"
    assert "prov:startedAtTime" not in made["prov:wasGeneratedBy"]


def test_a_file_that_was_copied_says_from_where(subject: Subject) -> None:
    item = Item(
        path="data/train-00000-of-00001.parquet",
        size=1,
        sha256="0" * 64,
        source="",
        rows=1,
        copy_of=HubFile(repo="a/b", commit="c" * 40, path="x y.parquet"),
    )
    table = dataclasses.replace(subject.tables[0], items=(item,))
    _, made = checked(dataclasses.replace(subject, tables=(table,)))
    assert made["distribution"][2]["prov:wasDerivedFrom"] == {
        "@id": f"https://huggingface.co/datasets/a/b/resolve/{'c' * 40}/x%20y.parquet"
    }


def test_a_large_dataset_stays_small(subject: Subject) -> None:
    many = tuple(
        Item(path=f"data/train-{i:05d}-of-03000.parquet", size=i, sha256=f"{i:064x}", source="", rows=1)
        for i in range(3000)
    )
    made = json.loads(
        croissant(dataclasses.replace(subject, tables=(dataclasses.replace(subject.tables[0], items=many),)))
    )
    assert len(made["distribution"]) == MOST_FILES + 2


def test_columns_of_every_type() -> None:
    schema = pa.schema(
        [
            ("b", pa.bool_()),
            ("day", pa.date32()),
            ("at", pa.timestamp("us")),
            ("time", pa.time64("us")),
            ("d", pa.decimal128(5, 2)),
            ("bytes", pa.binary()),
            ("k", pa.dictionary(pa.int32(), pa.string())),
            ("nested", pa.list_(pa.list_(pa.float64()))),
            ("records", pa.list_(pa.struct([("x", pa.int8())]))),
            ("m", pa.map_(pa.string(), pa.int64())),
            ("s", pa.struct([("parent", pa.int8())])),
            ("a b/ü", pa.string()),
            ("twice", pa.string()),
            ("twice", pa.string()),
        ]
    )
    fields, left_out = fields_of(schema, "default", "default-files")
    kinds = {one["name"]: one.get("dataType") for one in fields}
    assert kinds == {
        "b": "sc:Boolean",
        "day": "sc:Date",
        "at": "sc:DateTime",
        "time": "sc:Time",
        "d": "sc:Float",
        "bytes": "sc:Text",
        "k": "sc:Text",
        "nested": "sc:Float",
        "records": None,
        "a b/ü": "sc:Text",
    }
    assert left_out == ["m", "s", "twice", "twice"]
    assert next(one for one in fields if one["name"] == "nested")["arrayShape"] == "-1,-1"
    assert next(one for one in fields if one["name"] == "a b/ü")["@id"] == "default/column-11"


@pytest.mark.parametrize("names", [["a b", "%20", "a%20b", "../x", "ü", "", "a\nb", "x" * 300, "@id", ".a"]])
def test_hostile_columns_are_valid(names: list[str], subject: Subject) -> None:
    schema = pa.schema([(name, pa.string()) for name in names])
    found, made = checked(dataclasses.replace(subject, tables=(dataclasses.replace(subject.tables[0], schema=schema),)))
    assert [one["source"]["extract"]["column"] for one in made["recordSet"][0]["field"]] == [
        name for name in names if name
    ]
    assert len(found.metadata.record_sets[0].fields) == len(names) - 1  # one without a name is left out


def test_licenses() -> None:
    assert license_url("apache-2.0") == "https://spdx.org/licenses/Apache-2.0"
    assert license_url("openrail") == "openrail" and license_url("mit or apache-2.0") == "mit or apache-2.0"


def test_output_is_utf_8_whatever_the_recipe_holds(jsonl_run: poolsieve.Run, tmp_path: Path) -> None:
    subject = subject_of(jsonl_run, license="")
    made = json.loads(croissant(subject))
    assert "license" not in made
    assert made["prov:wasGeneratedBy"]["prov:used"][0]["prov:value"].startswith("Pool(")

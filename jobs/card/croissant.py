"""`croissant.json`: the dataset as Croissant 1.1 describes one, with where it is from and how it was made.

Sources: the Croissant Format Specification 1.1 (mlcommons/croissant, `docs/croissant-spec-1.1.md`: required properties,
distribution, record sets, provenance by W3C PROV-O); for the Git repository and the sets of files in it what the Hub
itself writes. Each file has its checksum and size; the Parquet columns that Croissant can express are fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from poolsieve.dataflow.publish.contents import Item, Parent, Subject, Table
from poolsieve.jobs.card.body import hub_url
from poolsieve.jobs.card.croissant_fields import fields_of
from poolsieve.jobs.card.markdown import one_line, quoted
from poolsieve.jobs.card.metadata import TAGS, methods
from poolsieve.jobs.card.recipe_text import public_url, recipe_files
from poolsieve.jobs.report.data import facts_of
from poolsieve.scoring_models.base.config import JsonObject

MOST_FILES = 2000
"""Most files that are described one by one, with a checksum. `_export.json` and the repository have all of them."""

_REPOSITORY = "repo"
_NO_CHECKSUM = "https://github.com/mlcommons/croissant/issues/80"
"""What the Hub writes for a Git repository, which is no file: readers ask for some `sha256` of every `FileObject`."""

_CONTEXT: JsonObject = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "excludes": "cr:excludes",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "readLines": "cr:readLines",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "sdVersion": "cr:sdVersion",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    "unArchive": "cr:unArchive",
    "value": "cr:value",
}
"""The context of the specification's appendix 1, with `prov`, and the further names that mlcroissant 1.1 asks for. As
the Hub and mlcroissant have it, schema.org is https."""

_MEDIA_TYPES = {
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
    ".json": "application/json",
    ".png": "image/png",
    ".md": "text/markdown",
    ".txt": "text/plain",
}
_PACKED = {".zst": "application/zstd", ".gz": "application/gzip"}


def croissant(subject: Subject) -> bytes:
    """`croissant.json`: UTF-8, indented, one line end. The same subject gives the same bytes.

    Raises:
        PlanError: for a decision of an older version, of which nothing was noted.
        PoolsieveError: for a summary that can't be.
    """
    facts = facts_of(subject.run.url, subject.run.summary)
    owner, _, name = subject.repo.rpartition("/")
    made: JsonObject = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": _description(subject),
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        **({"license": license_url(subject.license)} if subject.license else {}),
        "url": subject.url,
        "creator": {"@type": "sc:Organization", "name": owner or name, "url": f"{hub_url(subject)}/{quoted(owner)}"},
        "datePublished": subject.published.isoformat(),
        # The decision is no version that can be compared; semantic versioning has the part after `+` for such.
        "version": f"1.0.0+{subject.run.decision}",
        "keywords": [*TAGS, *methods(facts)],
        "distribution": [*_sets(subject), *_files(subject)],
        "recordSet": [found for table in subject.tables if (found := _records(table)) is not None],
        "prov:wasDerivedFrom": _origins(subject),
        "prov:wasGeneratedBy": _activity(subject, dict(facts.versions).get("poolsieve", "")),
    }
    text = json.dumps(made, indent=1, ensure_ascii=False)
    return (text + "\n").encode("utf-8", "replace")


def _description(subject: Subject) -> str:
    counts = subject.run.counts
    said = f"{subject.index.rows:,} rows, chosen by poolsieve from a pool of {counts.rows_in:,}"
    if subject.parents:
        said += f" ({', '.join(one.repo for one in subject.parents)})"
    times = " and repeated" if counts.repeated else ""
    left = f"{counts.dropped:,} dropped, {counts.quarantined:,} not readable or not scored"
    return f"{said}: {counts.kept:,} kept{times}, {left}."


def license_url(license: str) -> str:
    """A license as the Hub spells it, as the page of SPDX where SPDX knows it.

    >>> license_url("cc-by-4.0"), license_url("other")
    ('https://spdx.org/licenses/CC-BY-4.0', 'other')
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        known = canonicalize_license_expression(license)
    except InvalidLicenseExpression:
        return license
    return license if " " in known else f"https://spdx.org/licenses/{known}"


def _sets(subject: Subject) -> Iterator[JsonObject]:
    """The repository, and a set of files in it for each table."""
    yield {
        "@type": "cr:FileObject",
        "@id": _REPOSITORY,
        "name": _REPOSITORY,
        "description": "The Git repository of the dataset on the Hugging Face Hub, at the commit of this file.",
        "contentUrl": _repository_url(subject),
        "encodingFormat": "git+https",
        "sha256": _NO_CHECKSUM,
    }
    for table in subject.tables:
        yield {
            "@type": "cr:FileSet",
            "@id": _set_id(table),
            "name": _set_id(table),
            "description": f"Configuration {one_line(table.name)}: {len(table.items):,} files, {table.rows:,} rows.",
            "containedIn": {"@id": _REPOSITORY},
            "encodingFormat": _media_types(table.items[0].path if table.items else table.pattern),
            "includes": table.pattern,
        }


def _repository_url(subject: Subject) -> str:
    """The repository at the branch that was asked for; that of pull requests is to become main.

    A commit's hash covers this file, which so can't name it: files stand here by their paths in the repository, and
    are those beside this file, at whatever commit or tag it is read.
    """
    is_main = subject.revision == "main" or subject.revision.startswith("refs/")
    return subject.url if is_main else f"{subject.url}/tree/{quoted(subject.revision, safe='')}"


def _set_id(table: Table) -> str:
    return f"{quoted(table.name, safe='')}-files"


def _files(subject: Subject) -> Iterator[JsonObject]:
    """Each file by itself, with what it takes to check it."""
    items = [*(item for table in subject.tables for item in table.items), *subject.others]
    for item in items[:MOST_FILES]:
        yield _file(subject, item)


def _file(subject: Subject, item: Item) -> JsonObject:
    path = quoted(item.path)
    made: JsonObject = {
        "@type": "cr:FileObject",
        "@id": path,
        "name": item.path,
        # Within a container it is "a relative path within the container object" (specification, `containedIn`).
        "contentUrl": item.path,
        "containedIn": {"@id": _REPOSITORY},
        "contentSize": f"{item.size} B",
        "encodingFormat": _media_types(item.path),
        "sha256": item.sha256,
    }
    if item.copy_of is not None:
        made["prov:wasDerivedFrom"] = {
            "@id": f"{hub_url(subject)}/datasets/{quoted(item.copy_of.repo)}/resolve/"
            f"{quoted(item.copy_of.commit)}/{quoted(item.copy_of.path)}"
        }
    return made


def _media_types(path: str) -> str | list[str]:
    """By a name's ending; a packed file has two."""
    packed = [kind for ending, kind in _PACKED.items() if path.endswith(ending)]
    bare = path.rpartition(".")[0] if packed else path
    own = [kind for ending, kind in _MEDIA_TYPES.items() if bare.endswith(ending)]
    found = [*own, *packed] or ["application/octet-stream"]
    return found[0] if len(found) == 1 else found


def _records(table: Table) -> JsonObject | None:
    """The record set of a table; None where no column can be told.

    Croissant's readers know columns of Parquet: not the parts of samples in tars, nor lines that are packed by zstd.
    """
    if table.schema is None or table.format != "parquet":
        return None
    name = quoted(table.name, safe="")
    fields, left_out = fields_of(table.schema, name, _set_id(table))
    if not fields:
        return None
    said = f"The {table.rows:,} rows of the configuration {table.name}."
    if left_out:
        said += f" Without {len(left_out)} columns of types that Croissant has not: {', '.join(left_out[:20])}."
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": one_line(said, 2000), "field": fields}


def _origins(subject: Subject) -> list[JsonObject]:
    """The datasets that the pool is, at their commits; else the pool by the hash of its listing."""
    if subject.parents:
        return [_origin(subject, one) for one in subject.parents]
    pool = subject.run.manifest.pool
    urls = [*pool.urls, *(url for part in pool.parts.values() for url in part.urls)]
    return [
        {
            "@type": "prov:Entity",
            "@id": f"urn:poolsieve:pool:{quoted(pool.id)}",
            "prov:label": ", ".join(public_url(url) for url in urls[:20]),
        }
    ]


def _origin(subject: Subject, parent: Parent) -> JsonObject:
    return {
        "@type": "prov:Entity",
        "@id": f"{hub_url(subject)}/datasets/{quoted(parent.repo)}/tree/{quoted(parent.commit)}",
        "prov:label": parent.repo,
        "version": parent.commit,
        **({"license": license_url(parent.license)} if parent.license else {}),
    }


def _activity(subject: Subject, version: str) -> JsonObject:
    """The run: when, by what, with which recipe."""
    texts = [
        {"@type": "prov:Plan", "prov:label": file.name or "recipe made in Python", "prov:value": file.text}
        for file in recipe_files(subject.run.manifest)
    ]
    times = (("prov:startedAtTime", subject.started), ("prov:endedAtTime", subject.ended))
    return {
        "@type": "prov:Activity",
        "@id": f"urn:poolsieve:decision:{subject.run.decision}",
        "prov:label": f"poolsieve decision {subject.run.decision}",
        **{key: _utc(time) for key, time in times if time is not None},
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "@id": f"https://pypi.org/project/poolsieve/{quoted(version)}",
            "prov:label": f"poolsieve {version}".strip(),
        },
        "prov:used": texts,
    }


def _utc(time: datetime) -> str:
    return time.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"

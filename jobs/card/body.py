"""The card's body: what the report knows of the decision, and the export's files, as Markdown.

Figures come from `report.data`, which takes them from the decision's summary. Here they are put into sentences; the
template escapes whatever is no number and not escaped yet (`markdown`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.publish.contents import SPLIT, Parent, Subject, Table
from poolsieve.dataflow.store.summary import Facts, LimitFacts
from poolsieve.jobs.card.markdown import Markdown, cell, code, fenced, one_line, prose, quoted
from poolsieve.jobs.card.metadata import features_of
from poolsieve.jobs.card.pictures import shown
from poolsieve.jobs.card.recipe_text import command, file_name, public_url, recipe_files
from poolsieve.jobs.report.data import ReportData, facts_of, report_data
from poolsieve.jobs.report.histograms import SIGNS
from poolsieve.jobs.report.numbers import count_text, rows_text, score_text, share_text, size_text
from poolsieve.scoring_models.base.config import JsonObject

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_LINES = 100
"""Most lines of a table; a line below it says how many more there are, and where."""

_VARIABLE = re.compile(r"\W+")

_LEDGER = {
    "path": "the row's file in the pool",
    "row": "the row's position in it, from 0",
    "uid": "the row's uid",
    "keep": "whether the row is kept",
    "reason": "why it is not",
}


_OF_SAMPLES = {"__key__": "the sample's name in its tar", "__url__": "the tar"}
"""Columns that `datasets` adds to samples in tars."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A line of the table of columns."""

    name: str
    kind: str
    origin: Markdown


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A comparison with a plain number."""

    score: str
    sign: str
    limit: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """A scorer with model files: its class, the name and revision that the recipe has, and SHA-256 by file."""

    score: str
    kind: str
    name: str
    revision: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture: where it is, and what it shows."""

    path: str
    words: str


def body(subject: Subject) -> str:
    """The card between its marks.

    Raises:
        PlanError: for a decision of an older version, of which nothing was noted.
        PoolsieveError: for a summary that can't be.
    """
    run = subject.run
    facts, data = facts_of(run.url, run.summary), report_data(run.url, run.summary, samples=False)
    drawn, undrawn = shown(run) if subject.pictures else ([], [])
    text = (
        environment()
        .get_template("card.md.j2")
        .render(
            subject=subject,
            index=subject.index,
            data=data,
            most=MOST_LINES,
            whence=_whence(subject, data),
            parents=[_parent(subject, one) for one in subject.parents],
            pool_urls=[public_url(url) for url in _urls(facts)],
            files=recipe_files(run.manifest),
            recipe_name=file_name(facts.source.path) if facts.source else "recipe.py",
            command=command(run.manifest, subject.index, bool(data.frozen)),
            tables=[(table, columns_of(table, subject, facts)) for table in subject.tables],
            roles=_roles(subject, facts),
            limits=[_limit(one) for one in facts.limits],
            images=[Image(path=path, words=words) for path, words in subject.pictures.items()],
            undrawn=[one for one in undrawn if drawn],
            funnel=[line for line in data.funnel if line.kind in ("read", "rule") or line.quarantined],
            cuts=[(cut, group) for cut in data.cuts for group in cut.groups],
            grouped=any(cut.by for cut in data.cuts),
            loading=_loading(subject),
            models=_models(run.manifest.recipe, data.models),
        )
    )
    return str(text).strip() + "\n"


def environment() -> Environment:
    """Templates of Markdown: what is not escaped is escaped as it is written, and a missing name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701  (Markdown: `finalize` escapes)
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_escaped,
    )
    made.filters.update(code=code, cell=cell, say=prose, fenced=fenced, path=_path, alt=_alt)
    made.filters.update(literal=Markdown, summary=_summary, version=_version)
    made.filters.update({name: _figure(made_by) for name, made_by in _FIGURES.items()})
    return made


def _escaped(value: Any) -> Any:
    return value if isinstance(value, (int, Markdown)) else prose(value)


_FIGURES = {"rows": rows_text, "count": count_text, "share": share_text, "size": size_text, "score": score_text}


def _figure(made_by: Any) -> Any:
    """A filter of numbers, whose text is ours: `< 0.01 %`."""
    return lambda value: Markdown(made_by(value).replace("<", "&lt;")) if not isinstance(value, str) else cell(value)


def _path(path: str) -> Markdown:
    """A path in the repository, or a URL, as a link's target."""
    return Markdown(quoted(path, safe="/:"))


def _alt(words: str) -> Markdown:
    """What an image shows: of the characters that could end it, or begin another, none."""
    kept = "".join(
        char if char.isalnum() or char in " .,;:%()<>=+-_≤≥≠\u00a0" else " " for char in one_line(words, 400)
    )
    return Markdown(kept.replace("<", "&lt;").replace(">", "&gt;").replace("_", "\\_"))


def _summary(text: str) -> Markdown:
    """A file's name in HTML: `recipe_files` leaves it letters, digits, dots, lines and dashes alone."""
    return Markdown(f"<code>{text}</code>")


def _version(text: str) -> Markdown:
    """A version within a code span."""
    return Markdown("".join(char for char in text if char.isalnum() or char in ".+!-"))


def _urls(facts: Facts) -> list[str]:
    return [*facts.pool.urls, *(url for part in facts.pool.parts.values() for url in part.urls)]


def hub_url(subject: Subject) -> str:
    """The Hub that the dataset is on, without a slash at the end."""
    return subject.url.rstrip("/").removesuffix(subject.repo).rstrip("/").removesuffix("/datasets")


def _parent(subject: Subject, parent: Parent) -> Markdown:
    """`[org/name](url) at commit abc`."""
    page = f"{hub_url(subject)}/datasets/{quoted(parent.repo)}/tree/{quoted(parent.commit)}"
    license = f" (license {code(parent.license)})" if parent.license else ""
    return Markdown(f"[{code(parent.repo)}]({page}) at commit {code(parent.commit[:12])}{license}")


def _whence(subject: Subject, data: ReportData) -> Markdown:
    """`a pool of 600 rows in 3 shards of Parquet`, or the datasets of the Hub that it is."""
    if subject.parents:
        few = [str(_parent(subject, one)) for one in subject.parents[:3]]
        more = [f"{len(subject.parents) - 3:,} more"] if len(subject.parents) > 3 else []
        return Markdown(_listed([*few, *more]))
    kind = subject.run.manifest.pool.kind
    title = FORMATS[kind].title if kind in FORMATS else "several pools"
    return Markdown(f"a pool in {title}, read in {data.shards:,} shard{'s' if data.shards != 1 else ''}")


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _limit(part: LimitFacts) -> Limit:
    """All digits, as `repr` has them; a whole number without its zero."""
    return Limit(score=part.score, sign=SIGNS[part.op], limit=repr(part.limit).removesuffix(".0"))


def _loading(subject: Subject) -> str:
    """Python that loads each table."""
    lines = ["from datasets import load_dataset", ""]
    for table in subject.tables:
        name = "data" if table.name == "default" else _VARIABLE.sub("_", f"data_{table.name}")
        named = "" if table.name == "default" else f", {json.dumps(table.name)}"
        split = f"split={json.dumps(SPLIT)}"
        lines.append(f"{name} = load_dataset({json.dumps(subject.repo)}{named}, {split})  # {table.rows:,} rows")
    return "\n".join(lines)


def columns_of(table: Table, subject: Subject, facts: Facts) -> list[Column]:
    """The columns of a table; none where only a loader finds them."""
    if table.schema is None:
        return []
    features = features_of(table.schema) or {}
    exported = {record.name for record in subject.index.files}
    own = any(item.path in exported for item in table.items)
    return [
        Column(
            name=field.name,
            kind=_kind(features.get(field.name), field),
            origin=_origin(field.name, subject, facts, own),
        )
        for field in table.schema
    ]


def _kind(feature: Any, field: pa.Field) -> str:
    """What `datasets` makes of it: `string`, `image`; Arrow's name of a type that is no single value."""
    name = type(feature).__name__
    return name.lower() if name in ("Image", "Audio", "Video", "Pdf") else str(getattr(feature, "dtype", field.type))


def _origin(name: str, subject: Subject, facts: Facts, exported: bool) -> Markdown:
    if not exported:
        return prose(_LEDGER.get(name, "a score of the recipe"))
    edited = (subject.index.columns or {}).get(name)
    if edited is not None:
        by = ", ".join(cell(str(editor.get("type", "an editor"))) for editor in reversed(edited.editors))
        return Markdown(f"the pool's role {cell(edited.role)}, edited by {by}")
    if name in subject.index.scores:
        return Markdown("a score of the recipe")
    if name in _OF_SAMPLES and subject.index.format == "webdataset":
        return Markdown(_OF_SAMPLES[name])
    inside = (f"{name}.", f"{name}:")
    roles = [role for role, source in facts.pool.roles if source == name or source.startswith(inside)]
    return Markdown("the pool" + (f", as role {', '.join(cell(role) for role in roles)}" if roles else ""))


def _roles(subject: Subject, facts: Facts) -> list[tuple[str, str, str]]:
    """Role, type and source of what copied rows hold, for formats whose files have no schema."""
    if subject.index.format != facts.pool.kind or any(table.schema is not None for table in subject.tables):
        return []
    types = subject.run.manifest.role_types
    return [(role, types.get(role, ""), source) for role, source in facts.pool.roles]


def _models(recipe: JsonObject, files: Mapping[str, Mapping[str, str]]) -> list[Model]:
    made = dict(_scorers(recipe.get("stages")))
    return [_model(score, made.get(score, {}), hashes) for score, hashes in files.items()]


def _model(score: str, config: JsonObject, hashes: Mapping[str, str]) -> Model:
    name, revision = (config.get(key) for key in ("model", "revision"))
    return Model(
        score=score,
        kind=str(config.get("type", "")),
        name=name if isinstance(name, str) else "",
        revision=revision if isinstance(revision, str) else "",
        files=tuple(sorted(hashes.items())),
    )


def _scorers(stages: Any) -> Iterator[tuple[str, JsonObject]]:
    """Score -> its scorer's configuration, as the manifest has it; what is of another form is passed over."""
    for stage in stages if isinstance(stages, list) else ():
        scorers = stage.get("scorers") if isinstance(stage, dict) else None
        for name, config in scorers.items() if isinstance(scorers, dict) else ():
            if isinstance(config, dict):
                yield name, config

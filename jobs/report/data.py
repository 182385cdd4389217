"""Everything that a report says, as one typed record: `report.json` holds it, the page shows it."""

from __future__ import annotations

import datetime
import json
import os

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.manifest import ByteCounts, RowCounts, TokenCounts
from poolsieve.dataflow.store.summary import Facts, Summary, dumps
from poolsieve.jobs.report.cuts import CutReport, cut_reports
from poolsieve.jobs.report.duplicates import Duplicated, Finder, duplicates_of, without_images
from poolsieve.jobs.report.funnel import FunnelStep, ReasonLine, funnel_steps, reason_lines
from poolsieve.jobs.report.histograms import Histogram, score_histograms
from poolsieve.jobs.report.payloads import Fetched, look_up
from poolsieve.jobs.report.samples import Samples, report_samples
from poolsieve.jobs.report.suites import Suites, suites_of
from poolsieve.jobs.report.throughput import Throughput, throughput_of
from poolsieve.jobs.report.truth import Truth, truth_of
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError


class PoolLine(msgspec.Struct, kw_only=True, frozen=True):
    """The pool: its folder, the hash of its listing, and where each role is read from."""

    root: str
    id: str
    roles: dict[str, str]


class SourceLine(msgspec.Struct, kw_only=True, frozen=True):
    """The recipe file, and the parameters that it was called with."""

    path: str
    parameters: dict[str, str]


class ReportData(msgspec.Struct, kw_only=True, frozen=True):
    """What a report says of a decision.

    Attributes:
        format: of `report.json`.
        made: when the report was made.
        tokens: None without a score that counts them.
        shards: how many the pool has.
        suites: what is known of panels of models.
        duplicates: what `dedup.*` found.
        samples: None where rows are not to be shown.
        truth: None where it is not known which rows are good.
        gaps: names of the pool's range that have no file.
        frozen: cuts that were given and not searched for.
        recipe: as `Recipe.to_dict` has it.
        source: None for a recipe that was made in Python.
        fingerprints: score -> fingerprint.
        models: scorer -> model file -> SHA-256.
        versions: of what the ledger depends on.
    """

    format: int = 1
    decision: str
    out: str
    made: str
    rows: RowCounts
    bytes: ByteCounts
    tokens: TokenCounts | None
    shards: int
    funnel: list[FunnelStep]
    reasons: list[ReasonLine]
    cuts: list[CutReport]
    suites: Suites
    duplicates: list[Duplicated]
    histograms: list[Histogram]
    throughput: Throughput
    samples: Samples | None
    truth: Truth | None
    gaps: list[str]
    frozen: list[str]
    recipe: JsonObject
    source: SourceLine | None
    pool: PoolLine
    fingerprints: dict[str, str]
    models: dict[str, dict[str, str]]
    versions: dict[str, str]


def report_data(
    out: str,
    summary: Summary,
    *,
    truth: str | os.PathLike[str] | None = None,
    samples: bool = True,
    storage_options: fs.StorageOptions | None = None,
) -> ReportData:
    """Collects it. Thumbnails are data URIs. Arguments and errors as for `page.write_report`."""
    facts = facts_of(out, summary)
    finder = Finder(summary, facts) if samples else None
    found = look_up(out, summary, facts, storage_options=storage_options, find=finder) if samples else Fetched()
    return ReportData(
        decision=summary.decision,
        out=out,
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rows=RowCounts.of(summary),
        bytes=ByteCounts(bytes_in=summary.nbytes, kept=summary.kept_bytes),
        tokens=_tokens(summary),
        shards=summary.shard_count,
        funnel=funnel_steps(facts, summary),
        reasons=reason_lines(summary),
        cuts=cut_reports(facts, summary),
        suites=suites_of(summary),
        duplicates=duplicates_of(facts, summary, finder, found),
        histograms=score_histograms(facts, summary),
        throughput=throughput_of(out, summary, facts),
        samples=report_samples(summary, found) if samples else None,
        truth=truth_of(out, summary.decision, facts, truth) if truth is not None else None,
        gaps=list(facts.gaps),
        frozen=list(summary.frozen),
        recipe=_recipe(facts),
        source=_source(facts),
        pool=PoolLine(root=facts.pool.root, id=facts.pool.id, roles=dict(facts.pool.roles)),
        fingerprints={scorer.name: scorer.fingerprint for scorer in facts.scorers},
        models={scorer.name: dict(scorer.files) for scorer in facts.scorers if scorer.files},
        versions=dict(facts.versions),
    )


def facts_of(out: str, summary: Summary) -> Facts:
    """What was noted of the recipe.

    Raises:
        PlanError: for a decision of an older version, which noted nothing.
    """
    if summary.facts is None:
        raise PlanError(
            f"decision {summary.decision!r} in {out} was made by an older version, which noted nothing for a report. "
            f"`poolsieve decide --out {out}` makes it again, from stored scores"
        )
    return summary.facts


def _recipe(facts: Facts) -> JsonObject:
    try:
        found = json.loads(facts.recipe)
    except (ValueError, RecursionError) as error:
        raise PoolsieveError(f"summary.json is damaged: its recipe is no JSON text ({error})") from error
    if not isinstance(found, dict):
        raise PoolsieveError("summary.json is damaged: its recipe is no JSON object")
    return found


def _tokens(summary: Summary) -> TokenCounts | None:
    if summary.tokens is None or summary.kept_tokens is None:
        return None
    return TokenCounts(counted=summary.tokens, kept=summary.kept_tokens)


def _source(facts: Facts) -> SourceLine | None:
    if facts.source is None:
        return None
    return SourceLine(path=facts.source.path, parameters=dict(facts.source.parameters))


def report_json(data: ReportData) -> bytes:
    """`report.json`: the data without thumbnails, which it has no use for."""
    samples = data.samples.without_images() if data.samples else None
    return dumps(msgspec.structs.replace(data, samples=samples, duplicates=without_images(data.duplicates)))

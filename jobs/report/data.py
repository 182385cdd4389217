"""The report of a decision: every number in `report.json`, and the same numbers in one self-contained HTML file."""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.recipes.program import RuleStep, ScoreStep
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import report_url
from poolsieve.dataflow.store.manifest import versions
from poolsieve.dataflow.store.summary import Summary, dumps
from poolsieve.filters.dsl.expr import Column, Compare
from poolsieve.jobs.report.histograms import chart, rebin
from poolsieve.jobs.report.numbers import harmless, number, rows_text, seconds_text, share, short, size
from poolsieve.jobs.report.samples import samples_data
from poolsieve.jobs.report.truth import truth_data

CHARTS = 40
"""Most histograms on the page; `report.json` has all of them."""

LINES = 12
"""Most cuts of one score that are drawn (a `Top(..., by=...)` may have thousands)."""

READ, WRITE = "read", "write"
"""What work is called that belongs to no step: reading the pool, committing scores."""


def write_report(
    job: Job,
    summary: Summary,
    *,
    gaps: Sequence[str] = (),
    truth: str | None = None,
    samples: bool = True,
) -> str:
    """Writes `report.json` and `report.html` beside the decision; returns the URL of the HTML.

    Args:
        job: what was run.
        summary: of the decision.
        gaps: names of a range that have no file.
        truth: a Parquet file of uid and matches; the report then states precision and recall.
        samples: show rows of the pool; False keeps their contents out of both files.
    """
    data = report_data(job, summary, gaps=gaps, truth=truth, samples=samples)
    fs.write_bytes(report_url(job.out, summary.decision, "json"), dumps(without_images(data)))
    url = report_url(job.out, summary.decision, "html")
    fs.write_bytes(url, render(data).encode("utf-8", "replace"))
    return url


def report_data(
    job: Job,
    summary: Summary,
    *,
    gaps: Sequence[str] = (),
    truth: str | None = None,
    samples: bool = True,
) -> dict[str, Any]:
    """Everything that the report says, as JSON values; thumbnails as data URIs. Arguments as for `write_report`."""
    found = summary.to_json()
    decision = summary.decision
    return {
        "format": 1,
        "decision": decision,
        "out": job.out,
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rows": _rows(found),
        "bytes": {"in": summary.nbytes, "kept": summary.kept_bytes},
        "tokens": _tokens(summary),
        "shards": summary.shard_count,
        "funnel": funnel(job, found),
        "reasons": reasons(found),
        "cuts": cuts(job, found),
        "histograms": histograms(job, found),
        "throughput": _throughput(job, found),
        "samples": samples_data(job, summary) if samples else None,
        "truth": truth_data(job, decision, truth) if truth else None,
        "gaps": list(gaps),
        "frozen": list(summary.frozen),
        **_configuration(job),
    }


def _tokens(summary: Summary) -> dict[str, int] | None:
    if summary.tokens is None or summary.kept_tokens is None:
        return None
    return {"counted": summary.tokens, "kept": summary.kept_tokens}


def _rows(summary: Mapping[str, Any]) -> dict[str, int]:
    return {"in": summary["rows"], **{key: summary[key] for key in ("kept", "dropped", "quarantined")}}


def _configuration(job: Job) -> dict[str, Any]:
    source = {"path": job.source.path, "parameters": dict(job.source.parameters)} if job.source else None
    return {
        "recipe": job.recipe.to_dict(),
        "source": source,
        "pool": {"root": job.files.root, "id": job.pool_id, "roles": dict(job.pool.roles)},
        "fingerprints": dict(job.fingerprints),
        "models": job.model_files(),
        "versions": versions(job.program),
    }


def without_images(value: Any) -> Any:
    """The data without thumbnails, which `report.json` has no use for."""
    if isinstance(value, Mapping):
        return {key: without_images(item) for key, item in value.items() if key != "image"}
    return [without_images(item) for item in value] if isinstance(value, list) else value


def funnel(job: Job, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Reading, then each step: rows in, out, dropped, quarantined, its yield, and the share of the pool left."""
    steps = summary["funnel"]
    total = summary["rows"]
    first = steps[0]["in"] if steps else total
    read = {"step": READ, "in": total, "out": first, "quarantined": total - first, "bytes": summary.get("nbytes")}
    lines = [read, *steps]
    kinds = [READ, *("rule" if isinstance(step, RuleStep) else "score" for step in job.program.steps)]
    return [
        {
            "step": line["step"],
            "kind": kind,
            "in": line["in"],
            "out": line["out"],
            "dropped": line["in"] - line["out"] - line["quarantined"],
            "quarantined": line["quarantined"],
            "yield": line["out"] / line["in"] if line["in"] else None,
            "of_pool": line["out"] / total if total else None,
            "bytes": line.get("bytes"),
            "tokens": line.get("tokens"),
        }
        for line, kind in zip(lines, kinds, strict=False)
    ]


def reasons(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Why rows are not kept, most first."""
    total = max(summary["rows"], 1)
    ordered = sorted(summary["reasons"].items(), key=lambda item: (-item[1], item[0]))
    return [
        {"reason": reason, "rows": rows, "share": rows / total, "quarantined": reason.startswith("quarantine.")}
        for reason, rows in ordered
    ]


def cuts(job: Job, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every cut with its groups; for a frozen one also how it falls on this pool (the drift)."""
    tops = {top.cut: top for top in job.program.tops}
    passed = {line["step"]: line for line in summary["funnel"]}
    out = []
    for name, groups in summary["cuts"].items():
        top, line = tops.get(name), passed.get(name)
        out.append(
            {
                "cut": name,
                "score": top.name if top is not None else None,
                "by": top.by if top is not None else None,
                "frozen": name in summary["frozen"],
                "in": line["in"] if line else None,
                "out": line["out"] if line else None,
                "groups": [{"group": group, **cut, "text": _ties(cut)} for group, cut in groups.items()],
            }
        )
        out[-1]["drift"] = _drift(out[-1], top.rank if top is not None else "")
    return out


def _drift(cut: Mapping[str, Any], rank: str) -> str | None:
    """How a frozen cut falls on this pool, where it falls otherwise than on the pool that it was made on."""
    made = cut["groups"][0] if len(cut["groups"]) == 1 else None
    if not cut["frozen"] or made is None or rank != "alive" or not (cut["in"] and made["competing"]):
        return None
    if (cut["in"], cut["out"]) == (made["competing"], made["k"]):
        return None
    here = cut["out"] / cut["in"]
    return (
        f"Frozen: it keeps {cut['out']:,} of the {cut['in']:,} rows that reached it here ({here:.2%}); "
        f"when it was made, {made['k']:,} of {made['competing']:,} ({made['k'] / made['competing']:.2%})."
    )


def _ties(cut: Mapping[str, Any]) -> str:
    """Which rows at the cut's own value stay, for people."""
    if cut["kind"] == "all":
        return "every row with a score stays"
    if cut["kind"] == "none":
        return "no row stays"
    if cut["include_ties"]:
        return "all rows with this score stay"
    side = "up to and with" if cut["inclusive"] else "before"
    return f"of equal scores those {side} tie hash {cut['tie_hash']} stay"


def histograms(job: Job, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rebinned scores with their cuts and limits: first those that a cut reads, then those with a limit."""
    found = []
    for score, counts in (summary.get("histograms") or {}).items():
        marks = _marks(job, summary, score)
        kind = job.program.types.get(score, pa.float32())
        made = rebin(
            counts, [mark["value"] for mark in marks], whole=pa.types.is_integer(kind), **_side(job, summary, score)
        )
        if made:
            nulls = (summary.get("nulls") or {}).get(score, 0)
            found.append({"score": score, "type": str(kind), "nulls": nulls, "marks": marks, **made})
    order = {"cut": 0, "limit": 1}
    return sorted(found, key=lambda item: min((order[mark["kind"]] for mark in item["marks"]), default=2))


def _side(job: Job, summary: Mapping[str, Any], score: str) -> dict[str, float]:
    """Where the only cut of a score leaves the kept rows; nothing where there are several."""
    tops = [top for top in job.program.tops if top.name == score]
    groups = summary["cuts"].get(tops[0].cut, {}) if len(tops) == 1 else {}
    values = [cut["value"] for cut in groups.values() if cut["value"] is not None]
    return {"high" if tops[0].lowest else "low": float(values[0])} if len(values) == 1 else {}


def _marks(job: Job, summary: Mapping[str, Any], score: str) -> list[dict[str, Any]]:
    """Where rules look at a score: exact cuts, and the limits of plain comparisons."""
    marks: list[dict[str, Any]] = []
    for top in job.program.tops:
        groups = summary["cuts"].get(top.cut, {}) if top.name == score else {}
        for group, cut in list(groups.items())[:LINES]:
            if cut["value"] is not None and math.isfinite(cut["value"]):
                label = f"{group} cut {number(cut['value'])}" if group else f"cut {number(cut['value'])}"
                marks.append({"kind": "cut", "value": float(cut["value"]), "label": label})
    for step in job.program.steps:
        for part in step.predicate.parts() if isinstance(step, RuleStep) else ():
            if isinstance(part, Compare) and isinstance(part.left, Column) and part.left.name == score:
                marks += _limit(part)
    return marks


_SIGNS = {"less_equal": "≤", "less": "<", "greater_equal": "≥", "greater": ">", "equal": "=", "not_equal": "≠"}


def _limit(part: Compare) -> list[dict[str, Any]]:
    if isinstance(part.limit, (str, bool)) or not math.isfinite(part.limit):
        return []
    return [{"kind": "limit", "value": float(part.limit), "label": f"{_SIGNS[part.op]} {number(part.limit)}"}]


def _throughput(job: Job, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds and rows a second of each stage. A report made anew keeps those of the run that did the work."""
    work = summary.get("work") or {}
    if work.get("seconds"):
        return throughput(job, work, summary.get("wall_seconds"))
    earlier = _earlier(job, summary["decision"])
    return {**earlier, "earlier": True} if earlier else throughput(job, work, summary.get("wall_seconds"))


def _earlier(job: Job, decision: str) -> dict[str, Any] | None:
    try:
        found = json.loads(fs.read_bytes(report_url(job.out, decision, "json")))["throughput"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) and found.get("stages") else None


def throughput(job: Job, work: Mapping[str, Any], wall: float | None = None) -> dict[str, Any]:
    """Stages in the order of the job, with the slowest named. Seconds are summed over workers."""
    seconds, scored = dict(work.get("seconds") or {}), dict(work.get("scored") or {})
    steps = [READ, *(step.name for step in job.program.steps if isinstance(step, ScoreStep)), WRITE]
    busy = sum(seconds.values())
    stages = [
        _stage(name, seconds[name], scored.get(name, work.get("rows", 0)), busy) for name in steps if name in seconds
    ]
    slowest = max(stages, key=lambda stage: float(stage["seconds"]), default=None)
    return {
        "stages": stages,
        "seconds": busy,
        "wall_seconds": wall,
        "rows": work.get("rows", 0),
        "read_bytes": work.get("read_bytes", 0),
        "bottleneck": slowest["step"] if slowest else None,
        "text": _bottleneck(slowest) if slowest else "Nothing was read or scored: every score was stored already.",
        "earlier": False,
    }


def _stage(name: str, seconds: float, rows: int, busy: float) -> dict[str, Any]:
    return {
        "step": name,
        "rows": rows,
        "seconds": seconds,
        "rows_per_second": rows / seconds if seconds > 0 else None,
        "share": seconds / busy if busy > 0 else 0.0,
    }


def _bottleneck(stage: Mapping[str, Any]) -> str:
    rate = f" at {stage['rows_per_second']:,.0f} rows/s" if stage["rows_per_second"] else ""
    doing = {READ: "Reading the pool", WRITE: "Writing scores"}.get(stage["step"], f"Scoring {stage['step']}")
    return (
        f"{doing} is the bottleneck: {stage['share']:.0%} of the work time{rate}. "
        f"Twice as fast, it would save {stage['share'] / 2:.0%} of all work."
    )


def render(data: Mapping[str, Any]) -> str:
    """The data as one HTML page that loads nothing. Every value is escaped, in attributes and drawings too."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=harmless,
    )
    environment.filters.update(
        rows=rows_text, share=share, size=size, short=short, number=number, seconds=seconds_text, json=_json
    )
    drawn = [{**item, "chart": chart(item)} for item in data["histograms"][:CHARTS]]
    return environment.get_template("page.html.j2").render(data=data, drawn=drawn, logo=_logo())


def _logo() -> str:
    """The page's icon: bars through a sieve. Inline, so that a browser asks for no file."""
    bars = "".join(
        f"<rect x='{3 + 5 * i}' y='{16 - h}' width='3' height='{h}' fill='#0f766e'/>" for i, h in enumerate((6, 12, 9))
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 19 19'>{bars}</svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)

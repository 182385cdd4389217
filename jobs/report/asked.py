"""What endpoints were asked: requests, tokens and what they cost, a line for each step."""

from __future__ import annotations

import msgspec

from poolsieve.jobs.report.numbers import count_text
from poolsieve.scoring_models.base.work import Amount, Count, ModelWork


class AskedLine(msgspec.Struct, kw_only=True, frozen=True):
    """The questions of one step in this run; answers that were stored before are not among them.

    Attributes:
        rows: that have an answer now, or an error for good.
        requests: all that were sent; `retries` of them repeated one that failed.
        failed: rows of these that have an error; a panel's stay in the pool, and the step's scores say why.
        uncounted: answers that came without counts of tokens.
        cost: of the tokens, in the currency of the endpoint's price; None where nothing is known of it.
        text: the same as one line.
    """

    step: str
    rows: Count
    requests: Count
    retries: Count
    failed: Count
    uncounted: Count
    tokens_in: Count
    tokens_out: Count
    cost: Amount | None
    text: str = ""


def asked_line(step: str, work: ModelWork) -> AskedLine:
    """The line of a step that asked an endpoint."""
    line = AskedLine(
        step=step,
        rows=work.rows,
        requests=work.requests,
        retries=work.retries,
        failed=work.failed,
        uncounted=work.uncounted,
        tokens_in=work.tokens_in,
        tokens_out=work.tokens_out,
        cost=work.cost or None,
    )
    return msgspec.structs.replace(line, text=f"{step}: {asked_text(work)}")


def asked_text(work: ModelWork) -> str:
    """`4,102 requests (6 again) for 4,096 rows, 12 failed, 1.2 M tokens in, 31 k out, cost 1.84`."""
    again = f" ({work.retries:,} again)" if work.retries else ""
    said = [f"{_many(work.requests, 'request')}{again} for {_many(work.rows, 'row')}"]
    if work.failed:
        said.append(f"{work.failed:,} failed")
    if work.tokens_in or work.tokens_out:
        said.append(f"{count_text(work.tokens_in)} tokens in, {count_text(work.tokens_out)} out")
    if work.uncounted:
        said.append(f"{_many(work.uncounted, 'answer')} without counts of tokens")
    if work.cost:
        said.append(f"cost {cost_text(work.cost)}")
    return ", ".join(said)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def cost_text(cost: float | None) -> str:
    """In the currency of the price, which nobody named: two places, or two figures below one; a dash for None."""
    if cost is None:
        return "\N{EN DASH}"
    return f"{cost:,.2f}" if cost >= 1 else f"{cost:.2g}"

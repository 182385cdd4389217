"""`poolsieve train`: one command for each kind of model."""

from __future__ import annotations

from typing import Any

import click


@click.group()
def train() -> None:
    """Train a scorer's model."""


@train.command("fasttext")
@click.argument("model", metavar="MODEL.bin")
@click.option("--positive", metavar="GLOB", help="Texts to be like: .jsonl(.gz, .zst), .parquet or .tar.")
@click.option("--negative", metavar="GLOB", help="Texts of the corpus as it is.")
@click.option("--from-ledger", metavar="OUT", help="Instead: the best and worst rows of a run, by --score.")
@click.option("--score", metavar="NAME", help="Score of the ledger that tells the best rows.")
@click.option("--top", metavar="SHARE", help="Of the rows with that score, the best ones, as 0.1.")
@click.option("--bottom", metavar="SHARE", help="The worst ones, as 0.5.")
@click.option("--lowest/--highest", default=None, help="Which scores are best.  [default: as the recipe's Top says]")
@click.option("--text", metavar="SOURCE", help="Column, field or member of the text.  [default: text; txt in tars]")
@click.option("--label", "positive_label", default="hq", show_default=True, help="Label of the positive texts.")
@click.option("--other", "negative_label", default="lq", show_default=True, help="Label of the negative texts.")
@click.option("--holdout", default=0.1, show_default=True, type=click.FloatRange(0, 0.9), help="Share for measuring.")
@click.option("--seed", default=0, show_default=True, help="Chooses the held-out texts.")
@click.option("--lr", default=0.1, show_default=True, help="Learning rate.")
@click.option("--epoch", default=5, show_default=True, help="How often each text is read.")
@click.option("--dim", default=100, show_default=True, help="Size of a word's vector.")
@click.option("--word-ngrams", "wordNgrams", default=2, show_default=True, help="Longest n-gram of words.")
@click.option("--bucket", default=2_000_000, show_default=True, help="Slots for n-grams.")
@click.option("--threads", "thread", default=1, show_default=True, help="With more, no two trainings are the same.")
@click.option("--replace", is_flag=True, help="Replace an existing model.")
def train_fasttext(
    model: str,
    positive: str | None,
    negative: str | None,
    from_ledger: str | None,
    score: str | None,
    top: str | None,
    bottom: str | None,
    lowest: bool | None,
    text: str | None,
    positive_label: str,
    negative_label: str,
    **settings: Any,
) -> None:
    """Train MODEL.bin to tell two kinds of text apart, for Score(quality=FastText("MODEL.bin", label="hq")).

    \b
    poolsieve train fasttext quality.bin --positive 'good/*.jsonl.zst' --negative 'crawl/*.jsonl.zst'
    poolsieve train fasttext color.bin --from-ledger OUT --score color --lowest --top 0.1 --bottom 0.5

    Beside the model, MODEL.bin.training.json says what it was made from.
    """
    from poolsieve.jobs.train import fasttext as training
    from poolsieve.jobs.train import ledger

    labels = (positive_label, negative_label)
    how: dict[str, Any] = {"labels": labels, "said": click.echo, **settings}
    ranks = {"score": score, "top": top, "bottom": bottom}
    if from_ledger is not None:
        _all_or_none("--from-ledger", ranks, wanted=True)
        _all_or_none("--from-ledger", {"positive": positive, "negative": negative}, wanted=False)
        made = ledger.train_from_ledger(from_ledger, model, lowest=lowest, text=text, **ranks, **how)  # type: ignore[arg-type]
    elif positive is None or negative is None:
        raise click.UsageError("say --positive and --negative, or --from-ledger")
    else:
        _all_or_none("--positive", {**ranks, "lowest": lowest}, wanted=False)
        made = training.train_fasttext(training.pool_of(positive, text), training.pool_of(negative, text), model, **how)
    for label, counts in made.counts.items():
        skipped = f", {counts.empty:,} empty" * bool(counts.empty)
        skipped += f", {counts.unreadable:,} unreadable" * bool(counts.unreadable)
        click.echo(f"{label}: {counts.trained:,} texts, {counts.held_out:,} held out{skipped}")
    quality = made.quality
    if quality.precision is not None and quality.recall is not None:
        found = f"precision {quality.precision:.1%}, recall {quality.recall:.1%} at a probability of 0.5"
        click.echo(f"on the held-out texts: {found}")
    click.echo(f"wrote {model}: Score(quality=FastText({model!r}, label={labels[0]!r}))")


def _all_or_none(beside: str, options: dict[str, Any], *, wanted: bool) -> None:
    """Refuses options that are missing beside another one, or that have no place there."""
    for name, value in options.items():
        if (value is not None) != wanted:
            raise click.UsageError(f"{beside} {'needs' if wanted else 'goes without'} --{name}")


@train.command("color")
@click.option("--prior-pool", metavar="GLOB", help="Texts of the pool: .jsonl(.gz, .zst), .parquet or .tar.")
@click.option("--target", required=True, metavar="GLOB", help="Texts to be like.")
@click.option("--out", required=True, metavar="DIR", help="Folder for prior/ and conditional/; goes on where it was.")
@click.option("--from", "start", metavar="MODEL", help="Start from a causal model (Hub id or folder): no prior.")
@click.option("--revision", metavar="REVISION", help="Of the Hub repository of --from or --tokenizer.")
@click.option("--tokenizer", metavar="MODEL", help="Hub id or folder.  [default: a BPE trained on the prior pool]")
@click.option("--sample", metavar="SHARE", help="Take this share of the prior pool's rows, by hash of their uid.")
@click.option("--text", metavar="SOURCE", help="Column, field or member of the text.  [default: text; txt in tars]")
@click.option(
    "--preset",
    default="small",
    show_default=True,
    metavar="NAME",
    help="tiny, small: a minute, minutes on a CPU. olmo-150m: sizes and schedule as published.",
)
@click.option("--seed", default=0, show_default=True, help="Of weights and orders.")
@click.option("--steps", type=int, help="Steps of the prior.  [default: the preset's]")
@click.option("--tokens", type=int, help="The same, as tokens.")
@click.option("--epochs", type=int, help="Times that the conditional sees the target.  [default: the preset's]")
@click.option("--length", type=int, help="Tokens of a chunk.  [default: the preset's]")
@click.option("--batch", type=int, help="Chunks of a step.  [default: the preset's]")
@click.option("--lr", "rate", type=float, help="Highest learning rate.  [default: the preset's]")
@click.option("--micro-batch", "micro", type=int, help="Chunks computed at a time.  [default: 32 on a GPU, else 8]")
def train_color(
    prior_pool: str | None, target: str, out: str, sample: str | None, text: str | None, **wishes: Any
) -> None:
    """Train the two language models of Score(color=Color(prior="DIR/prior", conditional="DIR/conditional")).

    \b
    poolsieve train color --prior-pool 'crawl/*.jsonl.zst' --sample 0.05 --target 'books/*.jsonl.zst' --out DIR

    Each folder's training.json says what its model was made from. Killed, the same command goes on.
    """
    from poolsieve.jobs.train.color.pair import train_color as work
    from poolsieve.jobs.train.fasttext import pool_of

    if sample is not None and prior_pool is None:
        raise click.UsageError("--sample is of --prior-pool")
    prior = None if prior_pool is None else pool_of(prior_pool, text)
    if prior is not None and sample is not None:
        prior = prior.sample(sample)
    made = work(pool_of(target, text), out, prior_pool=prior, said=click.echo, **wishes)
    first = wishes["start"] if prior is None else str(made / "prior")
    click.echo(f"Score(color=Color(prior={first!r}, conditional={str(made / 'conditional')!r}))")

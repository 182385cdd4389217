"""`poolsieve train`: one command for each kind of model."""

from __future__ import annotations

from typing import Any

import click


@click.group()
def train() -> None:
    """Train a scorer's model."""


@train.command("fasttext")
@click.argument("model", metavar="MODEL.bin")
@click.option(
    "--positive", required=True, metavar="GLOB", help="Texts to be like: .jsonl(.gz, .zst), .parquet or .tar."
)
@click.option("--negative", required=True, metavar="GLOB", help="Texts of the corpus as it is.")
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
    positive: str,
    negative: str,
    text: str | None,
    positive_label: str,
    negative_label: str,
    **settings: Any,
) -> None:
    """Train MODEL.bin to tell two pools of texts apart, for Score(quality=FastText("MODEL.bin", label="hq")).

    \b
    poolsieve train fasttext quality.bin --positive 'good/*.jsonl.zst' --negative 'crawl/*.jsonl.zst'
    """
    from poolsieve.jobs.train import fasttext as training

    labels = (positive_label, negative_label)
    made = training.train_fasttext(
        training.pool_of(positive, text),
        training.pool_of(negative, text),
        model,
        labels=labels,
        said=click.echo,
        **settings,
    )
    for label, counts in made.counts.items():
        skipped = f", {counts.empty:,} empty" * bool(counts.empty)
        skipped += f", {counts.unreadable:,} unreadable" * bool(counts.unreadable)
        click.echo(f"{label}: {counts.trained:,} texts, {counts.held_out:,} held out{skipped}")
    quality = made.quality
    if quality.precision is not None and quality.recall is not None:
        found = f"precision {quality.precision:.1%}, recall {quality.recall:.1%} at a probability of 0.5"
        click.echo(f"on the held-out texts: {found}")
    click.echo(f"wrote {model}: Score(quality=FastText({model!r}, label={labels[0]!r}))")

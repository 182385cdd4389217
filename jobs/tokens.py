"""Raw token files of a pool, from Python: `poolsieve.tokenize(pool, "DIR", tokenizer="gpt2")`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.tokenize.index import TokensIndex
from poolsieve.dataflow.tokenize.tokenize import Wishes, prepare
from poolsieve.dataflow.tokenize.tokenize import tokenize as tokenize_documents
from poolsieve.jobs.api import Say, warn
from poolsieve.jobs.display_tokens import TokensDisplay
from poolsieve.jobs.train.fasttext import pool_of


def tokenize(
    pool: Pool | str,
    to: str | os.PathLike[str],
    *,
    tokenizer: str,
    revision: str | None = None,
    length: int = 512,
    dtype: str | None = None,
    eos: str | None = None,
    text: str | None = None,
    uid: str | None = None,
    replace: bool = False,
    workers: int | None = None,
    runner: str = "local",
    beam_flags: Sequence[str] = (),
    progress: bool = False,
    say: Say = warn,
) -> TokensIndex:
    """Writes the documents of a pool as raw token files: ids without a header, an end of text behind each document.

    A file for each shard, `NAME.npy`, documents in pool order; the ids behind the last whole chunk stay in it, and are
    no row. `NAME.documents.parquet` beside it says which documents each chunk is made of, `tokens.json` what all was
    made with. Null and empty documents give nothing. A special token in a text is text. Stopped or killed, the same
    call goes on from where it was; a pool that has grown has its new shards added.

    Args:
        pool: a pool, or a glob or brace range whose files' names tell its kind.
        to: folder to write to.
        tokenizer: a Hub repository, or a folder; read by `transformers`, without code of the repository.
        revision: of the repository.
        length: ids of a chunk.
        dtype: of an id, `uint16` or `uint32`; the smallest that holds the vocabulary if not given.
        eos: the token that ends documents; the tokenizer's own end-of-text token if not given.
        text: source of the text, in place of the pool's; `text` (`txt` in tars) where the pool says none.
        uid: source of the documents' labels, in place of the pool's.
        replace: remove other tokens in the folder first.
        workers: shards at a time (local runner); one if not given, whose texts all cores tokenise.
        runner: a name of `runners.engine.RUNNERS`.
        beam_flags: further Beam options.
        progress: show progress on stderr.
        say: is told warnings; Python's `warnings` if not given.

    Returns:
        What `tokens.json` says.

    Raises:
        PlanError: for anything that can't work, before work starts.
        PoolsieveError: whatever stopped it.
    """
    engine = Engine(runner, 1 if workers is None else workers, beam_flags)
    given_pool = pool if isinstance(pool, Pool) else pool_of(pool, text)
    wishes = Wishes(tokenizer=tokenizer, revision=revision, length=length, dtype=dtype, eos=eos, text=text, uid=uid)
    made = prepare(given_pool, to, wishes)
    watch = TokensDisplay(made).watch if progress else None
    found = tokenize_documents(made, replace=replace, engine=engine, watch=watch, say=say)
    for warning in found.warnings:
        say(warning)
    return found

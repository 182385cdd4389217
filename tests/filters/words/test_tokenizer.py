"""Long documents, which are read in parts, have the words that they have as a whole, and take little memory."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pytest

from poolsieve.filters.c4 import C4Page
from poolsieve.filters.fineweb import FineWeb
from poolsieve.filters.gopher import GopherQuality, GopherRepetition
from poolsieve.filters.words.tokenizer import Tokenizer, tokenizer
from poolsieve.scoring_models.base.scorer import TextScorer
from tests.filters.corpus import PROSE, built, real
from tests.filters.test_datatrove import FACES


@pytest.mark.parametrize("part", [1, 40])
def test_words_do_not_depend_on_the_parts_in_which_a_text_is_read(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*real(30), *built(), *FACES, " ".join(FACES), "  (see above:) ) ", "x" * 3000, " " * 3000]
    whole = [(words.tokens(), words.joined) for words in Tokenizer().read(texts)]
    monkeypatch.setattr("poolsieve.filters.words.tokenizer.PART", part)
    assert [(words.tokens(), words.joined) for words in Tokenizer().read(texts)] == whole
    assert [joined for _, joined in whole] == ["".join(text.split()) for text in texts]


def test_words_that_are_no_longer_remembered_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*real(20), " ".join(real(20))]
    whole = [words.tokens() for words in Tokenizer().read(texts)]
    monkeypatch.setattr("poolsieve.filters.words.tokenizer.PIECES", 20)
    reader = Tokenizer()
    assert [words.tokens() for words in reader.read(texts)] == whole
    assert len(reader.memory.pieces) <= 20


SCORERS = {GopherQuality(): 15, GopherRepetition(): 45, C4Page(terminal_punctuation=False): 15, FineWeb(): 15}


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: type(scorer).__name__)
def test_a_long_document_takes_little_memory(scorer: TextScorer) -> None:
    """Bytes a byte of the document; Gopher's n-grams took 60, the others 32."""
    texts = pa.record_batch({"text": [(PROSE + "\n" + "the owners of what is there\n") * 3000]})
    tokenizer().forget()
    scorer.score(pa.record_batch({"text": [PROSE]}))  # type: ignore[attr-defined]
    tracemalloc.start()
    scorer.score(texts)  # type: ignore[attr-defined]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < SCORERS[scorer] * texts.nbytes

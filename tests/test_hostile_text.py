"""Every scorer and edit of a text against texts that are made to take it long: 100 KB each, in time linear in them.

A scorer that takes the square of a text's length takes minutes here; one that is slow and linear passes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from poolsieve.dataflow import Pool
from poolsieve.filters import (
    Dsir,
    ExactHash,
    Masked,
    OpenEnded,
    PersonalData,
    RightText,
    TextSketch,
    c4,
    fineweb,
    gopher,
)
from poolsieve.filters.decontamination import LoadedNgrams, Ngrams
from poolsieve.filters.dsl.edits import Edit
from poolsieve.filters.dsl.stages import Score, Stage
from poolsieve.filters.dsl.statistics import Statistic
from poolsieve.filters.lists import pairs_of
from poolsieve.filters.minhash import MinHash
from poolsieve.filters.open_ended import BadOptions
from poolsieve.filters.url_lists import UrlParts, UrlWords
from poolsieve.filters.words.tokenizer import tokenizer
from poolsieve.scoring_models import Classifier, FastText, Language, Tokens
from poolsieve.scoring_models.marking import HOWS, Gold, lacking, mark
from poolsieve.scoring_models.marking.options import choice_of, listing
from tests.filters.corpus import PROSE
from tests.linear import check_linear

BYTES = 100_000
ENOUGH = 0.25
"""Seconds of the processor: a square that takes them takes a second for twice the text."""

UNITS: dict[str, str] = {
    "brackets": "(",
    "pairs of brackets": "()",
    "square brackets": "[",
    "citations": "[1",
    "quotes": "\"'",
    "curly quotes": "“”’",
    "contractions": "'s",
    "don't": "don't",
    "faces": ":)",
    "faces that overlap": ":)(:",
    "faces across blanks": "x:) ) ",
    "exclamation marks": "!",
    "commas": ",",
    "dots": ".",
    "pairs of dots": "..a",
    "final marks": ". ",
    "ellipses": "… ...",
    "hyphens": "a-",
    "dashes": "—",
    "colons": "a:",
    "entities": "&lt;",
    "half entities": "&a",
    "mojibake": "Ã©",
    "mojibake of quotes": "â€œa â€",
    "units": "5km",
    "percent": "%.",
    "addresses": "a@b.cc",
    "half addresses": "a@a.",
    "literal addresses": "a@[1.2.3.",
    "at signs": "@",
    "URLs": "http://www.example.com/a?b=c&d#e",
    "schemes": "http://",
    "hosts": "a.b.",
    "digits": "1234567890",
    "octets": "1.1.1.",
    "numbers": "1,",
    "base64": "aB3+/x9Q",
    "minified": "function(e){return!e[0]&&t.n(e,'x')};",
    "one letter": "x",
    "letters and digits": "a1",
    "line breaks": "\n",
    "CR LF": "\r\n",
    "one character a line": "x\n",
    "bullets": "- \n",
    "blanks": " ",
    "ideographic blanks": "\u3000a",
    "tabs": "\t",
    "NULs": "\x00",
    "byte-order marks": "\ufeff",
    "zero width": "a\u200b\u200d",
    "acute accents": "e\u0301",
    "marks in the wrong order": "\u0301\u0316",
    "marks without end": "\u0301",
    "tone marks in the wrong order": "\u302e\u0316",
    "Hangul letters": "\u1112\u1161\u11ab",
    "ligatures": "ﷺ",
    "emoji families": "\U0001f468\u200d\U0001f469\u200d",
    "emoji": "\U0001f600a",
    "flags": "\U0001f1e9\U0001f1ea",
    "noncharacters": "\ufffe\U0010ffff",
    "Chinese": "我能吞下玻璃而不伤身体",
    "Japanese": "日本語の文章です。",
    "Thai": "ฉันกินกระจกได้แต่มันไม่ทำให้ฉันเจ็บ",
    "Arabic units": "5كم",
    "right to left": "\u202eשלום\u202c ",
    "repeated sentence": PROSE + " ",
    "repeated words": "to be or not ",
    "two words": "ab a b ",
    "many short words": "a ",
    "words that end alike": "a bc ab c ",
    "policies": "lorem ipsu privacy polic ",
    "citations without end": "[citation neede",
    "boxes": "[1, 2, 3, 4] ",
    "boxed answers": "\\boxed{",
    "answers": "answer is (a) ",
    "labels": "Answer:\n",
    "options": "A. x B. y ",
    "options in lines": "(A) x\n(B) y\n",
    "options without texts": "A. B. ",
}


def thue_morse(size: int) -> str:
    """Words by which the hashes of strings that polynomials make collide, whatever their base (modulo 2^64)."""
    bits = [bin(i).count("1") % 2 for i in range(2048)]
    one, other = ("".join("ab"[bit ^ flip] for bit in bits) for flip in (0, 1))
    return " ".join([one, other] * (size // 4096))[:size]


@functools.cache
def text_of(name: str) -> str:
    """`BYTES` of UTF-8 of one kind."""
    dice = random.Random(0)
    if name in UNITS:
        return UNITS[name] * (BYTES // len(UNITS[name].encode()))
    if name == "random marks":
        return "".join(dice.choices("()[]{}<>.,:;!?'\"-_#*&`$%^~@|\\/+=", k=BYTES))
    if name == "random letters":
        return " ".join("".join(dice.choices("abcdefghij", k=6)) for _ in range(BYTES // 7))
    if name == "random characters":
        codes = (dice.choice((dice.randrange(1, 0xD800), dice.randrange(0xE000, 0x110000))) for _ in range(BYTES // 4))
        return "".join(map(chr, codes))
    if name == "one of each long word":
        return " ".join("(" * n for n in range(600))
    return thue_morse(BYTES)


TEXTS = [*UNITS, "random marks", "random letters", "random characters", "one of each long word", "colliding hashes"]


def scorer_of(stage: Stage) -> Any:
    """The scorer of a ready-made stage."""
    return next(iter(next(one for one in stage.flat() if isinstance(one, Score)).scorers.values()))


def scored(scorer: Any) -> Callable[[str], object]:
    """What scores one text."""
    role = scorer.reads[0] if hasattr(scorer, "reads") else "text"
    return lambda text: scorer.score(pa.record_batch({role: [text]}))


def edited(editor: Any) -> Callable[[str], object]:
    """What edits one text."""
    return lambda text: editor.edit(pa.record_batch({"text": [text]}))


def ngrams() -> Callable[[str], object]:
    scorer = Ngrams({"prose": object()})
    table = scorer.build([("prose", pa.record_batch({"text": [PROSE]}))])
    return scored(LoadedNgrams(table, scorer.n, "text"))


def dsir_weights(folder: Path) -> Callable[[str], object]:
    pool = Pool.jsonl("x.jsonl", text="text")
    scorer = Dsir(pool, pool)
    text = pa.record_batch({"text": [PROSE]})
    pq.write_table(scorer.build([("raw", text), ("target", text)]), folder / "counts.parquet")
    return scored(dataclasses.replace(scorer, artefact=str(folder / "counts.parquet")))


def url_words(folder: Path) -> UrlWords:
    lists = {name: folder / f"{name}.txt" for name in ("words", "soft", "subwords")}
    for path in lists.values():
        path.write_text("casino\nfree\naaaab\nabababac\n")
    return UrlWords(*map(str, lists.values()))


def tokens(folder: Path, model: Any, trainer: Any, pre: Any) -> Tokens:
    made = Tokenizer(model)
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre
    made.train_from_iterator([PROSE, *(unit * 20 for unit in UNITS.values())], trainer)
    made.save(str(folder / "tokenizer.json"))
    return Tokens(str(folder / "tokenizer.json"))


def byte_level(folder: Path) -> Tokens:
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False)
    return tokens(folder, models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False))


def word_pieces(folder: Path) -> Tokens:
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[UNK]"], show_progress=False)
    return tokens(folder, models.WordPiece(unk_token="[UNK]"), trainer, pre_tokenizers.BertPreTokenizer())


def unigrams(folder: Path) -> Tokens:
    trainer = trainers.UnigramTrainer(vocab_size=600, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    return tokens(folder, models.Unigram(), trainer, pre_tokenizers.Metaspace())


def windows(folder: Path) -> Callable[[str], object]:
    """Tokens and windows of a classifier, without the network."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.scoring_models.encoders.tiny_classifier import make

    loaded = Classifier(str(make(folder)), label="LABEL_0", long="mean").load()
    return lambda text: loaded.decode(pa.record_batch({"text": [text]}), [0])


def captions() -> Callable[[str], object]:
    """Tokens of a caption for CLIP, without the network."""
    open_clip = pytest.importorskip("open_clip")
    from poolsieve.scoring_models.clip.captions import Captions

    made = Captions(open_clip.SimpleTokenizer(), 77)
    return lambda text: made([text])


def marks(how: str) -> Callable[[str], object]:
    """A mark of the text, and one of another answer against it."""

    def both(text: str) -> None:
        mark(how, text, Gold("[1, 2, 3, 4]", ("a red car", "b", "c"), ("a red car", "a dog")))
        against = Gold(text, (text,) * 3, (text, "a dog"))
        mark(how, "a red car [1, 2, 3, 4]", against)
        lacking(how, against)

    return both


def options_in(text: str) -> None:
    """A question that lists options, and options that are long themselves."""
    question = pa.record_batch({"question": [text], "answer": [text]})
    OpenEnded(options=None).edit(question)
    with contextlib.suppress(BadOptions):
        RightText(options=None).edit(question)
    listing(text, ["a car", "a dog"])
    choice_of(text, [f"a{text}", f"b{text}"], Gold("a" + text))


def fast_text() -> Callable[[str], object]:
    model = str(Language().files()["lid.176.ftz"])
    return scored(FastText(model, label="en"))


SCORERS: dict[str, Callable[[Path], Callable[[str], object]]] = {
    "gopher.quality": lambda _: scored(scorer_of(gopher.quality())),
    "gopher.repetition": lambda _: scored(scorer_of(gopher.repetition())),
    "c4.quality": lambda _: scored(scorer_of(c4.quality())),
    "c4.quality, any line": lambda _: scored(scorer_of(c4.quality(terminal_punctuation=False))),
    "c4's edit": lambda _: edited(
        next(one for one in c4.quality(edit=True).flat() if isinstance(one, Edit)).editors["text"]
    ),
    "fineweb.quality": lambda _: scored(scorer_of(fineweb.quality())),
    "language": lambda _: scored(Language()),
    "fastText": lambda _: fast_text(),
    "decontaminate": lambda _: ngrams(),
    "dsir": dsir_weights,
    "signature": lambda _: scored(MinHash()),
    "sketch": lambda _: scored(TextSketch()),
    "hash": lambda _: scored(ExactHash(normalised=True)),
    "personal data": lambda _: scored(PersonalData()),
    "masked": lambda _: edited(Masked()),
    "urls, parts": lambda _: scored(UrlParts()),
    "urls, words": lambda folder: scored(url_words(folder)),
    "lists": lambda _: lambda text: pairs_of(pa.array([text])),
    "word_count": lambda _: scored(Statistic("text", "word_count")),
    "char_count": lambda _: scored(Statistic("text", "char_count")),
    "byte_count": lambda _: scored(Statistic("text", "byte_count")),
    "tokens, BPE": lambda folder: scored(byte_level(folder)),
    "tokens, WordPiece": lambda folder: scored(word_pieces(folder)),
    "tokens, Unigram": lambda folder: scored(unigrams(folder)),
    "windows": windows,
    "captions": lambda _: captions(),
    "options": lambda _: options_in,
    **{f"marks, {how}": lambda _, how=how: marks(how) for how in HOWS if how != "judge"},
}
"""Name -> what makes the function that is timed."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[str], object]]:
    """Scorers by name, each ready: what they load is not timed."""
    found = {}
    for name, make in SCORERS.items():
        found[name] = make(tmp_path_factory.mktemp("hostile"))
        found[name](PROSE)
    return found


@pytest.mark.parametrize("scorer", SCORERS)
def test_hostile_texts_take_linear_time(scorer: str, made: dict[str, Callable[[str], object]]) -> None:
    def once(text: str) -> None:
        tokenizer().documents.clear()  # or the words of one would be found by the next
        made[scorer](text)

    for name in TEXTS:
        try:
            check_linear(once, text_of(name), ENOUGH)
        except Exception as error:
            error.add_note(f"the text was {name!r}")
            raise

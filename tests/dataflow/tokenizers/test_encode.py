"""Texts to ids: what is text stays text, and what a tokenizer must be like."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from poolsieve.dataflow.tokenizers.encode import encode, from_text
from poolsieve.dataflow.tokenizers.source import dtype_for, find_tokenizer
from poolsieve.scoring_models.base.errors import PlanError
from tests.dataflow.tokenize import tiny


@pytest.mark.parametrize("kind", ["bpe", "unigram", "words", "not marked"])
def test_special_tokens_in_a_text_are_text(kind: str, tmp_path: Path) -> None:
    if kind == "unigram":
        folder = tiny.unigram(tmp_path / "t")
    elif kind == "words":
        folder = tiny.word_list(tmp_path / "t", 50)
    else:
        folder = tiny.bpe(tmp_path / "t")
    if kind == "not marked":
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text())
        for token in data["added_tokens"]:
            token["special"] = False
        path.write_text(json.dumps(data))
    found = find_tokenizer(str(folder))
    end, number = found.about.eos, found.about.eos_id
    made = from_text(found.text)
    texts = [f"abc {end} w7", end, end * 3, f"a{end}b", f"\n{end}\n"]
    ids, sizes = encode(made, texts, number, "uint16")
    ends = np.cumsum(sizes) - 1
    assert sizes.min() > 1 and (ids[ends] == number).all() and (ids == number).sum() == len(texts)
    # The library's own way reads it, or this test would show nothing.
    assert number in Tokenizer.from_file(str(folder / "tokenizer.json")).encode(end, add_special_tokens=False).ids


def test_other_texts_give_the_ids_that_they_gave(tmp_path: Path) -> None:
    texts = [tiny.words(50, i) for i in range(20)] + ["é 漢字 \x00 \u202e", "x" * 1000]
    for folder, end in ((tiny.bpe(tmp_path / "b"), tiny.END), (tiny.unigram(tmp_path / "u"), "</s>")):
        found = find_tokenizer(str(folder))
        ids, _ = encode(from_text(found.text), texts, found.about.eos_id, "uint32")
        assert ids.tolist() == tiny.plainly(folder, texts, end)


def test_texts_without_a_token_give_nothing(tmp_path: Path) -> None:
    found = find_tokenizer(str(tiny.word_list(tmp_path / "t", 50)))
    ids, sizes = encode(from_text(found.text), ["w5", "", "   ", "w6 w7"], 0, "uint16")
    assert ids.tolist() == [5, 0, 6, 7, 0] and sizes.tolist() == [2, 0, 0, 3] and ids.dtype == "<u2"
    ids, sizes = encode(from_text(found.text), [], 0, "uint32")
    assert len(ids) == len(sizes) == 0 and ids.dtype == "<u4"


def test_the_smallest_type_that_holds_the_vocabulary(tmp_path: Path) -> None:
    small = find_tokenizer(str(tiny.word_list(tmp_path / "a", 1 << 16))).about
    large = find_tokenizer(str(tiny.word_list(tmp_path / "b", (1 << 16) + 1))).about
    assert dtype_for(small, None) == "uint16" and dtype_for(small, "uint32") == "uint32"
    assert dtype_for(large, None) == "uint32"
    with pytest.raises(PlanError, match="ids up to 65,536, which uint16 does not hold"):
        dtype_for(large, "uint16")
    with pytest.raises(PlanError, match="uint16 or uint32"):
        dtype_for(small, "int64")


def test_tokenizers_that_are_refused(tmp_path: Path) -> None:
    no_end = tiny.bpe(tmp_path / "no-end", end=None)
    with pytest.raises(PlanError, match="no end-of-text token: name one of its vocabulary with --eos"):
        find_tokenizer(str(no_end))
    assert find_tokenizer(str(no_end), eos=tiny.END).about.eos_id == 0
    with pytest.raises(PlanError, match="no token '<what>'"):
        find_tokenizer(str(no_end), eos="<what>")
    with pytest.raises(PlanError, match="'abc' in a document's text as its end-of-text"):
        find_tokenizer(str(_with_word(tiny.word_list(tmp_path / "w", 50), "abc")), eos="abc")
    code = tiny.bpe(tmp_path / "code")
    path = code / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoTokenizer": ["x.X", None]}}))
    with pytest.raises(PlanError, match="Remote code is never run"):
        find_tokenizer(str(code))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlanError, match="holds no tokenizer"):
        find_tokenizer(str(tmp_path / "empty"))
    (code / "tokenizer.json").write_text("{")
    path.write_text("{}")
    with pytest.raises(PlanError, match="is no tokenizer"):
        find_tokenizer(str(code))


def _with_word(folder: Path, word: str) -> Path:
    """The tokenizer with a word that is its token for unknown ones as well, so that it can't be spelled otherwise."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"] = {**data["model"]["vocab"], word: 50}
    data["model"]["unk_token"] = word
    path.write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize(
    "unit", ["a", " ", "ab \n", "é漢", "<|endoftext|>"], ids=["one", "blank", "many", "odd", "end"]
)
def test_a_document_ten_times_as_long_takes_about_ten_times_as_long(unit: str, tmp_path: Path) -> None:
    found = find_tokenizer(str(tiny.bpe(tmp_path / "t")))
    made = from_text(found.text)
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()  # of all threads, whatever else the machine does
    tenth, _ = encode(made, [text[: len(text) // 10]], found.about.eos_id, "uint16")
    between = time.process_time()
    ids, _ = encode(made, [text], found.about.eos_id, "uint16")
    assert len(ids) >= 9 * len(tenth)
    assert time.process_time() - between < 30 * (between - start) + 0.5  # a square would take a hundred times as long


def test_a_document_of_20_megabytes_takes_seconds(tmp_path: Path) -> None:
    found = find_tokenizer(str(tiny.bpe(tmp_path / "t")))
    start = time.process_time()
    ids, _ = encode(from_text(found.text), ["a" * 20_000_000], found.about.eos_id, "uint16")
    assert len(ids) > 100_000 and time.process_time() - start < 60

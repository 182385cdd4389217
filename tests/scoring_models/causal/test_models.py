"""What is refused of models and tokenizers, rows without a score, and whole runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from poolsieve.dataflow import Pool  # noqa: E402
from poolsieve.filters import Score, Top  # noqa: E402
from poolsieve.scoring_models import Color, Loss  # noqa: E402
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.conftest import fingerprint_of, ledger, run  # noqa: E402
from tests.scoring_models.causal.test_losses import batch_of, chunks, columns, plain, texts  # noqa: E402
from tests.scoring_models.causal.tiny_causal import WORDS, make, tokenizer_of  # noqa: E402


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("prior") / "model", "neox")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("conditional") / "model", "neox", seed=1)


def test_documents_of_fewer_than_two_tokens_have_no_score_and_no_error(prior: Path) -> None:
    given = [None, "", "w", "w1 w2", "w3", " "]
    lengths = [len(tokenizer_of().encode(one or "").ids) for one in given]
    scorer = Loss(str(prior))
    found = columns(scorer, scorer.load(), batch_of(given))[""]
    assert [one is None for one in found] == [length < 2 for length in lengths]
    assert {0, 1} < set(lengths)


def test_chunks_of_fewer_than_two_ids_have_no_score_and_no_error(prior: Path) -> None:
    scorer = Loss(str(prior), tokens="tokens")
    found = columns(scorer, scorer.load(), batch_of([None, [], [5], [5, 6]], pa.list_(pa.uint16())))[""]
    assert [one is None for one in found] == [True, True, True, False]


def test_ids_that_the_model_has_not_cost_their_row(prior: Path) -> None:
    given = [[1, 2, 3], [1, 300], [-1, 2], [7, None], list(range(65)), [2**40, 1], [1, 299]]
    scorer = Loss(str(prior), tokens="tokens")
    made = score_rows(scorer.load(), batch_of(given, pa.list_(pa.int64())), scorer.columns, threads=1)
    assert [made.errors[row].kind for row in (1, 2, 3, 4, 5)] == [*["token_id"] * 3, "too_long", "token_id"]
    assert "token id 300, and the model has 300" in made.errors[1].message
    assert "a chunk of 65 ids, and 64 are read" in made.errors[4].message
    assert made.columns[""].is_null().to_pylist() == [row in made.errors for row in range(7)]
    assert made.columns[""][0].as_py() == pytest.approx(plain(prior, [given[0]], 64)[0], abs=1e-5)


def test_tokens_of_a_text_that_the_model_has_not_cost_their_row(tmp_path: Path) -> None:
    model = make(tmp_path / "model", "llama", vocab_size=290)
    scorer = Loss(str(model))
    ids = {word: max(tokenizer_of().encode(word).ids) for word in [*WORDS, "xyxyxy"]}
    beyond = next(word for word, id_ in ids.items() if id_ >= 290)
    made = score_rows(scorer.load(), batch_of(["xyxyxy", beyond]), scorer.columns, threads=1)
    assert {row: error.kind for row, error in made.errors.items()} == {1: "token_id"}


def test_a_loss_that_is_no_number_costs_its_row(tmp_path: Path) -> None:
    model = make(tmp_path / "model", "llama")
    made = transformers.AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        made.model.embed_tokens.weight[77] = float("nan")
    made.save_pretrained(model)
    scorer = Loss(str(model), tokens="tokens")
    given = [[1, 2, 3], [1, 77, 3], [4, 5], [6, 7, 77]]
    found = score_rows(scorer.load(), batch_of(given, pa.list_(pa.int32())), scorer.columns, threads=1)
    # The last id of a chunk is only predicted, never seen; the position behind it is blank.
    assert {row: error.kind for row, error in found.errors.items()} in (
        {1: "not_a_number"},
        {1: "not_a_number", 3: "not_a_number"},
    )
    assert found.columns[""][0].as_py() == pytest.approx(plain(model, [given[0]], 64)[0], abs=1e-5)


def test_another_column_than_lists_of_integers(prior: Path, tmp_path: Path) -> None:
    scorer = Loss(str(prior), tokens="tokens")
    with pytest.raises(PoolsieveError, match="token ids are lists of integers, not string"):
        score_rows(scorer.load(), pa.record_batch({"tokens": ["a"]}), scorer.columns, threads=1)
    pq.write_table(pa.table({"tokens": ["a"]}), tmp_path / "a.parquet")
    recipe = Pool.parquet(f"{tmp_path}/a.parquet", tokens="tokens") | Score(loss=scorer)
    with pytest.raises(PlanError, match="reads 'tokens' as token ids, but it is string"):
        run(recipe, tmp_path / "out")


def test_a_run_over_documents_with_any_number_of_workers(prior: Path, conditional: Path, tmp_path: Path) -> None:
    given = [*texts(60), None, ""]
    pq.write_table(pa.table({"text": given}), tmp_path / "a.parquet", row_group_size=20)
    recipe = (
        Pool.parquet(f"{tmp_path}/a.parquet", text="text")
        | Score(color=Color(prior=str(prior), conditional=str(conditional)))
        | Top("color", fraction=0.25, lowest=True)
    )
    assert run(recipe, tmp_path / "one").kept == 15
    run(recipe, tmp_path / "two", workers=2)
    assert fingerprint_of(tmp_path / "one") == fingerprint_of(tmp_path / "two")
    rows = ledger(tmp_path / "one").to_pylist()
    wanted = [
        np.float32(b) - np.float32(a)
        for a, b in zip(*(plain(m, texts(60), 64) for m in (prior, conditional)), strict=True)
    ]
    assert [row["color"] for row in rows[:60]] == pytest.approx(wanted, abs=1e-5)
    assert {row["uid"] for row in rows if row["keep"]} == {
        rows[place]["uid"] for place in np.argsort([row["color"] for row in rows[:60]])[:15]
    }
    assert {"color", "color.prior", "color.conditional"} <= set(rows[0])


def test_a_run_over_a_parquet_pool_of_chunks(prior: Path, tmp_path: Path) -> None:
    given = [*chunks(30), [1, 3000], None]
    pq.write_table(pa.table({"ids": pa.array(given, pa.list_(pa.uint16()))}), tmp_path / "a.parquet")
    recipe = Pool.parquet(f"{tmp_path}/a.parquet", tokens="ids") | Score(loss=Loss(str(prior), tokens="tokens"))
    run(recipe | Top("loss", count=5, lowest=True), tmp_path / "out")
    rows = ledger(tmp_path / "out").to_pylist()
    assert [row["loss"] for row in rows[:30]] == pytest.approx(plain(prior, given[:30], 64), abs=1e-5)
    assert rows[30]["reason"] == "quarantine.token_id" and rows[31]["loss"] is None


def test_chunks_that_are_all_too_long_are_refused_in_the_plan(prior: Path, tmp_path: Path) -> None:
    np.arange(650, dtype="<u2").tofile(tmp_path / "a.npy")
    for length, window in ((65, None), (64, 63)):
        pool = Pool.tokens(f"{tmp_path}/a.npy", dtype="uint16", length=length)
        recipe = pool | Score(loss=Loss(str(prior), tokens="tokens", window=window))
        with pytest.raises(PlanError, match=f"chunks of {length} ids, and {length - 1} are read at most"):
            run(recipe | Top("loss", count=5, lowest=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_model_twice_is_refused(prior: Path, conditional: Path) -> None:
    with pytest.raises(PlanError, match="every score is 0"):
        Color(prior=str(prior), conditional=f"{prior}/")
    with pytest.raises(PlanError, match="every score is 0"):
        Color(prior="a/b", conditional="a/b", prior_revision="main", conditional_revision="main")
    Color(prior="a/b", conditional="a/b", prior_revision="early", conditional_revision="late")


def test_where_a_model_is_not(prior: Path) -> None:
    for model in ("./none", "../none/x", "~/none", "some/where/else", "/none"):
        with pytest.raises(PlanError, match=r"there is no folder /.* that holds a model"):
            Loss(model).files()
    with pytest.raises(PlanError, match="is a folder, which has no revision 'v1'"):
        Loss(str(prior), revision="v1").files()


def test_two_tokenizers_are_refused_in_the_plan(prior: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", "neox", tokenizer=tokenizer_of(290))
    for unit in ({}, {"tokens": "tokens"}):
        with pytest.raises(PlanError, match=r"have different tokenizers \('.*' is \d+ in one, no token in the other\)"):
            Color(prior=str(prior), conditional=str(other), **unit).files()
    with pytest.raises(PlanError, match="different tokenizers"):
        Color(prior=str(prior), conditional=str(other)).load()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    recipe = Pool.parquet(f"{tmp_path}/a.parquet", text="text")
    with pytest.raises(PlanError, match="different tokenizers"):
        run(recipe | Score(color=Color(prior=str(prior), conditional=str(other))), tmp_path / "out")


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "normalizer"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer"),
        ("tokenizer_config.json", {"bos_token": "w"}, "bos_token"),
    ],
)
def test_what_else_makes_other_ids(prior: Path, tmp_path: Path, name: str, values: Any, said: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(prior, other)
    changed(other / name, **values)
    with pytest.raises(PlanError, match=f"different tokenizers \\({said}: "):
        Color(prior=str(prior), conditional=str(other)).files()


def test_what_makes_no_other_ids_is_let_pass(prior: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(prior, other)
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    changed(other / "tokenizer.json", truncation=cut)
    changed(
        other / "tokenizer_config.json", bos_token={"__type": "AddedToken", "content": "<|end|>"}, model_max_length=3
    )
    scorer = Color(prior=str(prior), conditional=str(other))
    assert {"prior/config.json", "conditional/tokenizer.json"} < set(scorer.files())
    found = columns(scorer, scorer.load(), batch_of(texts(5)))
    assert found["prior"] == found["conditional"] and set(found[""]) == {0.0}


def test_weights_that_are_pickles_are_refused(prior: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(prior, other)
    made = transformers.AutoModelForCausalLM.from_pretrained(prior)
    torch.save(made.state_dict(), other / "pytorch_model.bin")
    assert "pytorch_model.bin" not in Loss(str(other)).files()
    (other / "model.safetensors").unlink()
    with pytest.raises(PlanError, match=r"weights in pytorch_model\.bin, a pickle"):
        Loss(str(other)).files()
    (other / "pytorch_model.bin").rename(other / "model.safetensors")
    with pytest.raises(PlanError, match=str(other)):
        Loss(str(other)).load()


def test_a_model_that_knows_no_number_is_refused(prior: Path, tmp_path: Path) -> None:
    made = transformers.AutoModelForCausalLM.from_pretrained(prior)
    with torch.no_grad():
        made.get_output_embeddings().weight[7] = float("nan")
    other = shutil.copytree(prior, tmp_path / "other")
    made.save_pretrained(other)
    with pytest.raises(PlanError, match="gives logits that are NaN"):
        Loss(str(other)).load()


def test_a_model_without_a_padding_token_works(prior: Path) -> None:
    assert transformers.AutoTokenizer.from_pretrained(prior).pad_token_id is None
    assert transformers.AutoConfig.from_pretrained(prior).pad_token_id is None


def test_a_tokenizer_with_neither_beginning_nor_end_is_refused(prior: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(prior, other)
    about = json.loads((other / "tokenizer_config.json").read_text())
    for key in ("bos_token", "eos_token"):
        about.pop(key)
    (other / "tokenizer_config.json").write_text(json.dumps(about))
    with pytest.raises(PlanError, match="no token for a sequence's beginning or end"):
        Loss(str(other)).load()
    changed(other / "tokenizer_config.json", eos_token="<|end|>")
    scorer, whole = Loss(str(other)), Loss(str(prior))
    given = batch_of(texts(5))
    assert columns(scorer, scorer.load(), given) == columns(whole, whole.load(), given)


def test_what_can_not_work_is_refused(prior: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="holds no causal language model"):
        Loss(str(tmp_path)).files()
    with pytest.raises(PlanError, match=r"Loss\(window=65\): .* reads 64 ids at most"):
        Loss(str(prior), window=65).files()
    with pytest.raises(PlanError, match="documents or chunks, not both"):
        Loss(str(prior), text="body", tokens="tokens")
    for wrong in ({"window": 1}, {"batch_tokens": 0}, {"precision": "int8"}):
        with pytest.raises(PlanError, match="Loss"):
            Loss(str(prior), **wrong)  # type: ignore[arg-type]
    (tmp_path / "adapter").mkdir()
    shutil.copytree(prior, tmp_path / "adapter", dirs_exist_ok=True)
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(PlanError, match="holds an adapter"):
        Loss(str(tmp_path / "adapter")).files()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[1]"),
        ("config.json", '{"model_type": "no_such"}'),
        ("config.json", '{"model_type": "gpt_neox", "max_position_embeddings": "x"}'),
        ("config.json", '{"model_type": "gpt_neox", "auto_map": {"AutoModel": "mine.Model"}}'),
        ("config.json", '{"model_type": "t5", "is_encoder_decoder": true}'),
        ("tokenizer.json", "{"),
        ("tokenizer_config.json", "[]"),
        ("model.safetensors", "not weights"),
    ],
)
def test_broken_files_of_a_model_end_in_one_message(prior: Path, tmp_path: Path, name: str, text: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(prior, other)
    (other / name).write_text(text)
    with pytest.raises(PlanError, match=str(other)):
        Loss(str(other)).load()


def test_chunks_need_no_tokenizer(prior: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(prior, other)
    for path in other.glob("tokenizer*"):
        path.unlink()
    given = batch_of(chunks(6), pa.list_(pa.uint16()))
    without, having = Loss(str(other), tokens="tokens"), Loss(str(prior), tokens="tokens")
    without.files()
    assert columns(without, without.load(), given) == columns(having, having.load(), given)
    with pytest.raises(PlanError, match=r"expected config\.json, model\.safetensors and tok"):
        Loss(str(other)).files()


def test_what_is_left_open_is_what_stored_scores_were_made_with() -> None:
    config = Loss("a/b")
    assert config.as_recorded({"shapes": [[256, 32]]}).batch_tokens == 8192
    assert config.as_recorded({"shapes": [[16, 32]]}) is config
    assert Loss("a/b", batch_tokens=512).as_recorded({"shapes": [[256, 32]]}).batch_tokens == 512


def test_a_long_document_has_many_windows(prior: Path) -> None:
    text = " ".join(WORDS[i * 7 % 90] for i in range(60_000))
    scorer = Loss(str(prior))
    found = columns(scorer, scorer.load(), batch_of(["w1 w2", text]), threads=2)[""]
    assert found == pytest.approx(plain(prior, ["w1 w2", text], 64), abs=1e-5)

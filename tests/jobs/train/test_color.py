"""Training the pair of language models for CoLoR: real ones, small enough for seconds."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PersimmonConfig, PersimmonForCausalLM

from poolsieve.dataflow import Pool
from poolsieve.jobs.cli import main
from poolsieve.jobs.train.color import chunks, stage, tokenizer
from poolsieve.jobs.train.color.chunks import Counted
from poolsieve.jobs.train.color.pair import train_color
from poolsieve.jobs.train.color.presets import PRESETS, preset
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.provenance import records

OPTIONS = ["--steps", "12", "--epochs", "1", "--length", "32", "--batch", "4", "--micro-batch", "2"]
SMALL: dict[str, Any] = {"steps": 12, "epochs": 1, "length": 32, "batch": 4, "micro": 2}


def documents(path: Path, kinds: str, n: int) -> Path:
    dice = random.Random(kinds)
    words = [f"{kind}{i}" for kind in kinds for i in range(40)]
    rows: list[Any] = [{"text": " ".join(dice.choices(words, k=30))} for _ in range(n)]
    lines = [json.dumps(row) for row in [*rows, {"text": None}, {"text": ""}]]
    path.write_text("\n".join([*lines, "{broken"]) + "\n")
    return path


def pool(path: Path) -> Pool:
    return Pool.jsonl(str(path), text="text")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("color")
    documents(folder / "pool.jsonl", "ab", 60)
    documents(folder / "target.jsonl", "b", 20)
    return folder


def command(data: Path, out: Path) -> list[str]:
    pools = ["--prior-pool", str(data / "pool.jsonl"), "--target", str(data / "target.jsonl")]
    return [sys.executable, "-m", "poolsieve.jobs.cli", "train", "color", *pools, "--out", str(out), *OPTIONS]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def pair(data: Path) -> Path:
    done = subprocess.run(
        command(data, data / "pair"), check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "step 12 of 12" in done.stdout and "Score(color=Color(prior='" in done.stdout
    return data / "pair"


def said(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return found


def test_both_folders_are_models_that_say_how_they_were_made(pair: Path) -> None:
    assert sorted(path.name for path in pair.iterdir()) == ["conditional", "options.json", "prior"]
    for name in ("prior", "conditional"):
        found = said(pair / name)
        assert found["stage"] == name and found["read"]["unreadable"] == 1 and found["read"]["empty"] == 2
        assert found["loss"]["last"] < found["loss"]["first"] and found["tokens"] == found["steps"] * 4 * 32
        assert found["pool"]["id"] and found["versions"]["torch"] and found["machine"]["threads"] == 1
        model = AutoModelForCausalLM.from_pretrained(pair / name)
        words = AutoTokenizer.from_pretrained(pair / name)
        assert isinstance(model, PersimmonForCausalLM) and words.eos_token_id == 0 and words.pad_token_id == 1
        assert all(not one.any() for key, one in model.named_parameters() if key.endswith(".bias"))
    assert said(pair / "prior")["steps"] == 12 and said(pair / "prior")["differs"]
    start = said(pair / "conditional")["from"]
    assert start["name"] == "prior" and len(start["files"]["model.safetensors"]) == 64
    files = {f"{name}/model.safetensors": pair / name / "model.safetensors" for name in ("prior", "conditional")}
    assert records(files) == {f"{name}/training.json": said(pair / name) for name in ("prior", "conditional")}


def test_the_loss_of_the_record_is_the_models(pair: Path, data: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(pair / "conditional")
    words = AutoTokenizer.from_pretrained(pair / "conditional")
    prior = AutoModelForCausalLM.from_pretrained(pair / "prior")
    text = json.loads((data / "target.jsonl").read_text().splitlines()[0])["text"]
    ids = torch.tensor([words(text)["input_ids"][:32]])
    with torch.no_grad():
        better, worse = (float(one(input_ids=ids, labels=ids).loss) for one in (model, prior))
    assert better < worse


def test_a_killed_training_goes_on_and_ends_the_same(pair: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    running = subprocess.Popen(command(data, out), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(out.glob("work/prior.steps/checkpoint-5/whole")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert not (out / "prior").exists()
    (out / "work/prior.steps/checkpoint-7").mkdir()  # as a kill between two files of a checkpoint leaves it
    done = subprocess.run(command(data, out), check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "prior: going on from step " in done.stdout
    for name in ("prior", "conditional"):
        assert said(out / name) == said(pair / name)
        for file in ("model.safetensors", "tokenizer.json", "config.json"):
            assert (out / name / file).read_bytes() == (pair / name / file).read_bytes(), (name, file)


def test_what_is_there_is_not_trained_again(pair: Path, data: Path, tmp_path: Path) -> None:
    out = shutil.copytree(pair, tmp_path / "pair")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    lines: list[str] = []
    given = {"prior_pool": pool(data / "pool.jsonl"), **SMALL}
    train_color(pool(data / "target.jsonl"), str(out), said=lines.append, **given)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before and "is there" in lines[0]
    for other, message in (
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"steps": 13}, r"schedule.steps: 12 there, 13 here"),
    ):
        with pytest.raises(PlanError, match=message):
            train_color(pool(data / "target.jsonl"), str(out), **{**given, **other})
    with pytest.raises(PlanError, match=r"prior_pool\.fraction"):
        train_color(
            pool(data / "target.jsonl"), str(out), **{**given, "prior_pool": pool(data / "pool.jsonl").sample(0.5)}
        )


def test_from_a_model_that_there_is(pair: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--target", str(data / "target.jsonl"), "--out", str(out), "--from", str(pair / "prior")]
    done = CliRunner().invoke(main, ["train", "color", *given, "--epochs", "1", "--batch", "4"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["conditional", "options.json"]
    found = said(out / "conditional")
    assert found["length"] == 32 and found["from"]["name"] == "prior" and found["differs"] == []
    assert set(load_file(out / "conditional/model.safetensors")) == set(load_file(pair / "prior/model.safetensors"))


def test_another_tokenizer_and_a_sample(pair: Path, data: Path, tmp_path: Path) -> None:
    given = {"prior_pool": pool(data / "pool.jsonl").sample(0.5), "tokenizer": str(pair / "prior"), **SMALL, "steps": 1}
    out = train_color(pool(data / "target.jsonl"), str(tmp_path / "out"), **given)
    assert (out / "prior/tokenizer.json").read_bytes() == (pair / "prior/tokenizer.json").read_bytes()
    found = said(out / "prior")
    assert found["pool"]["fraction"] == "0.5" and found["read"]["documents"] < 60 and not found["read"]["whole"]
    assert found["read"]["chunks"] == 4


def test_what_can_not_work_is_refused(pair: Path, data: Path, tmp_path: Path) -> None:
    target, prior = pool(data / "target.jsonl"), pool(data / "pool.jsonl")

    def refused(message: str, out: Path | str = tmp_path / "out", at: Pool = target, **given: Any) -> None:
        with pytest.raises(PlanError, match=message):
            train_color(at, str(out), **given)

    refused("either a prior pool")
    refused("either a prior pool", prior_pool=prior, start=str(pair / "prior"))
    refused("have no place", start=str(pair / "prior"), steps=3)
    refused("give one of them", prior_pool=prior, steps=3, tokens=5)
    refused("no preset 'smal'.*small", prior_pool=prior, preset="smal")
    refused("steps=0", prior_pool=prior, steps=0)
    refused("seed=-1", prior_pool=prior, seed=-1)
    refused("lr=2", prior_pool=prior, rate=2)
    for elsewhere in ("s3://bucket/x", Path("s3://bucket/x")):
        refused("a folder on this machine", out=elsewhere, prior_pool=prior)
    refused("declares no role 'text'", at=Pool.jsonl(str(data / "target.jsonl")), prior_pool=prior)
    refused("holds no tokenizer", prior_pool=prior, tokenizer=str(data))
    refused("micro-batch 0", prior_pool=prior, **{**SMALL, "micro": 0}, out=tmp_path / "micro")
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    refused("no text to train a tokenizer", prior_pool=pool(tmp_path / "empty.jsonl"), out=tmp_path / "none")
    refused("more text is needed", prior_pool=prior, length=100_000, out=tmp_path / "short")
    late = tmp_path / "late"
    refused("more text is needed", at=pool(tmp_path / "empty.jsonl"), out=late, prior_pool=prior, **SMALL)
    assert not (late / "prior").exists() and not list(late.glob("work/*.steps"))
    refused("has other contents", out=data, prior_pool=prior)
    pickled = shutil.copytree(pair / "prior", tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    refused("safetensors", start=str(pickled))
    (pair / "prior" / "x").unlink(missing_ok=True)
    assert not (tmp_path / "out").exists()


def test_the_published_sizes() -> None:
    plan = preset("olmo-150m")
    with torch.device("meta"):
        model = PersimmonForCausalLM(PersimmonConfig(**plan.model(50_280)))
    inside = sum(one.numel() for name, one in model.named_parameters() if ".layers." in name and one.dim() == 2)
    assert inside == 12 * 12 * 1024**2 and model.lm_head.weight.shape == (50_304, 1024)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert plan.tokens == 24_000 * 256 * 512 and (plan.rate, plan.beta2, plan.epsilon) == (1e-3, 0.95, 1e-15)
    assert set(PRESETS) == {"olmo-150m", "small", "tiny"}


def stream(texts: list[str], words: Any, path: Path, **how: Any) -> tuple[Counted, np.ndarray[Any, Any]]:
    source = path.with_name(f"{path.name}.jsonl")
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    given = chunks.listed(pool(source), "pool")
    counts = chunks.write_stream(given, words, path, **{"length": 8, "seed": 0, "most": None, **how})
    return counts, np.fromfile(path, dtype=chunks.dtype_of(words))


def test_documents_are_one_stream_with_an_end_behind_each(pair: Path, tmp_path: Path) -> None:
    words = AutoTokenizer.from_pretrained(pair / "prior")
    some = ["a1 a2 a3", "b4 <|endoftext|> b5", "\u00e9\u4e2d", "a" * 300, "c d " * 20]
    plain = [words(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in some]
    whole = [number for ids in plain for number in (*ids, words.eos_token_id)]
    counts, ids = stream(some, words, tmp_path / "one")
    assert counts.documents == 5 and counts.tokens == len(whole) and counts.whole
    assert ids.tolist() == whole[: len(whole) // 8 * 8] and ids.tolist().count(0) in (4, 5)
    counts, ids = stream(some, words, tmp_path / "two", most=3)
    assert ids.tolist() == whole[:24] and counts.chunks == 3 and not counts.whole


def test_a_long_text_is_cut_into_pieces(pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = AutoTokenizer.from_pretrained(pair / "prior")
    monkeypatch.setattr(chunks, "PIECE", 10)
    counts, ids = stream(["a1 b2 " * 10, "b"], words, tmp_path / "one", length=1)
    assert counts.documents == 2 and (ids == words.eos_token_id).sum() == 2
    assert words.decode(ids[: ids.tolist().index(0)]) == "a1 b2 " * 10


def test_the_same_texts_give_the_same_tokenizer_and_a_text_without_blanks_takes_its_length() -> None:
    dice = random.Random(1)
    some = [" ".join(dice.choices(["word", "other", "thing", "\u00e9t\u00e9"], k=50)) for _ in range(50)]
    one, two = (tokenizer.trained_bpe(iter(some), 400).backend_tokenizer.to_str() for _ in range(2))
    assert one == two
    hard = "".join(dice.choices("abcdef", k=1_000_000))
    started = time.monotonic()
    made = tokenizer.trained_bpe([hard], 600)
    ids = chunks.encoder(made)([hard])[0]
    assert time.monotonic() - started < 60 and made.decode(ids) == hard


def test_every_chunk_is_seen_once_a_time_round() -> None:
    found = np.concatenate(list(stage.order(10, 3, 7, seed=4)))
    assert len(found) == 21
    for around in (found[:9], found[9:18]):
        assert len(set(around.tolist())) == 9
    assert found[:9].tolist() != found[9:18].tolist()
    assert [stage.micro_of(batch, None, "cpu") for batch in (256, 8, 7, 13)] == [8, 8, 7, 1]

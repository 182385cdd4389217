"""Secrets stay out of what is written: URLs that carry them are refused, those of storage_options are never repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from poolsieve.dataflow import Pool, credentials, fs, retries
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.retries import retrying
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import run

SECRET = "s3cr3t/Pa55+word=="
RULE = Keep(col("text").word_count() >= 3, reason="caption.short")

SIGNED = [
    f"https://user:{SECRET}@host/a.tar",
    f"https://user:pa@ss:{SECRET}@host/a.tar",
    f"ftp://:{SECRET}@host/a.tar",
    f"sftp://user:{SECRET}@host:22/a.tar",
    f"https://host/a.tar?X-Amz-Algorithm=AWS4&X-Amz-Signature={SECRET}",
    f"https://host/a.tar?x-amz-security-token={SECRET}",
    f"https://host/a.tar?X-Amz-Credential={SECRET}",
    f"https://host/{{0..9}}.tar?sv=2022&sig={SECRET}",
    f"https://host/a.tar?X-Goog-Signature={SECRET}",
    f"https://storage/a.tar?GoogleAccessId=me&Signature={SECRET}",
    f"https://bucket/a.tar?AWSAccessKeyId={SECRET}&Expires=1",
    f"https://host/a.tar?token={SECRET}",
    f"https://host/a.tar?access_token={SECRET}",
    f"https://host/a.tar?a=b;api-key={SECRET}",
    f"https://host/a.tar?%73ig={SECRET}",
    f"https://host/a.tar?jwt={SECRET}",
    f"s3://AKIA123:{SECRET}@bucket/a.tar",
    f"simplecache::https://host/a.tar?sig={SECRET}",
    f"zip://*.tar::https://u:{SECRET}@host/a.zip",
    f"abfs://c@account.dfs.core.windows.net/a.tar?sig={SECRET}",
    f"https://host/a.tar#access_token={SECRET}",
]


@pytest.mark.parametrize("url", SIGNED)
def test_urls_with_credentials_are_refused_without_repeating_them(url: str, tmp_path: Path, pool: Path) -> None:
    plain = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | RULE
    for refused in (
        lambda: Pool.webdataset(url),
        lambda: Pool.webdataset("/data/a.tar", url),
        lambda: prepare(plain, url),
        lambda: fs.absolute(url),
    ):
        with pytest.raises(PlanError, match=r"carries credentials.*environment.*storage_options") as caught:
            refused()
        assert SECRET[:6] not in str(caught.value) and "***" in str(caught.value)


def test_an_export_does_not_go_to_such_a_url(pool: Path, tmp_path: Path) -> None:
    run(Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | RULE, tmp_path / "out")
    with pytest.raises(PlanError, match="carries credentials"):
        export(str(tmp_path / "out"), target=f"https://host/x?sig={SECRET}")


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a?b.tar",
        "abfs://container@account.dfs.core.windows.net/a/*.tar",
        "hf://datasets/user/name@refs%2Fconvert%2Fparquet/*.parquet",
        "hf://datasets/user/name@main/a:b@c.parquet",
        "https://host:8080/a.tar?download=true&v=1",
        "https://user@host/a.tar",
        "/data/user:word@host/a.tar?sig=1",
        "s3://bucket/signature=x/token/a.tar",
        "gs://bucket/key=1/lang=de/*.parquet",
        "https://host/a.tar?sig=",
        "https://host/a.tar?tokenizer=bpe",
    ],
)
def test_other_urls_are_not(url: str) -> None:
    assert (fs.absolute(url) == url and credentials.hide(url) == url) or url.startswith("/")


class Listed(MemoryFileSystem):
    """A store that wants a secret, and repeats it in what it says of trouble."""

    protocol = "listed"

    def __init__(self, secret: str = "", client_kwargs: Any = None, fail: bool = False, **how: Any) -> None:
        super().__init__(**how)
        self.fail = fail

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("listed://", "memory://")))

    def ls(self, path: str, **how: Any) -> Any:
        if self.fail:
            raise PermissionError(f"{SECRET} may not list {path}")
        return super().ls(path, **how)


@pytest.fixture
def listed(pool: Path) -> str:
    fsspec.register_implementation("listed", Listed, clobber=True)
    for path in pool.iterdir():
        fsspec.filesystem("memory").pipe_file(f"/listed/{path.name}", path.read_bytes())
    return "listed://listed"


def test_no_secret_of_storage_options_is_written_or_printed(
    listed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = {"secret": SECRET, "client_kwargs": {"aws_secret_access_key": SECRET}}
    pool = Pool.parquet(f"{listed}/*.parquet", uid="uid", text="text", storage_options=options)
    run(pool | RULE, tmp_path / "out")
    export(str(tmp_path / "out"), pool=pool)
    shown = f"{pool} {pool!r} {pool | RULE} {pool.located()!r} {pool.to_dict()}"
    broken = Pool.parquet(f"{listed}/*.parquet", uid="uid", storage_options={**options, "fail": True})
    with pytest.raises(PermissionError) as caught:
        broken.located().listing()
    assert "may not list" in str(caught.value) and "***" in str(caught.value)
    said = "".join([shown, *capfd.readouterr(), caplog.text, str(caught.value)])
    files = [path for path in tmp_path.glob("out/**/*") if path.is_file()]
    assert len(files) > 8 and SECRET not in said
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (f"{{'secret': '{SECRET}'}}", {}),
        (f"{{'client_kwargs': {{'aws_secret_access_key': '{SECRET}'}}}}", {}),
        ("{'token': secret}", {"secret": SECRET}),
    ],
)
def test_a_secret_in_what_the_manifest_keeps_is_refused(
    recipe_file: Callable[..., RecipeSource], text: str, given: dict[str, str]
) -> None:
    made = (
        "from poolsieve import Pool\nfrom poolsieve.filters import Keep, col\n"
        f"def recipe(secret: str = ''):\n    return Pool.parquet('a', storage_options={text}) | Keep(col('x') > 1)\n"
    )
    with pytest.raises(PlanError, match=r"the secret storage_options\['.*'\] is written in .*os\.environ") as caught:
        recipe_file(made, **given).recipe()
    assert SECRET not in str(caught.value)


def test_what_is_no_secret_may_stand_in_a_recipe(
    recipe_file: Callable[..., RecipeSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_SECRET", SECRET)
    options = "{'anon': True, 'token': 'google_default', 'key': 'AKIAX', 'endpoint_url': 'http://h', 'secret': os.environ['THE_SECRET']}"
    made = f"import os\nfrom poolsieve import Pool\nfrom poolsieve.filters import Keep, col\nrecipe = Pool.parquet('a', storage_options={options}) | Keep(col('x') > 1)\n"
    assert recipe_file(made).recipe().pool.storage_options["secret"] == SECRET
    keyed = made.replace("google_default", "/home/me/key.json")
    assert recipe_file(keyed).recipe().pool.storage_options["token"] == "/home/me/key.json"


def test_words_of_libraries_are_repeated_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "AWAY_SECONDS", 0.0)

    @retrying
    def call(url: str) -> None:
        raise ConnectionRefusedError(111, f"no answer from https://u:{SECRET}@h/x?sig={SECRET}")

    with pytest.raises(OSError, match=r"\*\*\*") as caught:
        call("s3://a")
    assert SECRET not in str(caught.value)

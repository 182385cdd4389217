"""The recipe as people read it: its own text, or for one made in Python the stages that the manifest has."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.store.manifest import Manifest
from poolsieve.scoring_models.base.config import JsonObject

_DEEPEST = 40

_FILE_CHARS = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A file of a recipe: its name without its folder, which is nobody's business, its language, and its text."""

    name: str
    language: str
    text: str


def recipe_files(manifest: Manifest) -> list[RecipeFile]:
    """The recipe file and what it includes; one printed form for a recipe that was made in Python."""
    source = manifest.source
    if source is None:
        return [RecipeFile(name="", language="text", text=printed(manifest.recipe))]
    texts = {source.path: source.text, **source.includes}
    return [RecipeFile(name=file_name(path), language=_language(path), text=text) for path, text in texts.items()]


def file_name(path: str) -> str:
    """The last part of a path or URL, in letters that a shell needs no quotes for."""
    last = os.path.basename(path.replace("\\", "/").rstrip("/"))
    return _FILE_CHARS.sub("-", last)[-100:].strip("-") or "recipe.py"


def _language(path: str) -> str:
    return "yaml" if path.endswith((".yaml", ".yml")) else "python"


def command(manifest: Manifest, index: ExportIndex, frozen: bool) -> str:
    """One command for a shell that makes the run and its export again; the recipe's file is in the working folder."""
    source = manifest.source
    parts = [shlex.join(["poolsieve", "run", file_name(source.path) if source else "recipe.py", "--out", "OUT"])]
    parts += [
        shlex.join(["-p", f"{name}={_shown(str(value))}"])
        for name, value in (source.parameters if source else {}).items()
    ]
    parts += [shlex.join(["--include", file_name(path)]) for path in (source.includes if source else ())]
    parts += ["--cuts cuts.json"] if frozen else []
    parts.append(f"&& {shlex.join(['poolsieve', 'export', 'OUT', *_export(index)])}")
    return " \\\n    ".join(parts)


def public_url(url: str) -> str:
    """A URL as a stranger may see it: of a folder on this machine only the end, since the rest tells of its owner.

    >>> public_url("/home/me/pool/part-*.parquet"), public_url("hf://datasets/a/b@c/d.parquet")
    ('.../pool/part-*.parquet', 'hf://datasets/a/b@c/d.parquet')
    """
    local = url.removeprefix("file://")
    if "://" in local:
        return url
    return ".../" + "/".join(local.replace("\\", "/").rstrip("/").split("/")[-2:]).lstrip("/")


def _shown(value: str) -> str:
    """A parameter as a stranger may see it: a folder of whoever ran it is of no use to others."""
    is_local = value.startswith(("/", "~", "file://"))
    return public_url(value) if is_local else value


def _export(index: ExportIndex) -> Iterator[str]:
    yield from ("--format", index.format)
    if index.select is not None:
        yield from ("--reason", index.select)
    if index.uids is not None:
        yield from ("--uids", "UIDS")
    if index.scores:
        yield "--scores"
    for column, record in (index.columns or {}).items():
        yield from ("--column", f"{column}={record.role}")
    usual = FORMATS[index.format].target_bytes if index.format in FORMATS else index.target_bytes
    if index.target_bytes != usual:
        yield from ("--target-mb", str(max(index.target_bytes >> 20, 1)))


def printed(recipe: JsonObject) -> str:
    """What a manifest says of a recipe, a line a stage: `  | Rule(reason='a.b', predicate=Compare(...))`.

    Of folders on this machine only the end, as `public_url` has it.
    """
    stages = recipe.get("stages")
    lines = [_call(recipe.get("pool"), 0)]
    lines += [f"  | {_call(stage, 0)}" for stage in (stages if isinstance(stages, list) else [])]
    return "\n".join(lines)


def _call(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        kind = value.get("type")
        fields = [(name, _call(one, depth + 1)) for name, one in value.items() if name != "type"]
        if isinstance(kind, str):
            return f"{kind}({', '.join(f'{name}={text}' for name, text in fields)})"
        return "{" + ", ".join(f"{name!r}: {text}" for name, text in fields) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_call(one, depth + 1) for one in value) + "]"
    return repr(_shown(value) if isinstance(value, str) else value)

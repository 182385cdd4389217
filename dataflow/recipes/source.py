"""None"""

from __future__ import annotations

import os
import sys
import threading
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from poolsieve.dataflow import fs
from poolsieve.dataflow.credentials import check_text
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.scoring_models.base.config import base_folder, digest
from poolsieve.scoring_models.base.errors import PlanError


@dataclass(frozen=True)
class RecipeSource:
    """A recipe as text: a Python file (with the files it includes) or YAML, and the parameters it is called with.

    `base` is the folder that relative paths in it are relative to.
    """

    path: str
    text: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    includes: Mapping[str, str] = field(default_factory=dict)
    base: str = "."

    @classmethod
    def read(
        cls, path: str, parameters: Mapping[str, str] | None = None, includes: tuple[str, ...] = ()
    ) -> RecipeSource:
        """Reads a recipe file and what it includes.

        Raises:
            PlanError: if a file is missing or not UTF-8.
        """
        texts = {os.path.abspath(name): _text(name) for name in includes}
        return cls(os.path.abspath(path), _text(path), dict(parameters or {}), texts, os.getcwd())

    def with_parameters(self, parameters: Mapping[str, str]) -> RecipeSource:
        """The same recipe, with some parameters set anew."""
        return replace(self, parameters={**self.parameters, **parameters})

    def recipe(self) -> Recipe:
        """Executes or parses the text. A Python file is executed once a process; its function may be called again.

        Raises:
            PlanError: for a text that makes no recipe, and for one that holds a secret of `storage_options`.
        """
        key = digest([self.path, self.text, dict(self.parameters), dict(self.includes), self.base], 16)
        with _LOCK, base_folder(self.base):
            made = self._load(key)
        check_text(made.pool.storage_options, self._texts())
        return made

    def _texts(self) -> dict[str, str]:
        """All that the manifest will hold of it."""
        return {self.path: self.text, **self.includes, **{f"-p {key}": text for key, text in self.parameters.items()}}

    def _load(self, key: str) -> Recipe:
        if self.path.endswith((".yaml", ".yml")):
            from poolsieve.dataflow.recipes.yaml import recipe_from_yaml

            return recipe_from_yaml(self.text, self.path, self.parameters)
        for path, text in self.includes.items():
            _execute(os.path.basename(path).removesuffix(".py"), path, text)
        module = _execute(f"poolsieve_recipe_{key}", self.path, self.text)
        return _recipe_of(module, self)


_LOCK = threading.RLock()


def _text(path: str) -> str:
    try:
        return fs.read_bytes(path).decode()
    except FileNotFoundError as error:
        raise PlanError(f"no recipe file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"can't read the recipe file {path}: {error}") from error


def _execute(name: str, path: str, text: str) -> types.ModuleType:
    """Runs source text as module `name`, which is in `sys.modules` before it runs (dataclasses look themselves up)."""
    if name in sys.modules and getattr(sys.modules[name], "__poolsieve_source__", None) == text:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = path
    vars(module)["__poolsieve_source__"] = text
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), vars(module))  # noqa: S102  (a recipe file is code, run as the user)
    except PlanError:
        del sys.modules[name]
        raise
    except Exception as error:  # whatever the user's file does wrong is the user's to read
        del sys.modules[name]
        raise PlanError(f"{path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _line(error: BaseException, path: str) -> str:
    """`, line 3` for the last line of the recipe file that the error went through."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}" if lines else ""


def _recipe_of(module: types.ModuleType, source: RecipeSource) -> Recipe:
    found = getattr(module, "recipe", None)
    if callable(found) and not isinstance(found, Recipe):
        found = _call(found, source)
    elif source.parameters:
        given = ", ".join(source.parameters)
        raise PlanError(f"{source.path} takes no parameters, but got {given}: define `def recipe({given}): ...`")
    if not isinstance(found, Recipe):
        what = "defines no `recipe`" if found is None else f"has a `recipe` that is {type(found).__name__}"
        raise PlanError(f"{source.path} {what}: set `recipe = Pool.parquet(...) | ...` or a function that returns it")
    return found


def _call(function: Any, source: RecipeSource) -> Any:
    import inspect

    wanted = inspect.signature(function).parameters
    for name in source.parameters:
        if name not in wanted:
            raise PlanError(
                f"{source.path}: recipe() has no parameter {name!r}; it takes {', '.join(wanted) or 'none'}"
            )
    values = {name: _parsed(text, wanted[name]) for name, text in source.parameters.items()}
    missing = [n for n, p in wanted.items() if p.default is p.empty and n not in values and p.kind not in (2, 4)]
    if missing:
        raise PlanError(f"{source.path}: recipe() needs {', '.join(missing)}: add -p {missing[0]}=VALUE")
    return function(**values)


def _parsed(text: str, parameter: Any) -> Any:
    """A command-line value: as text where the parameter is a string, else as YAML reads it (numbers, lists, true)."""
    is_text = parameter.annotation in (str, "str") or isinstance(parameter.default, str)
    return text if is_text else yaml.safe_load(text)

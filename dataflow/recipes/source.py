"""A recipe as text: how it is read, how it is compared with its files, and how it becomes a recipe."""

from __future__ import annotations

import codecs
import inspect
import os
import sys
import threading
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from poolsieve.dataflow import fs
from poolsieve.dataflow.credentials import check_text
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters.dsl.stages import placed
from poolsieve.scoring_models.base.config import base_folder, digest
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import wrong_kind


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
            PlanError: if a file is missing or not UTF-8, or what is included is no module of its own.
        """
        for name in includes:
            _check_module(os.fspath(name))
        texts = {fs.absolute(name): _text(name) for name in includes}
        return cls(fs.absolute(path), _text(path), dict(parameters or {}), texts, os.getcwd())

    def with_parameters(self, parameters: Mapping[str, str]) -> RecipeSource:
        """The same recipe, with some parameters set anew."""
        return replace(self, parameters={**self.parameters, **parameters})

    def unlike_files(self, out: str) -> str | None:
        """Why this may not be what its files say on this machine, in words; None if it is, byte for byte.

        A source that was read back from OUT may be anybody's. What its user's own files say may be run.

        Args:
            out: OUT. A recipe in there came with it, and proves nothing.
        """
        for path, text in [(self.path, self.text), *self.includes.items()]:
            if (why := _unlike_file(path, text, out)) is not None:
                return why
        if self.is_yaml and not self._filled_in():
            return "a parameter that OUT holds is more than a value: with it, the YAML has other keys or stages"
        return None

    @property
    def is_yaml(self) -> bool:
        """Whether the text is YAML, by the name of its file."""
        return self.path.endswith((".yaml", ".yml"))

    def _filled_in(self) -> bool:
        from poolsieve.dataflow.recipes.yaml_parameters import only_values

        return only_values(self.text, self.parameters)

    def recipe(self) -> Recipe:
        """Executes or parses the text. A Python file is executed once a process; its function may be called again.

        Raises:
            PlanError: for a text that makes no recipe, and for one that holds a secret of `storage_options`.
        """
        key = digest([self.path, self.text, dict(self.parameters), dict(self.includes), self.base], 16)
        with _LOCK, base_folder(self.base):
            made = self._load(key)
        check_text(made.pool.options, self._texts())
        return made

    def _texts(self) -> dict[str, str]:
        """All that the manifest will hold of it."""
        return {self.path: self.text, **self.includes, **{f"-p {key}": text for key, text in self.parameters.items()}}

    def _load(self, key: str) -> Recipe:
        if self.is_yaml:
            from poolsieve.dataflow.recipes.yaml import recipe_from_yaml

            return recipe_from_yaml(self.text, self.path, self.parameters)
        for path, text in self.includes.items():
            _execute(os.path.basename(path).removesuffix(".py"), path, text)
        module = _execute(f"poolsieve_recipe_{key}", self.path, self.text)
        return _recipe_of(module, self)


_LOCK = threading.RLock()


def _check_module(path: str) -> None:
    """Refuses an include that would take the place of a module which everything here may need, as `json`."""
    base = os.path.basename(path)
    name = base.removesuffix(".py")
    if name == base:
        raise PlanError(f"--include {path}: a module that the recipe imports is a .py file")
    there = sys.modules.get(name)
    own = there is None or hasattr(there, "__poolsieve_source__") or _is_file(there, path)
    if name in sys.stdlib_module_names or not own:
        raise PlanError(f"--include {path}: there is another module {name!r} already: give the file another name")


def _is_file(module: types.ModuleType, path: str) -> bool:
    """Whether a module was imported from that file."""
    origin = getattr(module, "__file__", None)
    return origin is not None and os.path.realpath(origin) == os.path.realpath(path)


def _text(path: str) -> str:
    try:
        return fs.read_bytes(path).decode("utf-8-sig")  # editors of Windows begin a file with a byte order mark
    except FileNotFoundError as error:
        raise PlanError(f"no recipe file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"can't read the recipe file {path}: {error}") from error


def _unlike_file(path: str, text: str, out: str) -> str | None:
    """Looks at the disk alone: a URL would be answered by whoever is asked."""
    data, shown = text.encode("utf-8", "surrogatepass"), repr(path[:300])
    if not os.path.isabs(path) or "\0" in path:
        return f"{shown} is no path of a file on this machine"
    try:
        if not os.path.isfile(path):
            return f"there is no file {shown} on this machine"
        if _lies_in(path, out):
            return f"{shown} lies in OUT itself"
        # The size first: who wrote the path may have named a file that takes all memory to read.
        marked = os.path.getsize(path) == len(data) + len(codecs.BOM_UTF8)  # which reading a recipe takes off
        data = codecs.BOM_UTF8 + data if marked else data
        if os.path.getsize(path) != len(data) or _bytes(path) != data:
            return f"{shown} on this machine says something else than the text that OUT holds"
    except OSError as error:
        return f"{shown} can't be read ({error.strerror})"
    return None


def _lies_in(path: str, out: str) -> bool:
    """Whether a file is below OUT, however either is spelled."""
    system, folder = fs.connect(out)
    if not fs.is_local(system) or not os.path.isdir(folder):
        return False
    return any(os.path.samefile(parent, folder) for parent in Path(os.path.realpath(path)).parents)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


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
    except (Exception, SystemExit) as error:  # whatever the user's file does wrong is the user's to read
        del sys.modules[name]
        raise _said(error, path) from error
    return module


def _said(error: BaseException, path: str) -> PlanError:
    """What a recipe file did wrong, with the file and the line."""
    where = f"{path}{_line(error, path)}"
    if isinstance(error, PlanError):
        return PlanError(f"{where}: {error}")
    return PlanError(f"{where}: {type(error).__name__}: {error}{_missing_module(error, path)}")


def _missing_module(error: BaseException, path: str) -> str:
    """What to do about a module that can't be imported though it stands beside the recipe."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    beside = os.path.join(os.path.dirname(path), name)
    if name and os.path.isfile(f"{beside}.py"):
        return f". The file stands beside the recipe: add --include {beside}.py, so that it travels with the recipe"
    if name and os.path.isdir(beside):
        return f". The folder {beside} stands beside the recipe: --include takes single files, a package is installed"
    return ""


def _line(error: BaseException, path: str) -> str:
    """`, line 3` for the last line of the recipe file that the error went through."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}" if lines else ""


def _recipe_of(module: types.ModuleType, source: RecipeSource) -> Recipe:
    found = getattr(module, "recipe", None)
    made_by = callable(found) and not isinstance(found, Recipe)
    if made_by:
        found = _call(found, source)
    elif source.parameters:
        given = ", ".join(source.parameters)
        raise PlanError(f"{source.path} takes no parameters, but got {given}: define `def recipe({given}): ...`")
    if not isinstance(found, Recipe):
        what = "defines no `recipe`" if found is None else f"has a `recipe` that is {type(found).__name__}"
        what = f"has a recipe() that returns {type(found).__name__}" if made_by else what
        raise PlanError(f"{source.path} {what}: set `recipe = Pool.parquet(...) | ...` or a function that returns it")
    return Recipe(found.pool, tuple(placed(one, f"{source.path}, stage {i}") for i, one in enumerate(found.stages, 1)))


def _call(function: Any, source: RecipeSource) -> Any:
    try:
        wanted = inspect.signature(function).parameters
        values = _arguments(wanted, source)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, PlanError) else _said(error, source.path) from error
    try:
        return function(**values)
    except (Exception, SystemExit) as error:
        raise _said(error, source.path) from error


def _arguments(wanted: Mapping[str, inspect.Parameter], source: RecipeSource) -> dict[str, Any]:
    """The parameters as values of the kinds that the function asks for."""
    for name in source.parameters:
        if name not in wanted:
            raise unknown_name(f"{source.path}: recipe() has no parameter {name!r}", name, wanted)
    values = {name: _parsed(name, text, wanted[name]) for name, text in source.parameters.items()}
    missing = [n for n, p in wanted.items() if p.default is p.empty and n not in values and p.kind not in (2, 4)]
    if missing:
        raise PlanError(f"{source.path}: recipe() needs {', '.join(missing)}: add -p {missing[0]}=VALUE")
    return values


def _parsed(name: str, text: str, parameter: inspect.Parameter) -> Any:
    """A command-line value: as text where the parameter is a string, else as YAML reads it (numbers, lists, true).

    Raises:
        PlanError: for what is no YAML, or of another kind than the parameter is annotated with.
    """
    if parameter.annotation in (str, "str") or isinstance(parameter.default, str):
        return text
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = getattr(error, "problem", None) or error
        raise PlanError(f"-p {name}={text}: no number, list or text as YAML has them ({said})") from error
    hint = _PLAIN.get(parameter.annotation, parameter.annotation)
    wrong = None if hint is parameter.empty else wrong_kind(value, hint)
    if wrong is not None:
        raise PlanError(f"-p {name}={text}: {wrong}")
    return value


_PLAIN: Mapping[Any, Any] = {"int": int, "float": float, "bool": bool}
"""Annotations that a recipe file with `from __future__ import annotations` has as text."""

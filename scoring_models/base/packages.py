"""Installed packages: the refusal when one is missing, and the versions that a run's scores depend on."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError

ALWAYS = ("poolsieve", "apache-beam", "pyarrow", "numpy")
"""Packages that any run's ledger depends on."""


def need(what: str, *packages: str, extra: str = "", hint: str = "") -> None:
    """Refuses to go on without a package, in the one wording that there is for it.

    Args:
        what: who needs it, as `Clip` or `backend='openvino'`.
        packages: names of distributions, or of a module that several distributions offer (`fasttext`).
        extra: the extra of poolsieve that brings them; "" for a package that none does, which is installed by name.
        hint: a further sentence.

    Raises:
        PlanError: naming what is missing, and the command that installs it.
    """
    missing = [package for package in packages if not _is_there(package)]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        install = f"pip install 'poolsieve[{extra}]'" if extra else f"pip install {' '.join(missing)}"
        said = f"{what} needs {' and '.join(missing)}, which {are} not installed: {install}"
        raise PlanError(f"{said}. {hint}" if hint else said)


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None or _version(package) is not None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def package_versions(scorers_and_editors: Iterable[Any]) -> dict[str, str]:
    """Versions of Python, of `ALWAYS`, and of the `packages` of scorers and editors; what is not installed is left out.

    Of a user's own class without `packages` nothing is known beyond that.
    """
    named = [name for made in scorers_and_editors for name in getattr(made, "packages", ())]
    found = {name: _version(name) for name in (*ALWAYS, *sorted(set(named)))}
    return {"python": platform.python_version(), **{name: version for name, version in found.items() if version}}

"""What is tracked is what is shipped: a wheel and a source archive, made anew, against the files of the checkout.

`pyproject.toml` lists every sub-package by hand, and a missing one would be left out of the wheel without a word.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("filters", "scoring_models", "dataflow", "jobs")
SHIPPED = (".py", ".j2", ".css", "py.typed")
WHEEL = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", ".", "--wheel-dir")
SOURCE = ("-c", "import setuptools.build_meta, sys; setuptools.build_meta.build_sdist(sys.argv[1])")


def tracked(folder: str) -> list[str]:
    """Files of a folder, relative to the root: git's, with those not yet added; where git knows none, all there are."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", folder]
    if shutil.which("git"):
        listed = subprocess.run(git, cwd=ROOT, check=False, capture_output=True, text=True).stdout.split("\n")
        if any(listed):
            return sorted(name for name in listed if name and (ROOT / name).is_file())
    # os.walk doesn't follow links: `poolsieve/filters` leads back to `filters`.
    walked = [Path(base, name) for base, _, names in os.walk(ROOT / folder) for name in names]
    return sorted(str(path.relative_to(ROOT)) for path in walked if "__pycache__" not in path.parts)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive of a copy of the checkout, links included as `make` makes them.

    A copy, since setuptools builds in place: what an earlier build left in `build/` would be shipped again.
    """
    copy, made = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in [*(n for p in (*PACKAGES, "poolsieve") for n in tracked(p)), "pyproject.toml", "README.md", "LICENSE"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    for name in PACKAGES:
        (copy / "poolsieve" / name).symlink_to(Path("..", name))
    for build in (WHEEL, SOURCE):
        subprocess.run([sys.executable, *build, str(made)], cwd=copy, check=True)
    return made


def assert_same(held: list[str], tracked: list[str]) -> None:
    """Each file that is meant for users once, and no other."""
    has, wanted = Counter(held), Counter(name for name in tracked if name.endswith(SHIPPED))
    assert has == wanted, f"not shipped: {sorted(wanted - has)}; shipped and not tracked: {sorted(has - wanted)}"


def test_the_wheel_holds_every_tracked_file_and_nothing_else(shipped: Path) -> None:
    (wheel,) = shipped.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    wanted = [f"poolsieve/{name}" for package in PACKAGES for name in tracked(package)] + tracked("poolsieve")
    assert_same(held, wanted)


def test_the_source_archive_holds_every_file_once(shipped: Path) -> None:
    (source,) = shipped.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        held = [member.name.partition("/")[2] for member in archive if member.isfile()]
    held = [name for name in held if name.startswith((*(f"{p}/" for p in PACKAGES), "poolsieve/"))]
    assert_same(held, [name for package in (*PACKAGES, "poolsieve") for name in tracked(package)])


def test_the_packages_say_that_they_are_typed_in_one_place() -> None:
    """PEP 561: one py.typed at the top holds for all sub-packages."""
    marks = [name for package in (*PACKAGES, "poolsieve") for name in tracked(package) if name.endswith("py.typed")]
    assert marks == ["poolsieve/py.typed"]

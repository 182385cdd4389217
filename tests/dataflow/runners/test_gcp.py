"""`poolsieve[gcp]`: what it installs beside poolsieve holds other packages back. `make test-gcp` makes a venv with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="poolsieve[gcp] is not installed; see make test-gcp")


def test_everything_imports_beside_googles_clients() -> None:
    """In a fresh process: google-genai, which Beam's extra brings, held tenacity at a version that we did not work with."""
    code = "import poolsieve.jobs.api, poolsieve.filters, poolsieve.scoring_models, poolsieve.dataflow.passes.pipeline"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:tenacity", "-c", code], check=True, timeout=300)


def test_google_storage_is_reachable_by_its_urls() -> None:
    from gcsfs import GCSFileSystem

    from poolsieve.dataflow import fs

    system, path = fs.connect("gs://bucket/folder", {"token": "anon"})
    assert isinstance(system, GCSFileSystem) and path == "bucket/folder"

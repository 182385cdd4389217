"""A job as Dataflow's service would get it, made without a connection: what machines, flags and hints come to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, TestOptions

from poolsieve.scoring_models.base.config import JsonObject


def job_description(options: PipelineOptions, build: Callable[[beam.Pipeline], None]) -> tuple[JsonObject, Any]:
    """(the job as JSON, its graph as Beam's protocol buffer). Opens no connection and needs no credentials.

    Args:
        options: from `Engine.options` of the runner `dataflow`.
        build: adds the job's steps to a pipeline.
    """
    options.view_as(TestOptions).dry_run = True
    options.view_as(GoogleCloudOptions).no_auth = True
    pipeline = beam.Pipeline(runner="DataflowRunner", options=options)
    build(pipeline)
    job = pipeline.run().job
    _client(options, job).create_job_description(job)
    return json.loads(job.json()), job.proto_pipeline


def _client(options: PipelineOptions, job: Any) -> Any:
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    class Unsent(DataflowApplicationClient):  # type: ignore[misc]  # Beam is not typed
        """Beam's client, whose files stay here."""

        def stage_file(self, gcs_or_local_path: str, file_name: str, stream: Any, *args: Any, **kwargs: Any) -> None:
            """Reads the file, and sends it nowhere."""
            stream.read()

    return Unsent(options, job.root_staging_location)

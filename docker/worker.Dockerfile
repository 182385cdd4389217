# Worker image for CPUs; the launcher of the Flex Template is the same image. docs/docker.md says how it is built and what
# was tried of it. Versions are those that poolsieve is tested with: tests/test_docker.py compares.
FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:20230622_RC00 AS launcher

# Everything is installed into one environment, which is copied: tools for building stay behind.
FROM python:3.11-slim-bookworm AS build
# Wheels of torch without CUDA; any index that has them will do.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=clip,classifiers,causal,text,hub,gcp,aws
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY poolsieve/__init__.py poolsieve/py.typed ./poolsieve/
COPY filters ./filters
COPY scoring_models ./scoring_models
COPY dataflow ./dataflow
COPY jobs ./jobs
RUN python -m venv /opt/poolsieve \
    && /opt/poolsieve/bin/pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" ".[${EXTRAS}]" apache-beam==2.77.0 \
    && /opt/poolsieve/bin/pip check

FROM python:3.11-slim-bookworm AS base
COPY --from=build /opt/poolsieve /opt/poolsieve
# Models that `poolsieve models RECIPE --to docker/models` put there; none is fine. Others come by `--models URL`.
COPY --chown=10001:10001 docker/models /opt/models
ENV PATH=/opt/poolsieve/bin:$PATH \
    HF_HUB_CACHE=/opt/models \
    HF_HUB_OFFLINE=1 \
    PYTHONUNBUFFERED=1

# For Spark, Flink, Kubernetes and Slurm: any command of poolsieve, by a user who is not root.
FROM base AS plain
RUN useradd --uid 10001 --create-home poolsieve
USER 10001
WORKDIR /home/poolsieve
ENTRYPOINT ["poolsieve"]

# For Dataflow, whose boot program installs and mounts as root. The last stage: what a build makes if nothing is said.
FROM base AS dataflow
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY docker/flex.py /template/flex.py
# Beam's boot program would make an environment of its own, over the system's Python: poolsieve is in ours.
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/flex.py \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
ENTRYPOINT ["/opt/apache/beam/boot"]

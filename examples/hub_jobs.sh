#!/bin/bash
# A run as jobs on Hugging Face (`hf jobs run`): one job a part. docs/slurm.md explains it.
#
#   RECIPE=https://huggingface.co/.../recipe.py OUT=s3://bucket/OUT PARTS=8 examples/hub_jobs.sh
#   ... and, when `hf jobs ps` shows none of them any more:  poolsieve finish RECIPE --out OUT
#
# RECIPE is a URL that a job can read, OUT and the pool are URLs too: a job's own disk goes with it.
set -euo pipefail
: "${RECIPE:?a URL of the recipe file}" "${OUT:?a URL of the run's folder}"
: "${PARTS:=4}" "${FLAVOR:=l4x1}" "${IMAGE:=python:3.12}" "${TIMEOUT:=6h}" "${INSTALL:=poolsieve[clip,aws]}"

for ((part = 0; part < PARTS; part++)); do
    # The keys of the storage go as secrets, which are not shown in the job's page.
    hf jobs run --detach --flavor "$FLAVOR" --timeout "$TIMEOUT" \
        --secrets HF_TOKEN --secrets AWS_ACCESS_KEY_ID --secrets AWS_SECRET_ACCESS_KEY \
        "$IMAGE" bash -c "pip install -q '$INSTALL' && poolsieve run '$RECIPE' --out '$OUT' --part $part/$PARTS"
done

#!/bin/bash
# A run on a Slurm cluster: an array scores, one job decides. docs/slurm.md explains it.
#
#   RECIPE=recipe.py OUT=/shared/OUT examples/slurm.sh
#
# OUT and the pool must be within reach of every node under the same names. What is asked of each task (GPUs, cores,
# time, a partition) goes into TASK, what is asked of the job that decides into FINISH, as options of sbatch.
#SBATCH --job-name=poolsieve
set -euo pipefail

: "${RECIPE:?the recipe file}" "${OUT:?the folder of the run}"
: "${ARRAY:=0-99}" "${PARTS:=slurm}" "${TASK:=--gpus-per-task=1 --cpus-per-task=8 --time=12:00:00}" "${FINISH:=--time=2:00:00}"
export RECIPE OUT ARRAY PARTS TASK FINISH
SCRIPT=${SCRIPT:-$(realpath "$0")}
export SCRIPT

case "${1:-submit}" in
submit)
    # Slurm sends SIGTERM two minutes before the end of the time: what was scored is kept, and the task is done again.
    # shellcheck disable=SC2086  # these hold several options each
    array=$(sbatch --parsable --array="$ARRAY" --requeue --signal=B:TERM@120 --open-mode=append $TASK "$SCRIPT" task)
    # shellcheck disable=SC2086
    sbatch --dependency="afterany:${array%%;*}" $FINISH "$SCRIPT" finish
    ;;
task)
    exec poolsieve run "$RECIPE" --out "$OUT" --part "$PARTS"
    ;;
finish)
    status=0
    poolsieve finish "$RECIPE" --out "$OUT" || status=$?
    # 3: scores are lacking, since tasks died or a rule had to see the whole pool first. What is scored is passed over.
    if [ "$status" -eq 3 ] && [ "${ROUND:-1}" -lt "${ROUNDS:-5}" ]; then
        ROUND=$((${ROUND:-1} + 1)) exec "$SCRIPT" submit
    fi
    exit "$status"
    ;;
esac

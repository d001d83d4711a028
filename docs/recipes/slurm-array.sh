#!/bin/bash
#SBATCH --job-name=ablation
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=shard-%a.log

# sbatch docs/recipes/slurm-array.sh STUDY [OPTIONS OF harness run]
#
# Task 3 of the array trains shard 3 of 16 into results/NAME-shard-3-of-16. A minute before the time limit, and when
# a task is preempted, Slurm sends SIGTERM: the harness keeps the state of what it trains and ends with 143, and the
# task is put back into the queue, where it goes on. Shards again: sbatch --array=3,7 docs/recipes/slurm-array.sh ..
shards=${SHARDS:-16} # as in --array; not SLURM_ARRAY_TASK_COUNT, which is 2 for --array=3,7

harness run "$@" --shard "$SLURM_ARRAY_TASK_ID/$shards" &
training=$!
trap 'kill -TERM "$training"' TERM
wait "$training"
code=$?
while kill -0 "$training" 2> /dev/null; do # the signal has ended the wait, not the training
  wait "$training"
  code=$?
done
if [ "$code" -eq 143 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"

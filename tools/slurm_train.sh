#!/usr/bin/env bash
# Train as a Slurm job.
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
Usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py ...]

    GPUS           processes in all             (default 8)
    GPUS_PER_NODE  processes on each machine    (default 8, or GPUS where that is less)
    CPUS_PER_TASK  CPU cores of each process    (default 5)
    SRUN_ARGS      more arguments of srun, e.g. "--time=8:00:00 --qos=high"
TEXT
    exit 2
}

[[ $# -ge 4 ]] || usage
partition=$1 job_name=$2 config=$3 work_dir=$4
shift 4

gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -r -a srun_args <<<"${SRUN_ARGS:-}"
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="${tools%/*}${PYTHONPATH:+:$PYTHONPATH}"

exec srun --partition "$partition" --job-name "$job_name" \
    --gres "gpu:$gpus_per_node" --ntasks "$gpus" --ntasks-per-node "$gpus_per_node" \
    --cpus-per-task "${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${srun_args[@]+"${srun_args[@]}"} \
    "${PYTHON:-python}" -u "$tools/train.py" "$config" --work-dir "$work_dir" --launcher slurm "$@"

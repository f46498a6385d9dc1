#!/usr/bin/env bash
# Test with several processes, one a GPU (on a machine without one: CPU processes on gloo).
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py ...]

GPUS is the number of processes on this machine. On several machines, run the same command on each, with
    NNODES       number of machines              (default 1)
    NODE_RANK    0 on the first machine, 1, ...  (default 0)
    MASTER_ADDR  address of the first machine    (default 127.0.0.1)
    PORT         a free port on it               (default: 29500; on one machine, any free one)
TEXT
    exit 2
}

[[ $# -ge 3 && $3 =~ ^[1-9][0-9]*$ ]] || usage
config=$1 checkpoint=$2 gpus=$3
shift 3

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="${tools%/*}${PYTHONPATH:+:$PYTHONPATH}"

if [[ ${NNODES:-1} == 1 && -z ${PORT:-} ]]; then
    rendezvous=(--standalone) # any free port, so that two jobs fit on one machine
else
    rendezvous=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
        --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node "$gpus" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"

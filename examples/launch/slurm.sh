#!/bin/bash
#SBATCH --job-name=rft
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
# Ray on all nodes of the allocation, then the run on the first one:
#   sbatch examples/launch/slurm.sh recipes/videochat_r1_joint_7b.yaml run_dir=/shared/runs/first
set -euo pipefail
head_ip=$(hostname --ip-address | cut -d " " -f 1)
address=$head_ip:$((20000 + SLURM_JOB_ID % 20000))
export RAY_ENABLE_UV_RUN_RUNTIME_ENV=0

ray start --head --node-ip-address="$head_ip" --port="${address#*:}" --disable-usage-stats --block &
head=$!
trap 'kill "$head" 2>/dev/null || true' EXIT
if [ "$SLURM_NNODES" -gt 1 ]; then
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$(hostname)" \
        ray start --address="$address" --disable-usage-stats --block &
fi
python "$SLURM_SUBMIT_DIR/examples/launch/wait_for_nodes.py" "$address" "$SLURM_NNODES"
rft train "$@" "cluster.address=$address"

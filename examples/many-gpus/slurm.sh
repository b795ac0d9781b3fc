#!/usr/bin/env bash
# A training on several machines under Slurm: sbatch examples/many-gpus/slurm.sh CONFIG [KEY=VALUE ...]
#SBATCH --job-name=tidyvoice
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --requeue
#SBATCH --output=slurm-%j.log
set -euo pipefail
if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi

machines=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${machines%%$'\n'*}
# Restarted ranks would otherwise read the addresses of those before (pytorch issue 135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# One torchrun on each machine. They find one another at the first one's port and agree on the ranks.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
  --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-endpoint "$first:${RENDEZVOUS_PORT:-29500}" \
  --max-restarts "${MAX_RESTARTS:-0}" \
  -m tidyvoice train "$@"

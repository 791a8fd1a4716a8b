"""A Ray cluster inside one Slurm job: the script that starts it and does the run."""

import shlex

from nas.launch.job import Job, Submission

SCRIPT = """\

# One Ray for this job: its head on the first node, a worker on each of the others.
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

on() {
  srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
    --nodelist="$1" "${@:2}"
}

addresses="$(on "${nodes[0]}" hostname --ip-address)"
# Of its own, as another job may have its Ray on this node.
address="${addresses%% *}:$((20000 + SLURM_JOB_ID % 10000))"
resources=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus=GPUS)
on "${nodes[0]}" ray start --block --head --include-dashboard=false \\
  --node-ip-address="${address%:*}" --port="${address#*:}" "${resources[@]}" &
tries=0
until on "${nodes[0]}" ray health-check --address "$address" > /dev/null 2>&1; do
  if ((++tries >= 60)); then
    echo "the head of Ray did not start on ${nodes[0]}" >&2
    exit 1
  fi
  sleep 2
done
for node in "${nodes[@]:1}"; do
  on "$node" ray start --block --address="$address" "${resources[@]}" &
done

on "${nodes[0]}" COMMAND --ray-address "$address"
"""
"""What follows the options of `sbatch`; GPUS and COMMAND are filled in."""


def submission(job: Job) -> Submission:
    """Returns the script that `sbatch` is given.

    It runs in this folder, as Slurm's machines see the same disks; a run that is
    preempted is queued again and goes on.
    """
    options = job.options
    directives = {
        "job-name": job.name,
        "nodes": options.workers + 1,
        "ntasks-per-node": 1,
        "cpus-per-task": options.cpus_per_worker,
        "gpus-per-node": options.gpus_per_worker or None,
        "mem": options.memory,
        "time": options.time,
        "partition": options.partition,
        "account": options.account,
        "output": "%x-%j.log",
        "open-mode": "append",
    }
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH --{name}={v}" for name, v in directives.items() if v is not None),
        "#SBATCH --requeue",
    ]
    body = SCRIPT.replace("GPUS", str(options.gpus_per_worker))
    # Last, as it may hold any words.
    body = body.replace("COMMAND", shlex.join(job.line))
    text = "\n".join(lines) + "\n" + body
    return Submission(
        text=text,
        line=("sbatch",),
        given=text,
        then=f"follow it with `squeue --name {job.name}` and in {job.name}-JOB.log",
    )

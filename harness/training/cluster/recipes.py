"""Recipes: shell scripts that start a Ray cluster and train a study on it, filled with what is known here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.training.cluster import probe

NAME = re.compile(r"[A-Za-z0-9_.:@\[\]-]+")
"""Form of a host's name or address, as a shell and ssh take it for one word."""
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
PORT = 6379
RAY = """\
#!/bin/sh
# A Ray cluster on hosts of your own, and a study on it. Run this on the host HEAD.
#
# Every host needs the same environment at the same path: {versions}.
# `ray` and `harness` are on the PATH here. At the end all that is yours of Ray on these hosts is stopped.
# Whoever has the token runs any program on all hosts, so that only you can read it. On Linux Ray listens on
# all addresses of a host, whichever it is given, and encrypts nothing: let the hosts be in a network of their
# own, behind a firewall, where all ports between them are open.
{alone}set -eu
HEAD={head}
PORT={port}
HOSTS="{hosts}"
RAY=$(command -v ray) || {{ echo "ray is not on the PATH: activate its environment first" >&2; exit 1; }}
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

# 1. One token for all hosts, in a file of yours.
TOKEN=${{RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}}
if [ ! -s "$TOKEN" ]; then
    (umask 077; mkdir -p "$(dirname "$TOKEN")"
    python -c "import secrets; print(secrets.token_hex(32), end='')" > "$TOKEN")
fi
chmod 600 "$TOKEN"
for host in $HOSTS; do
    ssh "$host" 'umask 077; mkdir -p ~/.ray; cat > ~/.ray/auth_token' < "$TOKEN"
done

# 2. Ray on every host; it ends with this script, whatever happens.
finish() {{
    for host in $HOSTS; do ssh "$host" "$RAY stop" || true; done
    "$RAY" stop
}}
trap finish EXIT
trap 'exit 143' TERM
"$RAY" start --head --node-ip-address="$HEAD" --port="$PORT" --include-dashboard=false
for host in $HOSTS; do
    ssh "$host" "RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 $RAY start --address=$HEAD:$PORT"
done

# 3. What each node would do, and then the study. The same command goes on after a failure.
harness cluster check "$HEAD:$PORT" {study}
harness run {study} --cluster "$HEAD:$PORT"
"""
ALONE = """\
#
# No other host was named, so this host trains alone. Name others by --head ADDRESS_OF_THIS_HOST --host NAME.
"""
SLURM = """\
#!/bin/bash
# A Ray cluster within an allocation of Slurm, and a study on it: sbatch THIS_FILE.
#
# Every node needs the same environment at the same path: {versions}.
# Submit it from a folder that all nodes share, with that environment active: the token is written there, and
# read by all nodes. Only the first node reads the study and writes results.
#SBATCH --job-name=harness
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={cores}
{gpus}#SBATCH --time={time}
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
set -eu
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# One token for this run, which only you can read.
export RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
started="$PWD/.harness-pid-$SLURM_JOB_ID"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH" "$started"' EXIT
(umask 077; python -c "import secrets; print(secrets.token_hex(32), end='')" > "$RAY_AUTH_TOKEN_PATH")
rm -f "$started"

# `ray symmetric-run` starts Ray on every node, the command on the first one, where this script runs, too, and
# after it stops all that is yours of Ray on these nodes. Where Ray does not start it ends with 0.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
    ray symmetric-run --address "$head:{port}" --min-nodes "$SLURM_JOB_NUM_NODES" \\
    --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false -- \\
    sh -c 'echo $$ > "$0"; exec harness run {study} --cluster auto' "$started" &
step=$!

# A minute before the time is over the run is told to stop: it keeps its checkpoints, and ends with 143.
trap 'kill -TERM "$(cat "$started")"' TERM
code=0
wait "$step" || code=$?
while kill -0 "$step" 2>/dev/null; do code=0; wait "$step" || code=$?; done
[ -s "$started" ] || {{ echo "Ray did not start; nothing was trained" >&2; exit 1; }}
if [ "$code" = 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi  # the same command goes on
exit "$code"
"""


def ray(study: str, head: str, hosts: Sequence[str] = (), port: int = PORT) -> str:
    """Return a script for hosts that are reached by ssh; `head` is the one that it runs on.

    Raises:
        UsageError: a host's name is none.
    """
    for host in (head, *hosts):
        if not NAME.fullmatch(host):
            raise UsageError(f"host {host!r}: allowed is a name or an address, such as node7 or 10.0.0.7")
    if hosts and head in LOOPBACK:
        raise UsageError(
            f"--head {head}: other hosts cannot reach that. Name this host as they do: --head 10.0.0.1"
        )
    alone = "" if hosts else ALONE
    filled = {"head": head, "hosts": " ".join(hosts), "port": str(port), "alone": alone}
    return _filled(RAY, study, filled)


def slurm(study: str, nodes: int, cores: int, gpus: int, time: str, port: int = PORT) -> str:
    """Return a batch script for Slurm: `cores` and `gpus` are a node's, `time` as sbatch takes it.

    Raises:
        UsageError: the time has another form.
    """
    if not re.fullmatch(r"(\d+-)?\d{1,3}(:\d{2}){0,2}", time):
        raise UsageError(f"--time {time!r}: allowed is Slurm's form, such as 04:00:00 or 2-00:00:00")
    needed = f"#SBATCH --gpus-per-node={gpus}\n" if gpus else ""
    filled = {"nodes": str(nodes), "cores": str(cores), "gpus": needed, "time": time, "port": str(port)}
    return _filled(SLURM, study, filled)


def _filled(recipe: str, study: str, values: Mapping[str, str]) -> str:
    quoted = shlex.quote(study)
    if "'" in quoted:
        raise UsageError(
            f"study {study!r}: allowed in a recipe is a name or a path without spaces and quotes"
        )
    return recipe.format(study=quoted, versions=versions(), **values)


def versions() -> str:
    """Name the versions that every node needs, as this process has them."""
    facts = probe.facts()
    names = {
        "python": "Python",
        "ray": "ray",
        "torch": "torch",
        "numpy": "numpy",
        "harness": "ablation-harness",
    }
    return ", ".join(f"{title} {facts[name]}" for name, title in names.items())

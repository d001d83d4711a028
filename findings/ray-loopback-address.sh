#!/usr/bin/env bash
# Ray 2.60.0: ray.init(_node_ip_address="127.0.0.1") and `ray start --head --node-ip-address=127.0.0.1`, on Linux with a network.
#
# One expects a cluster that nobody outside of this machine reaches. Ray replaces a loopback address that is asked for by the
# address of the network (services.resolve_ip_for_localhost), and then its processes listen on all interfaces: the head, the
# node, the driver and each worker. 127.0.0.2 is not replaced, so that the node has it as its address, but they listen on all
# interfaces too. On Windows and macOS 127.0.0.1 is used and all listen there alone; so they do on Linux where Ray is made to
# take the system for one without clusters of several nodes (ray_constants.ENABLE_RAY_CLUSTER, a private constant).
#
# Observed (2026-11-30, Python 3.11, a machine with an address of its own); the script fails if this changes:
#   asked for nothing: all interfaces
#   asked for 127.0.0.1: all interfaces
#   asked for 127.0.0.2: all interfaces
#   asked for nothing, without clusters of several nodes: 127.0.0.1 alone
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet "ray==2.60.0" psutil==7.2.2
cat > "$folder/listening.py" <<'PYTHON'
import os
import sys

import psutil
import ray
from ray._private import ray_constants

address, several = sys.argv[1], sys.argv[2] == "several"
if not several:
    ray_constants.ENABLE_RAY_CLUSTER = False
asked = {"_node_ip_address": address} if address else {}
ray.init(
    "local", num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, logging_level="ERROR",
    _temp_dir=os.environ["RAY_FOLDER"], **asked,
)  # fmt: skip
ray.get(ray.remote(lambda: 1).remote())
me = psutil.Process()
listening = {
    place.laddr.ip.removeprefix("::ffff:")
    for process in [me, *me.children(recursive=True)]
    for place in process.net_connections("inet")
    if place.status == psutil.CONN_LISTEN
}
ray.shutdown()
print("all interfaces" if listening & {"::", "0.0.0.0"} else f"{' '.join(sorted(listening))} alone")
PYTHON
export RAY_USAGE_STATS_ENABLED=0 HOME="$folder" RAY_FOLDER="$folder/ray"
code=0
observe() {  # address, several or one, what was observed
    got=$("$folder/env/bin/python" "$folder/listening.py" "$1" "$2" 2> "$folder/errors" | tail -n 1)
    [ "$2" = several ] && kind="" || kind=", without clusters of several nodes"
    echo "asked for ${1:-nothing}$kind: $got"
    [ "$got" = "$3" ] || code=1
}
observe "" several "all interfaces"
observe 127.0.0.1 several "all interfaces"
observe 127.0.0.2 several "all interfaces"
observe "" one "127.0.0.1 alone"
exit $code

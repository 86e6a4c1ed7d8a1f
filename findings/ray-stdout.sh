#!/usr/bin/env bash
# Ray writes to the standard output of the program that uses it when a node dies, with `log_to_driver=False` as well: a
# table of the node and the last lines of its raylet's log. Ray 2.60.0, Linux, a cluster of this machine by Ray's own
# test utility. Who prints one JSON object a line there, for other programs, gets lines between them that are none.
# What we do: our lines go to a copy of standard output, whose place is given to standard error (cli/bulk.py,
# `_lines_of_our_own`).
#
# Prints how many lines there were. Fails where there are none: then the behaviour has changed. Needs half a gigabyte for
# the time being.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ray==2.60.0
cat >"$folder/driver.py" <<'PYTHON'
import sys
import time

import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
node = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False, logging_level="error")


@ray.remote(max_restarts=-1, max_task_retries=-1)
class Actor:
    def answer(self):
        return 1


actor = Actor.remote()
ray.get(actor.answer.remote())
cluster.remove_node(node, allow_graceful=False)
cluster.add_node(num_cpus=1)
ray.get(actor.answer.remote())
time.sleep(5)
print("ray", ray.__version__, file=sys.stderr)
PYTHON
RAY_USAGE_STATS_ENABLED=0 TMPDIR=/tmp "$folder/venv/bin/python" "$folder/driver.py" >"$folder/stdout"
lines=$(wc -l <"$folder/stdout")
echo "lines on standard output that the program did not write: $lines"
cut -c 1-120 "$folder/stdout" | head -5
[[ $lines -gt 0 ]] || { echo "nothing is written there now"; exit 1; }

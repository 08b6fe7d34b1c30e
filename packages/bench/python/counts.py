"""What Ray knows of: for each line on standard input, the name of a group, a line of JSON with the numbers of its actors that live and of its placement groups.

Arguments: the word `phalanx`, the cluster's address. The end of standard input is the end.
"""
import json
import os
import sys

out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
import ray  # noqa: E402  (what it prints at its import belongs to standard error)
from ray._private.state import actors  # noqa: E402
from ray.util import placement_group_table  # noqa: E402

ray.init(address=sys.argv[2], log_to_driver=False, logging_level="ERROR")
for line in sys.stdin:
    name = line.strip()
    living = [actor for actor in actors().values() if actor["State"] != "DEAD" and actor["Name"].startswith(name)]
    groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED" and group["name"].startswith(name)]
    out.write(json.dumps({"actors": len(living), "groups": len(groups)}) + "\n")

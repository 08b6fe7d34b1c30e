"""A driver of Ray that is none of Phalanx's: for each line on standard input a line with the actors and placement groups that live.

A line `{"make": [...], "name": ...}` makes a placement group first, `{"remove": id}` removes one, and `{"drive": [...], "env": ...}` runs a program
in an actor, in the placement group of that name.
"""
import json
import os
import subprocess
import sys

out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
import ray  # noqa: E402
from ray._private.state import actors  # noqa: E402
from ray.util import get_placement_group, placement_group, placement_group_table, remove_placement_group  # noqa: E402
from ray.util.placement_group import PlacementGroup, PlacementGroupID  # noqa: E402
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy  # noqa: E402


class Driver:
    def drive(self, command, env):
        env = os.environ | env | {"PHALANX_PLACEMENT_GROUP": ray.util.get_current_placement_group().id.hex()}
        ended = subprocess.run(command, env=env, capture_output=True, text=True)
        return [ended.returncode, ended.stdout, ended.stderr]


def drive(order):
    where = PlacementGroupSchedulingStrategy(get_placement_group(order["name"]))
    actor = ray.remote(Driver).options(num_cpus=0, scheduling_strategy=where).remote()
    return ray.get(actor.drive.remote(order["drive"], order["env"]))


ray.init(address=sys.argv[2], namespace="phalanx", log_to_driver=False, logging_level="ERROR")
for line in sys.stdin:
    order = json.loads(line)
    if "make" in order:
        placement_group(order["make"], name=order["name"]).wait(30)
    if "remove" in order:
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(order["remove"]))))
    driven = drive(order) if "drive" in order else None
    live = [actor for actor in actors().values() if actor["State"] != "DEAD"]
    groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
    print(
        json.dumps(
            {
                "driven": driven,
                "actors": [{"name": actor["Name"], "pid": actor["Pid"]} for actor in live],
                "groups": [
                    {"id": group["placement_group_id"], "name": group["name"], "strategy": group["strategy"], "state": group["state"]}
                    for group in groups
                ],
            }
        ),
        file=out,
    )

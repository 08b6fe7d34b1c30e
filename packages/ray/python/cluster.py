"""A node of Ray, for as long as standard input is open: the head of a cluster, or one that joins a head. Tells the cluster's address on a line, and
leaves nothing when it ends.

The environment bears the token and Ray's own settings; argument 2 is the rest, as JSON.
"""
import ctypes
import fcntl
import glob
import json
import os
import shutil
import signal
import sys
import time

# Ray's processes have process groups of their own, but all of them stay in this session: that is what they are found by.
if os.getsid(0) != os.getpid():
    os.setsid()
out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
settings = json.loads(sys.argv[2])
# Whoever loses its parent becomes a child of this process (PR_SET_CHILD_SUBREAPER), so that its end can be waited for.
ctypes.CDLL(None).prctl(36, 1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())


def sweep():
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if pid != os.getpid() and os.getsid(pid) == os.getpid():
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            break
    shutil.rmtree(settings["folder"], ignore_errors=True)


def sweep_others():
    """Removes the folders of clusters that were killed together with whoever had started them: nobody holds their locks."""
    for lock in glob.glob(f"{settings['siblings']}*/lock"):
        try:
            if time.time() - os.stat(lock).st_mtime < 60:
                continue
            with open(lock) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(os.path.dirname(lock), ignore_errors=True)
        except OSError:
            pass


held = open(os.path.join(settings["folder"], "lock"), "w")
fcntl.flock(held, fcntl.LOCK_EX)
sweep_others()
try:
    from ray._private import node as nodes
    from ray._private.parameter import RayParams

    class Node(nodes.Node):
        def start_api_server(self, **_):
            """Without a dashboard, its process would only report to Ray's makers."""

    node = Node(
        RayParams(
            node_ip_address=settings["host"],
            num_cpus=settings["cpus"],
            num_gpus=settings["gpus"],
            resources=settings["resources"],
            gcs_address=settings["join"],
            object_store_memory=settings["objectStore"],
            temp_dir=settings["folder"],
            include_log_monitor=False,
            include_dashboard=False,
            no_monitor=True,
            min_worker_port=0,
            max_worker_port=0,
            node_manager_port=0,
        ),
        head=settings["join"] is None,
        shutdown_at_exit=False,
        spawn_reaper=False,
    )
    # A raylet that was killed must not stay as a process that nobody has reaped: to its actors, which end themselves without it, that one lives.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(json.dumps({"address": node.gcs_address}), file=out)
    sys.stdin.read()
finally:
    sweep()

"""Phalanx's bridge to Ray: a driver of Ray that reserves placement groups, starts agents in them, and tells every death at once.

It speaks JSON, an object a line. The first line on standard input is the configuration; then `{id, method, params}` comes in, and
`{id, result}`, `{id, error}` and `{event, ...}` go out. The end of standard input is the end of the bridge: Ray then ends the job, and with it
whatever is not detached. The environment bears the cluster's token.
"""
import asyncio
import concurrent.futures
import ctypes
import json
import os
import signal
import sys
import threading
import time

# What Ray prints goes to standard error; the real standard output is the protocol's.
out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

# Seconds that Ray's own services may take for an answer before they count as lost.
PATIENCE = 5
# What Ray says of a placement group that it is about to lay, and for how many seconds more that may go on.
UNDER_WAY, LAYING = {"QUEUED", "SCHEDULING_STARTED", "FINISHED"}, 1
# How often, in seconds, the nodes are looked at, and for how long they may be silent before that is news.
LOOK, SILENCE = 0.25, 3


def emit(**message):
    out.write(json.dumps(message) + "\n")


def fatal(code, error):
    emit(event="fatal", code=code, detail=str(error))
    os._exit(1)


class Failure(Exception):
    def __init__(self, code, detail, **data):
        super().__init__(detail)
        self.code, self.data = code, data


try:
    import ray
    from ray._private.services import find_node_ids
    from ray._private.state import available_resources_per_node
    from ray._raylet import InnerGcsClient, PlacementGroupID
    from ray.exceptions import ActorUnavailableError, AuthenticationError, RayActorError, RayTaskError
    from ray.util import get_placement_group, list_named_actors, placement_group, placement_group_table, remove_placement_group
    from ray.util.placement_group import PlacementGroup
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    import agent
except ImportError as error:
    fatal("RayMissing", f"{error} in {sys.executable}")

# Devices that Ray hands out by actor: each bundle that holds some has an agent of its own, which alone sees them.
DEVICES = {"GPU", "TPU", "NPU", "HPU", "neuron_cores"}


async def ask(call, *args, **kwargs):
    """A call of Ray's that blocks, in a thread: one that does not come back holds nobody else up."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(call, *args, **kwargs), PATIENCE)
    except asyncio.TimeoutError:
        raise Failure("Lost", f"Ray's control service has not answered for {PATIENCE} s") from None


async def ready(group):
    """Whether a placement group has been laid. Ray waits whole seconds: of less than one it makes none, and whoever waits in parts of a second never rests."""
    return await asyncio.to_thread(group.wait, 0)


def amounts(resources):
    """Without what Ray adds for itself: addresses of nodes, and shares of placement groups."""
    return {name: amount for name, amount in resources.items() if not name.startswith("node:") and "_group_" not in name}


class Bridge:
    def __init__(self, ttl):
        self.ttl = ttl
        self.job = ray.get_runtime_context().get_job_id()
        # By name: placement groups, where their bundles lie, agents, and of which agent a worker is.
        self.groups, self.places, self.agents, self.homes = {}, {}, {}, {}
        # Placement groups that Ray is asked to make, which may be given up before it has.
        self.making = {}
        self.listeners, self.starting = {}, {}
        # Of whose workers an agent is, the latest driver of each such group, and placement groups that are somebody else's.
        self.owners, self.numbers, self.given = {}, {}, set()

    def driver(self, owner):
        """What its agents know this one by."""
        return [self.numbers.get(owner, 0), self.job]

    def tell(self, key, method, *args):
        """Asks an agent as the driver of its group."""
        return getattr(self.agents[key], method).remote(self.driver(self.owners[key]), *args)

    # ---------------------------------------------------------------------------------------------- nodes
    async def nodes(self):
        free, alive = await ask(available_resources_per_node), await ask(ray.nodes)
        here = ray.get_runtime_context().get_node_id()
        return [
            {
                "id": node["NodeID"],
                "address": node["NodeManagerAddress"],
                "driver": node["NodeID"] == here,
                "total": amounts(node["Resources"]),
                "free": amounts(free.get(node["NodeID"], {})),
            }
            for node in alive
            if node["Alive"]
        ]

    async def watch(self):
        """Tells which nodes come and go, and when Ray's control service falls silent and is heard again."""
        known, silent = None, False

        async def look():
            return {node["NodeID"]: node["NodeManagerAddress"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"]}

        while True:
            looking = asyncio.ensure_future(look())
            if not (await asyncio.wait([looking], timeout=SILENCE))[0]:
                silent = True
                emit(event="silent", seconds=SILENCE)
            alive = await looking
            if silent:
                silent = False
                emit(event="heard")
            for node in (known or alive).keys() ^ alive.keys():
                emit(event="node", node=node, address=alive.get(node) or known[node], alive=node in alive)
            known = alive
            await asyncio.sleep(LOOK)

    # ---------------------------------------------------------------------------------------------- groups
    async def reserve(self, group, bundles, strategy, pins, patience):
        """Makes a placement group; waits `patience` seconds for room, or for ever if that is null."""
        if group in self.groups:
            raise Failure("Exists", f"there is a placement group {group} already")
        wanted = [bundle | ({f"node:{pin}": 0.001} if pin else {}) for bundle, pin in zip(bundles, pins)]
        lifetime = "detached" if self.ttl else None
        self.making[group] = making = asyncio.ensure_future(ask(placement_group, wanted, strategy=strategy, name=group, lifetime=lifetime))
        try:
            made = await making
        except Exception as error:
            raise Failure("Exists" if "already exists" in str(error) else "Refused", error) from None
        if self.making.get(group) is not making:
            raise Failure("GivenUp", f"{group} was given up before it was made")
        del self.making[group]
        self.groups[group] = made
        end = None if patience is None else time.monotonic() + patience
        pause = 0.01
        while not await ready(made):
            if self.groups.get(group) is not made:
                raise Failure("GivenUp", f"{group} was given up before there was room for it")
            state = (await ask(placement_group_table, made))["stats"]["scheduling_state"]
            if end is not None and (state == "INFEASIBLE" or time.monotonic() > end + (LAYING if state in UNDER_WAY else 0)):
                nodes = await self.nodes()
                await self.release(group)
                raise Failure("DoesNotFit", state, nodes=nodes)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK)
        return await self.bundles(group)

    async def bundles(self, group):
        """The bundles of a group, and on which nodes they lie now: a node that is lost may have given its bundles to another."""
        table = await ask(placement_group_table, self.groups[group])
        if table["state"] == "REMOVED":
            raise Failure("NoGroup", "the placement group has been removed")
        nodes = table["bundles_to_node_id"]
        bundles = [{"index": index, "node": nodes.get(index, ""), "resources": amounts(holds)} for index, holds in table["bundles"].items()]
        self.places[group] = {bundle["index"]: bundle for bundle in bundles}
        return bundles

    async def use(self, group, name=None, id=None):
        """Takes a placement group that somebody else has made, by its name in this namespace or by its id."""
        try:
            self.groups[group] = await ask(get_placement_group, name) if id is None else PlacementGroup(PlacementGroupID(bytes.fromhex(id)))
            bundles = await self.bundles(group)
        except (ValueError, KeyError) as error:
            raise Failure("NoGroup", error) from None
        if not bundles:
            raise Failure("NoGroup", f"there is no placement group {name or id}")
        self.given.add(group)
        return bundles

    async def release(self, group):
        """Ends a group's agents, whatever they still run, and removes its bundles unless they are somebody else's."""
        made = self.groups.pop(group, None)
        if making := self.making.pop(group, None):
            await asyncio.wait([making])
            made = made or (None if making.exception() else making.result())
        self.places.pop(group, None)
        keep = group in self.given
        self.given.discard(group)
        mine = [key for key in self.agents if key.rsplit("/", 1)[0] == group]
        for key in mine:
            ray.kill(self.agents[key])
        if made is not None and not keep:
            await ask(remove_placement_group, made)
        listeners = [self.listeners[key] for key in mine if key in self.listeners]
        if listeners:
            await asyncio.wait(listeners, timeout=PATIENCE)

    # ---------------------------------------------------------------------------------------------- workers
    async def spawn(self, worker, timeout, **how):
        """Starts a worker by the agent of its node, or of its bundle if that holds devices; starts the agent if there is none."""
        self.starting[worker] = starting = asyncio.ensure_future(self.start(worker, **how))
        try:
            return await asyncio.wait_for(starting, timeout)
        except asyncio.CancelledError:
            raise Failure("GivenUp", f"{worker} was given up before it was started") from None
        except asyncio.TimeoutError:
            raise Failure("Timeout", f"no agent of Ray's in bundle {how['bundle']} has started it within {timeout} s") from None
        except RayTaskError as error:
            raise Failure("NotStarted", error.cause) from None
        except RayActorError as error:
            raise Failure("NoAgent", error) from None
        finally:
            self.starting.pop(worker, None)

    async def start(self, worker, owner, group, bundle, **how):
        if group not in self.groups:
            raise Failure("NoGroup", f"there is no placement group {group}")
        if group not in self.places:
            # Unless it is known: an agent has died since, and maybe its node, and the bundles may wait for another one.
            while not await ready(self.groups[group]):
                await self.bundles(group)
                await asyncio.sleep(0.1)
            await self.bundles(group)
        place = self.places[group][bundle]
        devices = {name: amount for name, amount in place["resources"].items() if name in DEVICES}
        key = f"{group}/{bundle if devices else place['node']}"
        if key not in self.agents:
            self.owners[key] = owner
            self.agents[key] = self.engage(key, group, bundle, devices)
            self.hear(key)
        self.homes[worker] = key
        return await self.agents[key].start.remote(self.driver(owner), worker, **how)

    def engage(self, key, group, bundle, devices):
        return (
            ray.remote(agent.PhalanxAgent)
            .options(
                name=key,
                lifetime="detached" if self.ttl else None,
                num_cpus=0,
                num_gpus=devices.get("GPU", 0),
                resources={name: amount for name, amount in devices.items() if name != "GPU"},
                scheduling_strategy=PlacementGroupSchedulingStrategy(self.groups[group], placement_group_bundle_index=bundle),
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=1000,
            )
            .remote(self.ttl, self.owners[key], self.driver(self.owners[key]), group in self.given)
        )

    def hear(self, key):
        self.listeners[key] = background(self.listen(key))

    async def listen(self, key):
        """Hands on what an agent tells of its workers; its own death is theirs."""
        heard, this = 0, asyncio.current_task()
        # Unless this bridge has taken the agent over anew.
        while self.listeners.get(key) is this:
            try:
                events = await self.tell(key, "listen", heard)
            except ActorUnavailableError:
                # Its connection is lost, and Ray does not know yet whether it is dead.
                await asyncio.sleep(0.1)
                continue
            except Exception as error:
                for worker in self.forget(key):
                    emit(event="lost", worker=worker, detail=str(error))
                return
            if events is None and self.listeners.get(key) is not this:
                return
            if events is None:
                # Its bundles, too, are another driver's.
                self.groups.pop(key.rsplit("/", 1)[0], None)
                for worker in self.forget(key):
                    emit(event="replaced", worker=worker)
                return
            for heard, worker, kind, value in events:
                if kind != "exit":
                    emit(event="output", worker=worker, stream=kind, text=value)
                elif self.homes.pop(worker, None):
                    emit(event="exit", worker=worker, **value)

    def forget(self, key):
        """An agent that is gone, or another driver's; answers with its workers."""
        for known in (self.agents, self.owners, self.listeners):
            known.pop(key, None)
        self.places.pop(key.rsplit("/", 1)[0], None)
        workers = [worker for worker, home in self.homes.items() if home == key]
        for worker in workers:
            del self.homes[worker]
        return workers

    async def signal(self, worker, number):
        if worker in self.homes:
            await self.tell(self.homes[worker], "signal", worker, number)

    async def claim(self, worker, line):
        if worker in self.homes:
            await self.tell(self.homes[worker], "claim", worker, line)

    async def look(self, worker):
        if worker not in self.homes:
            return {"stat": "", "flight": ""}
        return await self.agents[self.homes[worker]].look.remote(worker)

    async def stop(self, worker, grace):
        """Ends a worker, or keeps it from being started; answers whether there is one whose end will be told."""
        if worker in self.starting:
            self.starting[worker].cancel()
        if worker not in self.homes:
            return False
        try:
            return await self.tell(self.homes[worker], "stop", worker, grace)
        except RayActorError:
            return False

    # ---------------------------------------------------------------------------------------------- detached groups
    async def adopt(self, groups=None):
        """Takes over detached groups that an earlier bridge of this namespace has left: those, or all whose bridge is gone. Nothing is told of their
        workers before `attend`."""
        found = {}
        for key in await ask(list_named_actors):
            try:
                handle = await ask(ray.get_actor, key)
                known = await asyncio.wait_for(handle.who.remote(), PATIENCE)
            except (ValueError, AttributeError, RayActorError, asyncio.TimeoutError):
                continue  # It ended meanwhile, or is no agent of ours.
            found.setdefault(known["group"], []).append((key, handle, known))
        if groups is None:
            jobs = {job["JobID"] for job in await ask(ray._private.state.jobs) if not job["IsDead"]}
            found = {group: agents for group, agents in found.items() if not any(known["driver"][1] in jobs for _, _, known in agents)}
        return [await self.take(group, agents) for group, agents in found.items() if groups is None or group in groups]

    async def take(self, group, agents):
        self.numbers[group] = number = 1 + max(known["driver"][0] for _, _, known in agents)
        for key, handle, known in agents:
            if not await handle.take.remote(self.driver(group), self.ttl):
                raise Failure("Driven", "another driver was faster")
            bundles = key.rsplit("/", 1)[0]
            self.agents[key], self.owners[key] = handle, group
            self.listeners.pop(key, None)
            self.groups[bundles] = PlacementGroup(PlacementGroupID(bytes.fromhex(known["bundles"])))
            if known["keep"]:
                self.given.add(bundles)
            for each in known["workers"]:
                self.homes[each["worker"]] = key
        # Bundles whose agent is gone, or was not there yet.
        for each in (await ask(placement_group_table)).values():
            name = each["name"]
            if each["state"] != "REMOVED" and name not in self.groups and (name == group or name.startswith(f"{group}-")):
                self.groups[name] = await ask(get_placement_group, name)
        return {
            "group": group,
            "driver": number,
            "bundles": [name for name in self.groups if name == group or name.startswith(f"{group}-")],
            "workers": [each for _, _, known in agents for each in known["workers"]],
            "lives": [each for _, _, known in agents for each in known["lives"]],
        }

    async def attend(self, groups):
        """Begins to tell what becomes of the workers of groups that were adopted."""
        for key, owner in self.owners.items():
            if owner in groups and key not in self.listeners:
                self.hear(key)

    async def touch(self):
        while True:
            await asyncio.sleep(self.ttl / 3)
            await asyncio.gather(*(self.tell(key, "touch") for key in self.agents), return_exceptions=True)


def background(coroutine, running=set()):
    running.add(task := asyncio.ensure_future(coroutine))
    task.add_done_callback(running.discard)
    return task


def connect(address, namespace, runtime_env, within):
    """Ray alone needs minutes to give up on a wrong address, 20 s on a wrong token and 60 s on a host without a raylet."""
    connected = threading.Event()
    overdue = threading.Timer(within, lambda: connected.is_set() or fatal("NotRay", f"{address} does not answer as Ray does within {within} s"))
    overdue.start()
    try:
        client = InnerGcsClient.standalone(address, None, 2000)
        if not set(find_node_ids()) & {node.hex() for node in client.get_all_node_info()}:
            fatal("NoRaylet", f"no raylet of {address} runs on this host")
        ray.init(address=address, namespace=namespace, runtime_env=runtime_env, log_to_driver=False, logging_level="ERROR")
    except AuthenticationError as error:
        fatal("Token", error)
    except Exception as error:
        fatal("Version" if "ersion mismatch" in str(error) else "NotConnected", error)
    connected.set()
    overdue.cancel()


METHODS = {"nodes", "reserve", "use", "release", "spawn", "signal", "look", "stop", "claim", "adopt", "attend"}


async def serve(bridge, request):
    try:
        if request["method"] not in METHODS:
            raise Failure("Unexpected", f"there is no method {request['method']}")
        method = getattr(bridge, request["method"])
        emit(id=request["id"], result=await method(**request["params"]))
    except Failure as error:
        emit(id=request["id"], error={"code": error.code, "detail": str(error), **error.data})
    except Exception as error:
        emit(id=request["id"], error={"code": "Unexpected", "detail": f"{type(error).__name__}: {error}"})


async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(32))
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    settings = json.loads(await reader.readline())
    ray.cloudpickle.register_pickle_by_value(agent)
    connect(settings["address"], settings["namespace"], settings["runtimeEnv"], settings["within"])
    bridge = Bridge(settings["ttl"])
    emit(event="ready", ray=ray.__version__, node=ray.get_runtime_context().get_node_id(), address=ray.util.get_node_ip_address())
    background(bridge.watch())
    if bridge.ttl:
        background(bridge.touch())
    while line := await reader.readline():
        background(serve(bridge, json.loads(line)))
    os._exit(0)


if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever started this may be killed outright
asyncio.run(main())

// effect/rpc behind the IPC channel of a forked process.
import { NodeWorkerRunner } from "@effect/platform-node";
import { Effect, Layer } from "effect";
import { RpcServer } from "effect/rpc";
import { group } from "./rpc.mjs";
import { handlers } from "./rpcHandlers.mjs";
const L = RpcServer.layer(group, { disableTracing: true }).pipe(Layer.provide(handlers), Layer.provide(RpcServer.layerProtocolWorkerRunner), Layer.provide(NodeWorkerRunner.layer));
Effect.runFork(Layer.launch(L));

// effect/rpc behind a unix socket: node rpcSocket.mjs PATH ndjson|binary
import { NodeSocketServer } from "@effect/platform-node";
import { Effect, Layer } from "effect";
import { RpcSerialization, RpcServer } from "effect/rpc";
import { group } from "./rpc.mjs";
import { handlers } from "./rpcHandlers.mjs";
const [path, format] = process.argv.slice(2);
const L = RpcServer.layer(group, { disableTracing: true }).pipe(
  Layer.provide(handlers), Layer.provide(RpcServer.layerProtocolSocketServer), Layer.provide(NodeSocketServer.layer({ path })),
  Layer.provide(format === "binary" ? RpcSerialization.layerSchemaBinary() : RpcSerialization.layerNdjson));
Effect.runFork(Layer.launch(Layer.effectDiscard(Effect.sync(() => process.send("up"))).pipe(Layer.provideMerge(L))));
process.on("disconnect", () => process.exit());

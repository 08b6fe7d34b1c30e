import { Effect } from "effect";
import { group } from "./rpc.mjs";
export const handlers = group.toLayer({
  f: ({ x }) => Effect.succeed(x.length), s: ({ x }) => Effect.succeed(x.length), hang: () => Effect.sync(() => { for (;;) {} }),
});

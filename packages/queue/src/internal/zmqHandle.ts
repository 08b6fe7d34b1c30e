/**
 * What travels in a handle. It opens lanes, so it is told to nobody but the process it is for.
 */
import { type Handle, QueueError } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const isPort = Schema.makeFilter((address: string) => {
  const port = /^tcp:.*:(\d+)$/.exec(address)?.[1]
  return port === undefined || (Number(port) > 0 && Number(port) < 65536) || `no port ${port}`
})
const place = {
  address: Schema.String.check(Schema.isPattern(/^(tcp:\/\/(\[[0-9a-fA-F:.%\w]+\]|[\w.-]+):\d{1,5}|ipc:\/\/\/.+)$/), isPort),
  serverKey: Schema.NullOr(Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{40}$/)))
}
const Identity = Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/))

/** For one incarnation of one rank: the identities of its two lanes. */
export const Worker = Schema.Struct({ ...place, requests: Identity, control: Identity })

/** For the other ranks of one generation. `id` is another one each time a rank opens its end. */
export const Peer = Schema.Struct({ ...place, id: Identity })

/** Checks that a handle is of this transport and of the kind wanted. */
export const decode = <A, I>(schema: Schema.Codec<A, I>, handle: Handle): Effect.Effect<A, QueueError> =>
  handle.transport === "tcp" || handle.transport === "ipc"
    ? Effect.mapError(Schema.decodeUnknownEffect(schema)(handle.data), (error) => wrong(handle, error.message.replace(/\s+/g, " ")))
    : Effect.fail(wrong(handle, "not a handle of ZeroMQ queues"))

const wrong = (handle: Handle, issue: string) =>
  new QueueError({
    operation: "attach to",
    where: `a handle of transport ${handle.transport}`,
    issue,
    advice: "Attach with the layer that made the handle, and pass the handle unchanged"
  })

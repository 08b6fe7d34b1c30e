import { type MessageQueues, QueueError, type Subscriber } from "@phalanx/core/MessageQueues"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { pack, unpack } from "./codec.ts"
import * as Wire from "./zmqHandle.ts"
import { type Resolved, seconds } from "./zmqSocket.ts"
import * as Spoke from "./zmqSpoke.ts"

/** A worker's end: two sockets, one for requests and replies, one for control frames. Ready when the driver has answered on both. */
export const attach = (resolved: Resolved): MessageQueues["Service"]["attach"] =>
  Effect.fnUntraced(function*(handle, options) {
    const data = yield* Wire.decode(Wire.Worker, handle)
    const answered = yield* Deferred.make<void, QueueError>()
    const failure = (issue: string) =>
      new QueueError({
        operation: "attach to",
        where: data.address,
        issue,
        advice:
          "See that the driver lives, that its address can be reached from here, and that the handle is of this rank's last incarnation"
      })
    const waiting = new Set(["requests", "control"])
    let ended = false

    const lost = (issue: string, broken = false): void => {
      if (ended) return
      ended = true
      // Nothing is told about a lane that was never there.
      if (waiting.size > 0) return void Deferred.doneUnsafe(answered, Effect.fail(failure(issue)))
      for (const link of [requests, control]) link.end()
      options.lost(issue, broken)
    }
    const deliver = (payload: Buffer): void => {
      if (ended) return
      let frame
      try {
        frame = unpack(payload)
      } catch (cause) {
        return lost(`bytes that are not a frame: ${String(cause)}`)
      }
      options.receive(frame)
    }
    const spoke = (lane: "requests" | "control") =>
      Spoke.make(resolved, {
        place: data,
        identity: data[lane],
        deliver,
        lost,
        closed: (reason) => lost(reason),
        ready: () => {
          if (waiting.delete(lane) && waiting.size === 0) Deferred.doneUnsafe(answered, Effect.void)
        }
      })
    const control = yield* spoke("control")
    const requests = yield* spoke("requests")
    yield* Deferred.await(answered).pipe(
      Effect.timeoutOrElse({
        duration: resolved.deadlineMillis,
        orElse: () => Effect.fail(failure(`no answer for ${seconds(resolved.deadlineMillis)}`))
      })
    )
    const sent = { frames: 0, bytes: 0 }
    const subscriber: Subscriber = {
      send: (frame) => {
        const bytes = pack(frame)
        sent.frames++
        sent.bytes += bytes.length
        requests.send(bytes)
      },
      stats: () => ({ ...sent }),
      flush: Effect.callback((resume) => requests.whenIdle(() => resume(Effect.void), "never"))
    }
    return subscriber
  })

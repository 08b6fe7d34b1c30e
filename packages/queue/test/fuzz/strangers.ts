/**
 * A driver's sockets, to which anybody may write anything: bytes of ZMTP, in them messages of a lane, in them a frame. Over a Unix socket they are those of
 * a rank until they are changed; on a port they come from somebody who does not know the group's key.
 */
import { type Handle, MessageQueues, type Publisher } from "@phalanx/core/MessageQueues"
import * as IpcQueues from "@phalanx/queue/IpcQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { connect } from "node:net"
import { Broken, type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateBytes } from "../../../../test/harness/mutate.ts"
import { pack } from "../../src/internal/codec.ts"

interface Input {
  readonly transport: "ipc" | "tcp"
  /** Nothing was changed. */
  readonly valid: boolean
  readonly bytes: Uint8Array
}

/** Stands for the identity of the rank, which is another one each time. */
const placeholder = "#".repeat(32)

const greetingBytes = 64
const greeting = (mechanism: string): Buffer => {
  const bytes = Buffer.alloc(greetingBytes)
  bytes.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0])
  bytes.write(mechanism, 12, "latin1")
  return bytes
}
const property = (name: string, value: string): Buffer => {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(value.length)
  return Buffer.concat([Buffer.of(name.length), Buffer.from(name), size, Buffer.from(value)])
}
const zframe = (flags: number, body: Uint8Array): Buffer => Buffer.concat([Buffer.of(flags, body.length), body])
const ready = zframe(
  4,
  Buffer.concat([Buffer.of(5), Buffer.from("READY"), property("Socket-Type", "DEALER"), property("Identity", placeholder)])
)

const message = (kind: number, sequence: number, received: number, payload: Uint8Array = new Uint8Array()): Buffer => {
  const head = Buffer.alloc(13)
  head[0] = kind
  head.writeUIntLE(sequence, 1, 6)
  head.writeUIntLE(received, 7, 6)
  return Buffer.concat([head, payload])
}

/** One group a transport, with rank 1 that sends back what it gets. */
interface Group {
  readonly publisher: Publisher
  readonly heard: (rank: number) => number
  readonly scope: Scope.Closeable
}
const groups = new Map<string, Promise<Group>>()
let incarnation = 0

const start = (transport: string): Promise<Group> => {
  const scope = Scope.makeUnsafe()
  const heard = [0, 0]
  return Effect.runPromise(
    Effect.gen(function*() {
      const queues = yield* MessageQueues
      const publisher = yield* queues.open({
        group: "strangers",
        secret: randomBytes(16).toString("hex"),
        ranks: 2,
        receive: (rank) => void heard[rank]!++,
        // Of rank 0 that is what is to be expected.
        lost: (rank) => void (heard[rank] = rank === 0 ? heard[rank]! : NaN)
      })
      const subscriber = yield* queues.attach(yield* publisher.connect(1, 0), {
        receive: (frame) => subscriber.send(frame),
        lost: () => void (heard[1] = NaN)
      })
      return { publisher, heard: (rank: number) => heard[rank]!, scope }
    }).pipe(Scope.provide(scope), Effect.provide(transport === "ipc" ? IpcQueues.layer : TcpQueues.layer))
  )
}
const groupOf = (transport: string): Promise<Group> => {
  const known = groups.get(transport) ?? start(transport)
  groups.set(transport, known)
  return known
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Waits for it, on turns of the event loop. */
const until = async (sentence: string, holdsNow: () => boolean): Promise<void> => {
  const end = performance.now() + 20_000
  while (!holdsNow()) {
    if (performance.now() > end) throw new Broken(`never: ${sentence}`)
    await nextTurn()
  }
}

const place = (handle: Handle) => handle.data as { readonly address: string; readonly requests: string }

export const sockets: Decoder = {
  name: "strangers",
  slow: true,
  sample: (random): Input => {
    const messages = [message(4, 0, 0), message(1, 1, 0, pack([random.below(99), "frame"]))]
    return {
      transport: "ipc",
      valid: true,
      bytes: new Uint8Array(
        Buffer.concat([greeting("NULL"), ready, zframe(0, new Uint8Array()), ...messages.map((body) => zframe(0, body))])
      )
    }
  },
  mutate: (input: Input, random) => ({
    transport: random.pick(["ipc", "ipc", "tcp"]),
    valid: false,
    bytes: random.once(8)
      ? new Uint8Array(Buffer.concat([greeting("CURVE"), random.bytes(random.below(300))]))
      : mutateBytes(input.bytes, random)
  }),
  judge: async ({ bytes, transport, valid }: Input) => {
    const { heard, publisher } = await groupOf(transport)
    const { address, requests } = place(await Effect.runPromise(publisher.connect(0, incarnation++)))
    const before = heard(0)
    const text = Buffer.from(bytes).toString("latin1").replace(placeholder, requests)
    const socket = transport === "ipc" ? connect(address.slice("ipc://".length)) : connect(Number(/\d+$/.exec(address)![0]), "127.0.0.1")
    const seen = { open: true, bytes: 0 }
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve(void (seen.open = false))))
    socket.on("error", () => {}).on("data", (chunk: Buffer) => void (seen.bytes += chunk.length))
    const all = Buffer.from(text, "latin1")
    socket.write(all.subarray(0, greetingBytes))
    // Who speaks before the greeting has been answered is not listened to. What is no greeting may never be.
    const turns = valid ? Infinity : 50
    for (let turn = 0; seen.open && seen.bytes < greetingBytes && turn < turns; turn++) await nextTurn()
    if (seen.open) socket.write(all.subarray(greetingBytes))
    if (valid) await until("a rank is heard", () => heard(0) > before)
    socket.end()
    await closed
    // Whatever it was, the other rank has not noticed.
    const answers = heard(1)
    publisher.publish(publisher.pack(["are you there"]), [1])
    await until("the other rank answers", () => heard(1) !== answers)
    holds(heard(1) === answers + 1, "the other rank is lost")
    return valid ? "accepted" : "nothing happens"
  },
  close: async () => {
    for (const group of groups.values()) await Effect.runPromise(Scope.close((await group).scope, Exit.void))
    groups.clear()
  }
}

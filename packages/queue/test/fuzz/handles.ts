import type { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { known, same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import type { Random } from "../../../../test/harness/random.ts"
import { defaultFolder } from "../../src/internal/files.ts"
import { decode as decodeMixed } from "../../src/internal/mixed.ts"
import { decode, GroupHandle, invalidHandle, PeerHandle } from "../../src/internal/shmOptions.ts"
import * as Standalone from "../../src/internal/standalone.ts"
import * as Zmq from "../../src/internal/zmqHandle.ts"

interface Handle {
  readonly transport: string
  readonly data: any
}

/** A handle is taken as it is, or refused with an error that says what to do. */
const handles = (
  name: string,
  sample: (random: Random) => Handle,
  read: (handle: Handle) => Effect.Effect<any, QueueError>,
  isSound: (data: any) => boolean
): Decoder => ({
  name,
  sample,
  judge: (handle: Handle) => {
    // What came in a frame is checked for these two by whoever hands it on.
    if (typeof handle?.transport !== "string") return "no handle"
    const exit = Effect.runSyncExit(read(handle))
    if (Exit.isSuccess(exit)) {
      holds(isSound(exit.value), "took a handle that is not sound")
      holds(same(exit.value, known(handle.data, exit.value)), "read something else than what the handle says")
      return "accepted"
    }
    const error = Exit.findErrorOption(exit)
    holds(error._tag === "Some" && error.value._tag === "QueueError", `failed with ${exit.cause}`)
    if (error._tag === "None") return "failed"
    holds(error.value.issue.length > 0 && error.value.issue.length < 2000, `an issue of ${error.value.issue.length} characters`)
    return error.value.issue
  }
})

const isPower = (n: unknown): boolean => typeof n === "number" && Number.isInteger(Math.log2(n)) && n >= 4096 && n <= 2 ** 30
const isCount = (n: unknown, least: number, most: number): boolean =>
  Number.isSafeInteger(n) && (n as number) >= least && (n as number) <= most
const isText = (u: unknown): boolean => typeof u === "string"
const segment = (random: Random) => `phalanx-group-${Buffer.from(random.bytes(8)).toString("hex")}`
const power = (random: Random) => 2 ** (12 + random.below(19))
const hex = (random: Random) => Buffer.from(random.bytes(16)).toString("hex")

const ofShm = (kind: Schema.Decoder<any>) => (handle: Handle) => decode(kind, handle)

export const groupHandle = handles(
  "groupHandle",
  (random) => ({
    transport: "shm",
    data: {
      folder: defaultFolder,
      ring: segment(random),
      lanes: segment(random),
      bell: segment(random),
      rank: random.below(4),
      incarnation: random.below(3),
      ranks: 4,
      ringBytes: power(random),
      control: power(random),
      private: power(random),
      reply: power(random)
    }
  }),
  ofShm(GroupHandle),
  (data) =>
    [data.folder, data.ring, data.lanes, data.bell].every(isText) && [data.ringBytes, data.control, data.private, data.reply].every(isPower)
    && isCount(data.ranks, 1, 65536) && isCount(data.rank, 0, data.ranks - 1) && isCount(data.incarnation, 0, Infinity)
)

export const peerHandle = handles(
  "peerHandle",
  (random) => ({
    transport: "shm",
    data: {
      folder: defaultFolder,
      segment: segment(random),
      bell: segment(random),
      rank: random.below(4),
      ranks: 4,
      laneBytes: power(random)
    }
  }),
  ofShm(PeerHandle),
  (data) =>
    [data.folder, data.segment, data.bell].every(isText) && isPower(data.laneBytes) && isCount(data.ranks, 1, 65536)
    && isCount(data.rank, 0, data.ranks - 1)
)

export const queueHandle = handles(
  "queueHandle",
  (random) => ({
    transport: "queue",
    data: {
      folder: defaultFolder,
      segment: segment(random),
      bell: segment(random),
      readers: 1 + random.below(1024),
      capacity: power(random),
      spinMicros: random.below(1000)
    }
  }),
  ({ data, transport }) => Schema.decodeUnknownEffect(Standalone.Handle)(data).pipe(Effect.mapError(invalidHandle(transport))),
  (data) =>
    [data.folder, data.segment, data.bell].every(isText) && isPower(data.capacity) && isCount(data.readers, 1, 1024)
    && Number.isFinite(data.spinMicros) && data.spinMicros >= 0
)

const addresses = [
  "tcp://127.0.0.1:40001",
  "tcp://[::1]:1",
  "tcp://[fe80::1%eth0]:65535",
  "tcp://node-7.cluster_a.example:5555",
  "ipc:///run/phalanx-x/queue"
]
const place = (random: Random) => ({
  address: random.pick(addresses),
  serverKey: random.once(3) ? null : random.list(40, () => String.fromCharCode(0x21 + random.below(94))).join("")
})
const isPlace = ({ address, serverKey }: any): boolean =>
  isText(address) &&
  (/^ipc:\/\/\/[^\n]+$/.test(address) || (/^tcp:\/\/[^\s/]+:\d{1,5}$/.test(address) && isCount(Number(/\d+$/.exec(address)![0]), 1, 65535)))
  && (serverKey === null || (isText(serverKey) && serverKey.length === 40))
const isIdentity = (u: unknown): boolean => typeof u === "string" && u.length === 32 && /^[0-9a-f]+$/.test(u)

export const zmqWorkerHandle = handles(
  "zmqWorkerHandle",
  (random) => ({ transport: random.pick(["tcp", "ipc"]), data: { ...place(random), requests: hex(random), control: hex(random) } }),
  (handle) => Zmq.decode(Zmq.Worker, handle),
  (data) => isPlace(data) && isIdentity(data.requests) && isIdentity(data.control)
)

export const zmqPeerHandle = handles(
  "zmqPeerHandle",
  (random) => ({ transport: random.pick(["tcp", "ipc"]), data: { ...place(random), id: hex(random) } }),
  (handle) => Zmq.decode(Zmq.Peer, handle),
  (data) => isPlace(data) && isIdentity(data.id)
)

export const mixedHandle = handles(
  "mixedHandle",
  (random) => ({
    transport: "mixed",
    data: {
      shm: {
        transport: "shm",
        data: {
          folder: defaultFolder,
          rank: random.below(4),
          ...(random.once(2) ? { ring: segment(random) } : { segment: segment(random) })
        }
      },
      tcp: { transport: "tcp", data: { ...place(random), id: hex(random) } }
    }
  }),
  decodeMixed,
  ({ shm, tcp }) => shm.transport === "shm" && isText(shm.data.folder) && Number.isSafeInteger(shm.data.rank) && tcp.transport === "tcp"
)

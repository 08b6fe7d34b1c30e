/** What a group's keeper and its driver say to each other, and the lines that it comes in. */
import type * as Schema from "effect/Schema"
import type * as Net from "node:net"
import { Readable } from "node:stream"
import { same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as keeping from "../../src/internal/keeping.ts"
import * as Proof from "../../src/internal/proof.ts"
import { count, hex, identity, mutateJson, readsAgain } from "./texts.ts"

const isHex = (digits: number) => (text: string): boolean => text.length === digits && /^[0-9a-f]+$/.test(text)
const isNonce = isHex(32)
const isProof = isHex(64)
const isMillis = (millis: number): boolean => Number.isFinite(millis) && millis >= 0
const isText = (text: unknown): boolean => typeof text === "string"

const worker = (random: Random): keeping.Worker => ({ member: random.below(8), incarnation: random.below(3) })
const isWorker = ({ incarnation, member }: keeping.Worker): boolean => count(member) && count(incarnation)

const flight = (random: Random) => random.list(random.below(3), (id) => ({ at: 1.7e12, kind: "begin" as const, id, text: "add" }))
const end = (random: Random) => ({
  death: random.once(2) ? { _tag: "Exited" as const, code: 1 } : { _tag: "Killed" as const, signal: "SIGKILL" },
  ...(random.once(2) ? {} : { reason: "uncaught-exception" as const }),
  stderr: ["Error: no", "  at ü"],
  flight: flight(random)
})
const isEnd = (end: NonNullable<keeping.Kept["end"]>): boolean => isText(end.death._tag) && end.stderr.every(isText)

/** A line of one schema: what both sides write as it is. `promised` says of a value that was taken whether it is what its reader may rely on. */
const lines = <A extends object>(
  name: string,
  schema: Schema.Codec<A, string>,
  sample: (random: Random) => A,
  promised: (value: A) => boolean
): Decoder => {
  const read = keeping.reader(schema)
  const write = (value: object): string => {
    const written = keeping.line(value)
    holds(written.indexOf("\n") === written.length - 1, "wrote what is not one line")
    return written.slice(0, -1)
  }
  return {
    name,
    sample: (random) => write(sample(random)),
    mutate: mutateJson,
    judge: (text: string) => {
      const value = read(text)
      if (value === undefined) return "refused"
      holds(promised(value), "took what its reader may not rely on")
      readsAgain(text, value, write, read)
      return "_tag" in value ? `accepted: ${value._tag}` : "accepted"
    }
  }
}

export const setup = lines("keeperSetup", keeping.Setup, (random) => ({
  folder: "/run/user/1000/phalanx/group-1",
  group: `group-${hex(random, 4)}`,
  secret: hex(random, 16),
  leaseMillis: random.below(60_000)
}), ({ folder, group, leaseMillis, secret }) => [folder, group, secret].every(isText) && isMillis(leaseMillis))

export const challenge = lines(
  "keeperChallenge",
  keeping.Challenge,
  (random) => ({ nonce: hex(random, 16) }),
  ({ nonce }) => isNonce(nonce)
)

export const hello = lines(
  "keeperHello",
  keeping.Hello,
  (random) => ({
    generation: random.below(3),
    leaseMillis: random.below(60_000),
    nonce: hex(random, 16),
    proof: Proof.of("secret", keeping.about("driver", hex(random, 16), 1)),
    options: {
      queues: random.once(2) ? {} : { folder: "/dev/shm", host: "10.0.0.1" },
      prints: random.once(2),
      grace: random.below(5000),
      env: { PATH: "/usr/bin", LANG: "ü" },
      execArgv: ["--enable-source-maps"],
      node: "node-1"
    }
  }),
  ({ generation, leaseMillis, nonce, options: { env, execArgv, grace, node, prints, queues }, proof }) =>
    count(generation) && [leaseMillis, grace].every(isMillis) && isNonce(nonce) && isProof(proof) && typeof prints === "boolean"
    && [node, ...execArgv, ...Object.values(env), ...Object.values(queues)].every(isText)
)

export const welcome = lines("keeperWelcome", keeping.Welcome, (random) =>
  random.once(3)
    ? { replacedBy: random.below(9) }
    : {
      proof: hex(random, 32),
      workers: random.list(random.below(3), (rank) => ({
        ...worker(random),
        rank,
        pid: 1 + random.below(9999),
        ...(random.once(2) ? {} : { end: end(random) })
      })),
      lives: random.list(random.below(3), () => worker(random))
    }, (value) =>
  "replacedBy" in value ? count(value.replacedBy) : isProof(value.proof) && value.lives.every(isWorker)
    && value.workers.every((kept) =>
      isWorker(kept) && count(kept.rank) && Number.isSafeInteger(kept.pid) && (kept.end === undefined || isEnd(kept.end))
    ))

export const fromDriver = lines("fromDriver", keeping.FromDriver, (random): keeping.FromDriver => {
  const asked = { ask: random.below(99), worker: worker(random) }
  return random.pick<keeping.FromDriver>([
    { _tag: "Renew" },
    { _tag: "Spawn", ask: asked.ask, entry: "file:///srv/app/worker.ts", identity: identity(random) },
    { _tag: "Kill", ...asked, signal: random.pick(["SIGTERM", "SIGKILL"] as const) },
    { _tag: "Stop", ...asked },
    { _tag: "Ask", ...asked },
    { _tag: "Claim", ...asked, claim: { driver: random.below(9), handle: identity(random).handle }, proof: hex(random, 32) },
    { _tag: "End" }
  ])
}, (message) => {
  if (message._tag === "Renew" || message._tag === "End") return true
  if (!count(message.ask) || (message._tag !== "Spawn" && !isWorker(message.worker))) return false
  if (message._tag === "Kill") return ["SIGTERM", "SIGKILL"].includes(message.signal)
  if (message._tag === "Claim") return count(message.claim.driver) && isText(message.proof)
  if (message._tag !== "Spawn") return true
  const { epoch, generation, incarnation, member, rank, shape } = message.identity
  const ranks = Object.values(shape).reduce((product, size) => product * size, 1)
  return isText(message.entry) && [epoch, generation, incarnation, member, rank].every(count) && rank < ranks && ranks <= 65536
})

export const fromKeeper = lines("fromKeeper", keeping.FromKeeper, (random): keeping.FromKeeper => {
  const ask = random.below(99)
  return random.pick<keeping.FromKeeper>([
    { _tag: "Renewed" },
    { _tag: "Spawned", ask, pid: 1 + random.below(9999) },
    { _tag: "Refused", ask, error: { phase: "import", issue: "there is none", advice: "write one" } },
    { _tag: "Done", ask },
    { _tag: "Said", ask, stderr: ["a", "ü"], flight: flight(random) },
    { _tag: "Ended", worker: worker(random), end: end(random) },
    { _tag: "Printed", rank: random.below(4), stream: random.pick(["stdout", "stderr"] as const), text: "step 1" },
    { _tag: "Fenced" },
    { _tag: "Replaced", generation: random.below(9) }
  ])
}, (message) => {
  if ("ask" in message && !count(message.ask)) return false
  switch (message._tag) {
    case "Spawned":
      return Number.isSafeInteger(message.pid)
    case "Refused":
      return [message.error.phase, message.error.issue, message.error.advice].every(isText)
    case "Said":
      return message.stderr.every(isText) && message.flight.every(({ at, id }) => Number.isFinite(at) && Number.isSafeInteger(id))
    case "Ended":
      return isWorker(message.worker) && isEnd(message.end)
    case "Printed":
      return count(message.rank) && ["stdout", "stderr"].includes(message.stream) && isText(message.text)
    case "Replaced":
      return count(message.generation)
    default:
      return true
  }
})

/** No line is longer, in UTF-16 units. */
const longest = 16 * 1024 * 1024
/** So many bytes of one line: a byte more than is allowed, and as many as are. */
const long: Readonly<Record<string, number>> = { tooLong: longest + 1, longest }

/** What is no line of either, and what has whoever hears it hang up. */
const isNonsense = (line: string): boolean => !line.startsWith("{")
const hangsUp = (line: string): boolean => line.startsWith("{}")

const bytesOf = (piece: unknown): unknown =>
  typeof piece === "string" && Object.hasOwn(long, piece) ? Buffer.alloc(long[piece]!, "{") : piece

const said = (random: Random): Array<unknown> => {
  const bytes = Buffer.from(random.list(1 + random.below(4), (index) => `{"say":"ü${index}"}\n`).join(""))
  const at = 1 + random.below(bytes.length - 1)
  return [new Uint8Array(bytes.subarray(0, at)), new Uint8Array(bytes.subarray(at))]
}

/** Bytes as they arrive; a name stands for those that are long. */
export const cutting: Decoder = {
  name: "keeperLines",
  slow: true,
  sample: (random) => random.once(500) ? [random.pick(Object.keys(long))] : said(random),
  mutate: (input, random) => {
    if (!Array.isArray(input) || random.once(8)) return mutateValue(input, random)
    // What is long takes long: seldom more than once.
    const short = input.filter((piece) => piece instanceof Uint8Array)
    const at = random.below(short.length)
    if (short.length === 0 || random.once(8)) {
      return [...short, ...said(random), ...random.pick([[], [new Uint8Array(Buffer.from("{}\n{\n"))]])]
    }
    return short.with(at, mutateValue(short[at], random) as Uint8Array)
  },
  judge: async (input: unknown) => {
    if (!Array.isArray(input)) return "no pieces"
    if (input.filter((piece) => typeof piece === "string").length > 1) return "no pieces"
    const pieces = input.map(bytesOf)
    if (!pieces.every((piece) => piece instanceof Uint8Array)) return "no pieces"
    const heard: Array<string> = []
    const socket = new Readable({ read: () => {}, autoDestroy: false })
    let nonsense = false
    let late = false
    keeping.listen(socket as Net.Socket, (line) => {
      late ||= nonsense || socket.destroyed
      heard.push(line)
      if (hangsUp(line)) socket.destroy()
      return !(nonsense = isNonsense(line))
    })
    for (const piece of pieces) socket.push(piece)
    socket.push(null)
    await new Promise<void>((resolve) => socket.once("end", resolve).once("close", resolve))
    holds(!late, "hears whoever was hung up on")
    const text = Buffer.concat(pieces).toString("utf8").split("\n")
    const rest = text.pop()!
    const last = text.findIndex((line) => isNonsense(line) || hangsUp(line))
    holds(same(heard, last < 0 ? text : text.slice(0, last + 1)), "heard other lines than were said")
    const ends = last >= 0 || rest.length > longest
    holds(socket.destroyed === ends, ends ? "goes on listening" : "hung up on somebody who talks sense")
    return last >= 0 ? nonsense ? "refused: nonsense" : "refused: hung up" : ends ? "refused: too long" : "accepted"
  }
}

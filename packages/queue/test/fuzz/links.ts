/** One end of a lane over ZeroMQ, whose other end says anything. */
import { Broken, type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import { Link } from "../../src/internal/zmqLink.ts"

const frames = 8
const bytes = 4096
const kinds = { data: 1, more: 2, ack: 3, hello: 4, resume: 5, ping: 6, close: 7 }

const message = (kind: number, sequence: number, received: number, payload: Uint8Array = new Uint8Array()): Uint8Array => {
  const head = Buffer.alloc(13)
  head[0] = kind
  head.writeUIntLE(sequence, 1, 6)
  head.writeUIntLE(received, 7, 6)
  return new Uint8Array(Buffer.concat([head, payload]))
}

/** Messages that come, and how many this end sends in between. */
type Step = { readonly head: Uint8Array; readonly body?: Uint8Array } | { readonly send: number }

/** What an honest other end says that has been sent `sent` messages. */
const conversation = (random: Random): Array<Step> => {
  const steps: Array<Step> = [{ head: message(kinds.hello, 0, 0) }]
  let sequence = 0
  let sent = 0
  let acked = 0
  for (let count = random.below(12); count > 0; count--) {
    if (random.once(3)) {
      const send = 1 + random.below(4)
      sent += send
      steps.push({ send })
      continue
    }
    acked += random.below(sent - acked + 1)
    const kind = random.pick([kinds.data, kinds.data, kinds.more, kinds.ack, kinds.hello, kinds.resume, kinds.ping])
    const payload = random.bytes(random.below(30))
    if (kind === kinds.data || kind === kinds.more) {
      steps.push(
        random.once(3) ? { head: message(kind, ++sequence, acked), body: payload } : { head: message(kind, ++sequence, acked, payload) }
      )
    } else steps.push({ head: message(kind, kind === kinds.ping ? sequence : 0, acked) })
  }
  if (random.once(4)) steps.push({ head: message(kinds.close, random.once(2) ? 0 : sequence + 1, acked, Buffer.from("the end")) })
  return steps
}

const isStep = (step: any): step is Step =>
  typeof step === "object" && step !== null
  && (step.head instanceof Uint8Array
    ? step.body === undefined || step.body instanceof Uint8Array
    : Number.isInteger(step.send) && step.send >= 0 && step.send < 100)

const text = (payload: Uint8Array): string => Buffer.from(payload).toString("hex")

/** What of these messages has to be delivered, by the numbers that they bear: the same as the lane, with none of its cares. */
const expected = (steps: ReadonlyArray<Step>): { readonly deliveries: Array<string>; readonly end: "malformed" | "closed" | "open" } => {
  const deliveries: Array<string> = []
  let received = 0
  let parts = ""
  let sent = 0
  let acked = 0
  let open = false
  for (const step of steps) {
    if ("send" in step) {
      sent += step.send
      continue
    }
    const head = Buffer.from(step.head)
    if (head.length < 13) return { deliveries, end: "malformed" }
    const [kind, sequence, acknowledged] = [head[0]!, head.readUIntLE(1, 6), head.readUIntLE(7, 6)]
    if (acknowledged > sent) return { deliveries, end: "malformed" }
    const resumes = kind === kinds.hello || kind === kinds.resume || (kind === kinds.ack && !open)
    if (resumes) {
      if (acknowledged < acked) return { deliveries, end: "malformed" }
      open = true
    }
    if (resumes || kind === kinds.data || kind === kinds.more || kind === kinds.ack || kind === kinds.ping) {
      acked = Math.max(acked, acknowledged)
    }
    if (kind === kinds.data || kind === kinds.more) {
      if (sequence !== received + 1) continue
      received = sequence
      parts += text(step.body ?? head.subarray(13))
      if (kind === kinds.more) continue
      deliveries.push(parts)
      parts = ""
    } else if (kind === kinds.close) {
      if (sequence === 0 || sequence === received + 1) return { deliveries, end: "closed" }
    } else if (kind === 0 || kind > 7) return { deliveries, end: "malformed" }
  }
  return { deliveries, end: "open" }
}

export const link: Decoder = {
  name: "zmqLink",
  sample: conversation,
  mutate: (steps: ReadonlyArray<Step>, random) => {
    if (!random.once(3) || !Array.isArray(steps)) return mutateValue(steps, random)
    const numbers = [0, 1, 2, 3, 7, frames, frames + 1, 255, 2 ** 31, 2 ** 48 - 1]
    return steps.toSpliced(random.below(steps.length + 1), random.below(2), {
      head: message(random.below(9), random.pick(numbers), random.pick(numbers), random.bytes(random.below(20)))
    })
  },
  judge: (input: unknown) => {
    const steps = (Array.isArray(input) ? input : []).filter(isStep)
    const delivered: Array<string> = []
    let end = "open"
    let issue = ""
    let transmitted = 0
    const lane = new Link({
      frames,
      bytes,
      transmit: (head) => {
        transmitted++
        holds(head.length >= 13, "said less than a header")
      },
      deliver: (payload) => {
        holds(end === "open", "delivered after the end")
        delivered.push(text(payload))
      },
      connected: () => {},
      closed: () => {
        holds(end === "open", "told two ends")
        end = "closed"
      },
      malformed: (what) => {
        holds(end === "open", "told two ends")
        end = "malformed"
        issue = what
        lane.close(what)
      }
    })
    try {
      lane.greet()
      for (const step of steps) {
        transmitted = 0
        if ("send" in step) { for (let count = step.send; count > 0; count--) lane.send(new Uint8Array(10)) }
        else lane.receive(Buffer.from(step.head), step.body === undefined ? undefined : Buffer.from(step.body))
        holds(transmitted <= frames + 3 + ("send" in step ? step.send : 0), `answered one message with ${transmitted}`)
      }
    } finally {
      lane.end()
    }
    const model = expected(steps)
    if (model.end !== end) throw new Broken(`the lane is ${end}, where it should be ${model.end}`)
    holds(delivered.join() === model.deliveries.join(), `delivered ${delivered.join()}, where it should be ${model.deliveries.join()}`)
    return end === "malformed" ? issue : "accepted"
  }
}

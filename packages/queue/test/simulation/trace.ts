/** A run as lines that a person can read. */
import { kinds, labelsOf } from "./labels.ts"
import type { Plan } from "./plan.ts"
import { operations } from "./scheduler.ts"
import { Cell, faults, File, fileWords, phases, tracesKept, traceWords, type World } from "./world.ts"

interface Event {
  readonly operation: typeof operations[number]
  readonly seat: number
  readonly file: number
  readonly at: number
  readonly first: number
  readonly second: number
  readonly micros: number
}

const eventsOf = (world: World): ReadonlyArray<Event> => {
  const count = world.cells[Cell.traced]!
  const kept = Math.min(count, tracesKept)
  return Array.from({ length: kept }, (_, index) => {
    const at = ((count - kept + index) % tracesKept) * traceWords
    const [operation, seat, file, place, first, second, tenths] = world.traces.subarray(at, at + traceWords) as unknown as Array<number>
    return {
      operation: operations[operation!]!,
      seat: seat!,
      file: file!,
      at: place!,
      first: first!,
      second: second!,
      micros: tenths! / 10
    }
  })
}

const plain = new Set(["get", "set", "read", "write"])

export const traceOf = (world: World, plan: Plan): ReadonlyArray<string> => {
  const named = labelsOf({
    ring: plan.ringBytes,
    ranks: plan.ranks,
    control: Math.max(4096, plan.laneBytes / 4),
    private: plan.laneBytes,
    reply: plan.laneBytes
  })
  const rankOf = (seat: number): string => {
    if (seat === 0) return "driver"
    return `rank ${world.ledger[world.lifeOf[seat]! * 1024]}`
  }
  const fileOf = (file: number): string => {
    const kind = kinds[world.files[file * fileWords + File.kind]!]!
    const of = world.files[file * fileWords + File.of]!
    return kind === "group" ? "" : kind === "rank" ? `[${of}].` : `peers[${of}].`
  }
  const labelOf = ({ at, file }: Event): string => {
    const kind = kinds[world.files[file * fileWords + File.kind]!]!
    return fileOf(file) + (named[kind].words.get(at) ?? `word ${at}`)
  }
  const ringOf = ({ at, file, operation }: Event): string => {
    const offset = operation === "get" || operation === "set" ? at * 4 : at
    const kind = kinds[world.files[file * fileWords + File.kind]!]!
    const ring = named[kind].rings.findLast(([, begin]) => begin <= offset)
    return fileOf(file) + (ring === undefined ? "header" : ring[0])
  }
  const describe = (event: Event): string => {
    const { at, first, operation, second } = event
    switch (operation) {
      case "load":
        return `finds ${first} in ${labelOf(event)}`
      case "store":
        return `${labelOf(event)} := ${first}`
      case "exchange":
        return second === 1 ? `moves ${labelOf(event)} to ${first}` : `fails to move ${labelOf(event)} to ${first}`
      case "get":
      case "read":
        return `reads from ${ringOf(event)}`
      case "set":
      case "write":
        return `writes to ${ringOf(event)}`
      case "ring":
        return `rings the doorbell of ${rankOf(at)}`
      case "wake":
        return "wakes"
      case "sleep":
        return first < 0 ? "sleeps" : `sleeps until ${first} µs at the latest`
      case "fault":
        return `** ${faults[at]} while ${phases[second]}${faults[at] === "freeze" ? `, for ${first} µs` : ""}`
      case "switch":
        return `-- ${rankOf(at)} runs`
      case "leap":
        return "-- nobody can run: time passes"
      case "publish":
        return `publishes request ${first} to rank ${at}`
      case "control":
        return `sends control frame ${first} to rank ${at}`
      case "deliver":
        return `has got ${at === 0 ? "request" : "control frame"} ${first}`
      case "answer":
        return `answers request ${first}`
      case "hear":
        return `has got the answer ${first} of rank ${at}`
      case "told":
        return first === 1 ? "is told that its lanes are closed" : `gives rank ${at} up`
      case "round":
        return `has ended exchange ${first}`
      default:
        return operation
    }
  }
  const lines: Array<string> = []
  let last = ""
  for (const event of eventsOf(world)) {
    const text = describe(event)
    const line = `${rankOf(event.seat).padEnd(7)} ${text}`
    // Runs of plain accesses to one place are one line.
    if (plain.has(event.operation) && line === last) continue
    last = line
    lines.push(`${event.micros.toFixed(1).padStart(10)} ${line}`)
  }
  return lines
}

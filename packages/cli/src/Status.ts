/**
 * `phalanx status`: what this user's groups are doing, from their records, from what the system says of their processes, and from what their
 * drivers say when they are asked.
 */
import type { Snapshot } from "@phalanx/core/Snapshot"
import * as OsProcess from "@phalanx/node/OsProcess"
import * as Registry from "@phalanx/node/Registry"
import type { RegistryError } from "@phalanx/node/RegistryError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Failed } from "./internal/failed.ts"
import * as text from "./internal/statusText.ts"

/** A process, and how it is doing. */
export interface Process extends OsProcess.Vitals {
  readonly pid: number
}

/** A rank of a group. What only its driver knows is `null` where the driver did not answer. */
export interface Rank {
  readonly rank: number
  /** The member's number for life. */
  readonly member: number
  readonly incarnation: number
  /** `null` while it has none. */
  readonly process: Process | null
  /** Whether its process runs. */
  readonly alive: boolean
  readonly calls: Pick<Snapshot["members"][number], "state" | "open" | "requests" | "bytes" | "waiting"> | null
}

/** A call that somebody waits for, and the ranks that it waits for. */
export interface Wait {
  readonly call: number
  readonly method: string
  readonly ageMillis: number
  readonly ranks: ReadonlyArray<number>
}

/** A group whose driver lives. */
export interface Group {
  readonly id: string
  readonly driver: Process
  readonly epoch: number
  readonly mesh: Snapshot["mesh"]
  readonly transport: string
  /** The URL of the workers' module. */
  readonly entry: string
  readonly ranks: ReadonlyArray<Rank>
  /** The longest first; `null` where the driver did not answer. */
  readonly waits: ReadonlyArray<Wait> | null
  readonly window: Snapshot["window"] | null
  readonly counters: Snapshot["counters"] | null
  /** Why the driver did not answer, if it did not. */
  readonly silence: string | null
}

/** What `phalanx status --json` prints. */
export interface Status {
  readonly registry: string
  readonly groups: ReadonlyArray<Group>
  /** Groups whose driver is dead: `kept`, they wait for another one, for as long as their keeper's lease; else the next start removes what they have left. */
  readonly dead: ReadonlyArray<{ readonly id: string; readonly driver: number; readonly kept: boolean }>
  /** Entries that cannot be read, and why. */
  readonly unreadable: ReadonlyArray<string>
}

const processOf = (process: OsProcess.OsProcess): Process => ({ pid: process.pid, ...OsProcess.vitals(process) })

const ranksOf = (members: ReadonlyArray<Registry.Member>, snapshot: Snapshot | undefined): ReadonlyArray<Rank> => {
  const recorded = new Map(members.map((member) => [member.id, member]))
  const rank = (each: { readonly id: number; readonly rank: number; readonly incarnation: number }, calls: Rank["calls"]): Rank => {
    const member = recorded.get(each.id)
    const process = member === undefined ? null : processOf(member)
    const alive = process !== null && process.state !== "gone"
    return { rank: each.rank, member: each.id, incarnation: each.incarnation, process, alive, calls }
  }
  return snapshot === undefined
    ? members.map((member) => rank(member, null))
    : snapshot.members.map(({ bytes, open, requests, state, waiting, ...member }) =>
      rank(member, { state, open, requests, bytes, waiting })
    )
}

const waitsIn = ({ members }: Snapshot): ReadonlyArray<Wait> => {
  const waits = new Map<number, Wait & { readonly ranks: Array<number> }>()
  for (const { open, rank } of members) {
    for (const { abandoned, ageMillis, id, method } of open) {
      if (abandoned) continue
      const wait = waits.get(id) ?? { call: id, method, ageMillis, ranks: [] }
      wait.ranks.push(rank)
      waits.set(id, wait)
    }
  }
  return [...waits.values()].sort((a, b) => b.ageMillis - a.ageMillis)
}

const groupOf = Effect.fnUntraced(function*(group: Registry.Group) {
  const { driver, entry, epoch, id, members, mesh, transport } = group.record
  const answer = yield* Effect.result(Registry.ask(group))
  const snapshot = answer._tag === "Success" ? answer.success : undefined
  return {
    id,
    driver: processOf(driver),
    epoch: snapshot?.epoch ?? epoch,
    mesh: snapshot?.mesh ?? mesh,
    transport,
    entry,
    ranks: ranksOf(members, snapshot),
    waits: snapshot === undefined ? null : waitsIn(snapshot),
    window: snapshot?.window ?? null,
    counters: snapshot?.counters ?? null,
    silence: answer._tag === "Failure" ? answer.failure.message : null
  } satisfies Group
})

/** Looks at all groups of this user. A driver that is busy is waited for, a second at most, all of them at once. */
export const look: Effect.Effect<Status, RegistryError, Registry.Registry> = Effect.gen(function*() {
  const registry = yield* Registry.Registry
  const { groups, unreadable } = yield* registry.groups
  return {
    registry: registry.folder,
    groups: yield* Effect.forEach(groups.filter(({ alive }) => alive), groupOf, { concurrency: "unbounded" }),
    dead: groups.filter(({ alive }) => !alive).map(({ kept, record }) => ({ id: record.id, driver: record.driver.pid, kept })),
    unreadable: unreadable.map(({ message }) => message)
  }
})

/** `phalanx status [--json]`. */
export const command = Command.make(
  "status",
  { json: Flag.Boolean("json").pipe(Flag.withDescription("One JSON object"), Flag.withDefault(false)) },
  Effect.fnUntraced(function*({ json }) {
    const status = yield* Effect.mapError(look, ({ message }) => new Failed({ text: message }))
    yield* Console.log(json ? JSON.stringify(status) : text.lines(status).join("\n"))
  }, Effect.provide(Registry.layer))
).pipe(Command.withDescription("Show this user's groups: who runs, who is stuck, who waits for whom"))

/** `phalanx status` for people. */
import type { Group, Process, Rank, Status, Wait } from "../Status.ts"
import * as units from "./units.ts"

const process = ({ cpuMillis, pid, residentBytes, startedAt, state }: Process): string => {
  if (state === "gone" || state === "unknown") return `pid ${pid}  ${state}`
  const up = Math.max(0, Date.now() - startedAt)
  return `pid ${pid}  ${state}  up ${units.duration(up)}  cpu ${units.duration(cpuMillis)}  ${units.bytes(residentBytes)}`
}

const work = ({ calls }: Rank, window: Group["window"]): string => {
  if (calls === null || window === null) return ""
  const at = calls.open.find(({ admitted }) => admitted)
  const idle = calls.state === "serving" ? "idle" : calls.state
  const doing = at === undefined
    ? idle
    : `${calls.state === "serving" ? "" : `${calls.state}, `}${at.abandoned ? "told to stop" : "runs"} ${at.method} since ${
      units.duration(at.ageMillis)
    }`
  const fill = calls.requests === 0
    ? ""
    : `, ${calls.requests} of ${window.requests} requests and ${units.bytes(calls.bytes)} of ${units.bytes(window.bytes)} sent`
  return `  ${doing}${fill}${calls.waiting === 0 ? "" : `, ${calls.waiting} wait for it`}`
}

const rank = (each: Rank, window: Group["window"]): string =>
  `  rank ${each.rank}  incarnation ${each.incarnation}  ${each.process === null ? "no process" : process(each.process)}${
    work(each, window)
  }`

const wait = ({ ageMillis, call, method, ranks }: Wait): string =>
  `  call ${call}, ${method}, has waited ${units.duration(ageMillis)} for ${ranks.length === 1 ? "rank" : "ranks"} ${ranks.join(", ")}`

const group = ({ driver, epoch, id, mesh, ranks, silence, transport, waits, window }: Group): ReadonlyArray<string> => [
  `${id}  ${units.mesh(mesh)}  epoch ${epoch}  over ${transport}  driver ${process(driver)}`,
  ...ranks.map((each) => rank(each, window)),
  ...(waits ?? []).map(wait),
  ...(silence === null ? [] : [`  ${silence}`])
]

export const lines = ({ dead, groups, registry, unreadable }: Status): ReadonlyArray<string> => [
  ...(groups.length === 0 ? [`No group of this user is running (${registry}).`] : groups.flatMap(group)),
  ...dead.map(({ driver, id, kept }) =>
    kept
      ? `${id}: its driver ${driver} is dead; its workers are kept for another one`
      : `${id}: its driver ${driver} is dead; the next start, or phalanx doctor --sweep, removes what it has left`
  ),
  ...unreadable
]

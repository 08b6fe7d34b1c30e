/** Makes a failing run smaller while the same fails: fewer preemptions, fewer faults, fewer messages, and less of everything else. */
import type { Message, Plan } from "./plan.ts"
import type { Script } from "./protocol.ts"
import { decisionWords } from "./world.ts"

/** So many runs are tried at most. */
const tries = 600

/** Two issues are the same if they differ in numbers only. */
const kindOf = (issue: string): string => issue.split("\n")[0]!.replace(/\d+(?:\.\d+)?/g, "#")

/** `attempt` runs a script and answers what went wrong. */
export const shrink = (script: Script, issue: string, attempt: (script: Script) => string | undefined): Script => {
  let best = script
  let tried = 0
  const isTired = (): boolean => tried >= tries
  const fails = (candidate: Script): boolean => {
    if (isTired()) return false
    tried++
    const found = attempt(candidate)
    if (found === undefined || kindOf(found) !== kindOf(issue)) return false
    best = candidate
    return true
  }

  /** Leaves parts of a list out: halves, quarters, …, single ones. */
  const reduce = <A>(list: () => ReadonlyArray<A>, make: (list: ReadonlyArray<A>) => Script): void => {
    for (let size = Math.ceil(list().length / 2); size >= 1 && !isTired(); size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < list().length && !isTired();) {
        if (!fails(make(list().filter((_, index) => index < at || index >= at + size)))) at += size
      }
    }
  }
  const change = (change: Partial<Plan>): Script => ({ plan: { ...best.plan, ...change }, script: best.script })
  const preemptions = (): ReadonlyArray<ReadonlyArray<number>> =>
    Array.from(
      { length: best.script.length / decisionWords },
      (_, index) => best.script.slice(index * decisionWords, (index + 1) * decisionWords)
    )
  const sent = (): ReadonlyArray<Message> => best.plan.messages.filter((message) => message.ranks.length > 0)
  // A message's number says what its bytes are: one that is left out goes to nobody instead.
  const keep = (kept: ReadonlyArray<Message>): Script =>
    change({ messages: best.plan.messages.map((message) => kept.includes(message) ? message : { ...message, ranks: [] }) })
  const size = (): number => sent().length + best.plan.faults.length + best.script.length

  if (!fails(script)) return script
  for (let before = Infinity; size() < before && !isTired();) {
    before = size()
    reduce(preemptions, (list) => ({ plan: best.plan, script: list.flat() }))
    reduce(() => best.plan.faults, (faults) => change({ faults }))
    reduce(sent, keep)
    for (const less of [{ rounds: 0 }, { rounds: 1 }, { isWeak: false }, { spin: 0 }, { restarts: false }]) {
      const [[key, value]] = Object.entries(less) as [[keyof Plan, unknown]]
      if (best.plan[key] !== value && (key !== "rounds" || best.plan.rounds > Number(value))) fails(change(less))
    }
  }
  return best
}

/** Bugs that are put into the shipped code to see whether the simulation finds them. */
import type { Mutant } from "../../../../test/harness/hunting.ts"

export const mutants: Readonly<Record<string, Mutant>> = {
  "an answer of a former incarnation is accepted": {
    file: "packages/core/src/internal/frame.ts",
    from: "from !== member || incarnation !== life) return \"stale\"",
    to: "from !== member) return \"stale\"",
    shows: "SI-8"
  },
  "a request for a former incarnation is run": {
    file: "packages/core/src/internal/frame.ts",
    from: "mark !== fence.mark || (Array.isArray(lives) ? lives[member] : lives) !== life) return \"stale\"",
    to: "mark !== fence.mark) return \"stale\""
  },
  "an interrupt is lost": {
    file: "packages/core/src/internal/fanOut.ts",
    from: "send(member, { kind: Kind.Interrupt, id: open.id })",
    to: "if (open.id % 4 > 0) send(member, { kind: Kind.Interrupt, id: open.id })",
    seed: 80
  },
  "an interrupt that overtakes its request is forgotten": {
    file: "packages/core/src/internal/answering.ts",
    from: "if (id > newest) return void interrupted.add(id)",
    to: "if (id > newest) return"
  },
  "a window leaks a place": {
    file: "packages/core/src/internal/fanOut.ts",
    from: "member.requests--",
    to: "if (open.id % 8 > 0) member.requests--",
    shows: "SI-5"
  },
  "a window has no bound": {
    file: "packages/core/src/internal/fanOut.ts",
    from: "member.requests < window.requests",
    to: "member.requests <= window.requests",
    shows: "SI-6"
  },
  "a death is told twice": {
    file: "packages/core/src/internal/supervisor.ts",
    from: "options.tell(GroupEvent.make.Died({ died }))",
    to: "for (const _ of [1, 2]) options.tell(GroupEvent.make.Died({ died }))",
    shows: "SI-7"
  },
  "a waiting call is dropped by a restart": {
    file: "packages/core/src/internal/fanOut.ts",
    from: "renumber(member)",
    to: "member.waiting.shift(); renumber(member)"
  },
  "a call in flight is asked again of the next incarnation": {
    file: "packages/core/src/internal/fanOut.ts",
    from: "if (open.admitted || !keepWaiting) ended.push(open)",
    to: "if (!keepWaiting) ended.push(open); else if (open.admitted) member.waiting.push(open)"
  },
  "deaths in a window are counted one short": {
    file: "packages/core/src/internal/intensity.ts",
    from: "recent.length >= max",
    to: "recent.length > max"
  },
  "requests have their turn in the wrong order": {
    file: "packages/core/src/internal/turn.ts",
    from: "waiting.shift(); next !== undefined",
    to: "waiting.pop(); next !== undefined"
  },
  "survivors of a collective are not told": {
    file: "packages/core/src/internal/rendezvous.ts",
    from: "tell(roster.present, { kind: Kind.Renew",
    to: "if (generation % 2 > 0) tell(roster.present, { kind: Kind.Renew",
    seed: 7
  },
  "a handler meets those of a later call": {
    file: "packages/core/src/internal/generations.ts",
    from: "const meeting = meetings.get(asked)",
    to: "const meeting = meetings.get(asked) ?? current",
    seed: 12
  }
}

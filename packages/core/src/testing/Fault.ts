/**
 * What can happen to a simulated group. Each fault is plain data, drawn from a seed or written by hand; times are milliseconds.
 *
 * A fault does what a real machine or network could do and no more. Lanes stay in order and deliver once (MQ-1), so frames are held up, lost with
 * their sender, or of another life; a second copy is made only of answers, which CO-3 says do no harm.
 */
import * as Data from "effect/Data"
import type * as Draw from "./Draw.ts"

/** One fault. `member` is the one that it happens to: a member keeps its number for life, in a group that was never resized it is the rank. */
export type Fault = Data.TaggedEnum<{
  /** SIGKILL: no finalizer runs, nothing more is sent. */
  Kill: { readonly member: number }
  /** The process ends by itself, as an uncaught exception would end it, with a line of standard error. */
  Exit: { readonly member: number; readonly code: number }
  /** SIGSTOP, and SIGCONT later. */
  Freeze: { readonly member: number; readonly millis: number }
  /** The event loop computes without a pause for so long. */
  Block: { readonly member: number; readonly millis: number }
  /** Each turn of its event loop takes `turn` milliseconds, for so long. */
  Slow: { readonly member: number; readonly turn: number; readonly millis: number }
  /** Its connection to the driver carries nothing for so long. Longer than `deadline`: both ends learn that it is lost. */
  Cut: { readonly member: number; readonly millis: number }
  /** The lanes between two members carry nothing for so long. Longer than `deadline`: both ends learn that they are lost. */
  Part: { readonly member: number; readonly other: number; readonly millis: number }
  /** Everything between it and the driver takes `latency` longer, for so long. */
  Delay: { readonly member: number; readonly latency: number; readonly millis: number }
  /** For so long a second copy of each of its answers arrives some time after the first. */
  Double: { readonly member: number; readonly millis: number }
  /** Frames of lives that are over, and of other groups, arrive once more, at both ends. */
  Echo: { readonly member: number }
  /** The driver takes it for lost and replaces it, but it lives: no signal reaches it for so long, and it goes on sending. */
  Stray: { readonly member: number; readonly millis: number }
  /** It sends bytes that are not a frame. */
  Garble: { readonly member: number }
  /** It is killed, and the next start in its place fails: no process can be made. */
  NoSpawn: { readonly member: number }
  /** It is killed, and the next set-up in its place fails. */
  NoSetup: { readonly member: number }
  /** It is killed, and the next set-up in its place takes so long. */
  SlowSetup: { readonly member: number; readonly millis: number }
  /** The driver has no turn for so long. */
  Stall: { readonly millis: number }
  /** The time of day jumps, to and fro. */
  Jump: { readonly millis: number }
}>

/** The name of a fault. */
export type Kind = Fault["_tag"]

/** Constructors: `Fault.Kill({ member: 2 })`. */
export const {
  $is,
  $match,
  Block,
  Cut,
  Delay,
  Double,
  Echo,
  Exit,
  Freeze,
  Garble,
  Jump,
  Kill,
  NoSetup,
  NoSpawn,
  Part,
  SlowSetup,
  Slow,
  Stall,
  Stray
} = Data.taggedEnum<Fault>()

/** Milliseconds after which a simulated transport gives a connection up. */
export const deadline = 400

/** What to draw from, and how often each. `Kind`s that are not named are not drawn. */
export type Weights = Partial<Readonly<Record<Kind, number>>>

/** All kinds. */
export const all: Weights = {
  Kill: 3,
  Exit: 2,
  Freeze: 2,
  Block: 1,
  Slow: 2,
  Cut: 3,
  Part: 1,
  Delay: 2,
  Double: 2,
  Echo: 2,
  Stray: 2,
  Garble: 1,
  NoSpawn: 1,
  NoSetup: 1,
  SlowSetup: 1,
  Stall: 1,
  Jump: 1
}

/** Those after which every worker goes on: for protocols that are not made for a death. */
export const harmless: Weights = { Freeze: 2, Block: 1, Slow: 2, Delay: 2, Double: 1, Echo: 1, Stall: 1, Jump: 1 }

/** The kinds that have a weight, each once, in a drawn order: heavy ones tend to come first. */
export const kinds = (draw: Draw.Draw, weights: Weights): ReadonlyArray<Kind> => {
  const left: { [K in Kind]?: number } = { ...weights }
  return Object.keys(weights).map(() => {
    const kind = draw.weighted(left as Readonly<Record<Kind, number>>)
    delete left[kind]
    return kind
  })
}

/** Draws a fault of a kind for a group of so many members. Lengths are from 1 to 1,000 ms, mostly short. */
export const draw = (draw: Draw.Draw, kind: Kind, members: number): Fault => {
  const member = draw.below(members)
  const length = (most = 1000) => 1 + draw.below(draw.pick([10, 100, most]))
  switch (kind) {
    case "Kill":
    case "Echo":
    case "Garble":
    case "NoSpawn":
    case "NoSetup":
      return { _tag: kind, member }
    case "Exit":
      return Exit({ member, code: draw.pick([0, 1, 134]) })
    case "Freeze":
    case "Block":
    case "Cut":
    case "Double":
    case "Stray":
    case "SlowSetup":
      return { _tag: kind, member, millis: length() }
    case "Part":
      return Part({ member, other: (member + 1 + draw.below(Math.max(1, members - 1))) % members, millis: length() })
    case "Slow":
      return Slow({ member, turn: draw.pick([0.1, 1, 5]), millis: length() })
    case "Delay":
      return Delay({ member, latency: draw.pick([1, 10, 50]), millis: length() })
    case "Stall":
      return Stall({ millis: length(300) })
    case "Jump":
      return Jump({ millis: draw.pick([-1, 1]) * draw.pick([1_000, 60_000, 86_400_000]) })
  }
}

/** A fault in words. */
export const describe: (fault: Fault) => string = $match({
  Kill: ({ member }) => `member ${member} is killed`,
  Exit: ({ code, member }) => `member ${member} ends with exit code ${code}`,
  Freeze: ({ member, millis }) => `member ${member} is stopped for ${millis} ms`,
  Block: ({ member, millis }) => `member ${member} computes for ${millis} ms without a pause`,
  Slow: ({ member, millis, turn }) => `member ${member} takes ${turn} ms a turn for ${millis} ms`,
  Cut: ({ member, millis }) => `the connection of member ${member} is cut for ${millis} ms`,
  Part: ({ member, millis, other }) => `members ${member} and ${other} are cut off from each other for ${millis} ms`,
  Delay: ({ latency, member, millis }) => `frames to and from member ${member} take ${latency} ms longer for ${millis} ms`,
  Double: ({ member, millis }) => `answers of member ${member} arrive twice for ${millis} ms`,
  Echo: ({ member }) => `frames of former lives come to and from member ${member}`,
  Stray: ({ member, millis }) => `member ${member} is taken for lost but goes on for ${millis} ms`,
  Garble: ({ member }) => `member ${member} sends bytes that are no frame`,
  NoSpawn: ({ member }) => `member ${member} is killed, and its next start fails`,
  NoSetup: ({ member }) => `member ${member} is killed, and its next set-up fails`,
  SlowSetup: ({ member, millis }) => `member ${member} is killed, and its next set-up takes ${millis} ms`,
  Stall: ({ millis }) => `the driver has no turn for ${millis} ms`,
  Jump: ({ millis }) => `the time of day jumps by ${millis} ms`
})

/**
 * When tokens were read, and what each change of size cost those who read them.
 */
import type { StepTime } from "@phalanx/elastic/Operation"
import type * as Generator from "@phalanx/moe/Generator"
import * as Pauses from "@phalanx/moe/testing/Pauses"

/** One change of size, in milliseconds. */
export interface Scaling {
  readonly from: number
  readonly to: number
  /** From the request to the end of the last step. */
  readonly totalMs: number
  /** From the last token before the commit to the first one after it, less a normal step. */
  readonly pauseMs: number
  /** The same in normal steps: the median of the twenty before. */
  readonly pauseSteps: number
  readonly stepMs: number
  readonly steps: Readonly<Record<string, number>>
  /** Requests that had tokens before and after the commit. */
  readonly across: number
  /** Steps until every rank owned requests. */
  readonly ownedWithin: number
}

const round = (ms: number): number => Math.round(ms * 100) / 100

export const make = (size: number) => {
  const pauses = Pauses.make()
  const tokens: Array<number> = []
  const sizes: Array<{ readonly at: number; readonly size: number }> = [{ at: performance.now(), size }]
  const scalings: Array<Scaling> = []
  return {
    scalings,
    token: (request: number, at = performance.now()): void => {
      tokens.push(at)
      pauses.token(request, at)
    },
    step: (step: Pick<Generator.Step, "replied">): void => pauses.step(step),
    steps: pauses.steps,
    soon: pauses.soon,
    scaling: (change: {
      readonly from: number
      readonly to: number
      readonly steps: ReadonlyArray<StepTime>
      readonly owned: number
      /** When its first driver was killed, in milliseconds since 1970. */
      readonly killed?: number | undefined
    }): Scaling => {
      const { from, killed, owned, steps, to } = change
      const commit = steps.find(({ step }) => step === "commit")!
      // Whoever reads is held up by the driver's end, too.
      const { across, at, pauseMs, pauseSteps, stepMs } = pauses.of({ began: killed ?? commit.began, ended: commit.ended })
      sizes.push({ at: at + pauseMs + stepMs, size: to })
      const scaling: Scaling = {
        from,
        to,
        totalMs: steps.at(-1)!.ended - steps[0]!.began,
        pauseMs: round(pauseMs),
        pauseSteps: round(pauseSteps),
        stepMs: round(stepMs),
        steps: Object.fromEntries(steps.map(({ began, ended, step }) => [step, ended - began])),
        across,
        ownedWithin: owned
      }
      scalings.push(scaling)
      return scaling
    },
    /** Tokens a second, sizes and pauses over time. */
    svg: (): string => {
      const [start, end] = [tokens[0]!, tokens.at(-1)!]
      const [width, height, bins] = [960, 240, 192]
      const x = (at: number): string => ((at - start) / (end - start) * width).toFixed(1)
      const counts = Array.from({ length: bins }, () => 0)
      for (const at of tokens) counts[Math.min(bins - 1, Math.floor((at - start) / (end - start) * bins))]!++
      const top = Math.max(...counts)
      const rate = counts.map((count, i) => `${(i + 0.5) * width / bins},${(height - count / top * height * 0.6).toFixed(1)}`).join(" ")
      const perSecond = Math.round(top / ((end - start) / bins) * 1000)
      const bands = sizes.map(({ at, size }, i) => {
        const to = sizes[i + 1]?.at ?? end
        return `<rect x="${x(at)}" y="0" width="${(Number(x(to)) - Number(x(at))).toFixed(1)}" height="${size * 16}" class="size"/>`
          + `<text x="${Number(x(at)) + 4}" y="14">${size} ranks</text>`
      })
      const marks = sizes.slice(1).map(({ at }, i) =>
        `<line x1="${x(at)}" x2="${x(at)}" y1="0" y2="${height}"/><text x="${x(at)}" y="${height - 4}">${scalings[i]!.pauseMs} ms</text>`
      )
      return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height + 20}" font-family="sans-serif" font-size="11">
<style>.size{fill:#dbe7f5}polyline{fill:none;stroke:#1f5fa8;stroke-width:1.5}line{stroke:#c0392b;stroke-dasharray:3 3}</style>
${bands.join("\n")}
<polyline points="${rate}"/>
${marks.join("\n")}
<text x="0" y="${height + 14}">tokens a second (at most ${perSecond}) over ${
        ((end - start) / 1000).toFixed(1)
      } s; dashed: a commit and the pause it made</text>
</svg>
`
    }
  }
}
export type Timeline = ReturnType<typeof make>

export const line = ({ across, from, ownedWithin, pauseMs, pauseSteps, stepMs, to, totalMs }: Scaling): string =>
  `${from} → ${to} in ${totalMs} ms, a pause of ${pauseMs} ms (${pauseSteps} steps of ${stepMs} ms); `
  + `${across} requests wrote on, every rank had some after ${ownedWithin} steps`

export const summary = (outcome: {
  readonly requests: number
  readonly completed: number
  readonly identical: number
  readonly recomputed: number
}): string =>
  `${outcome.completed} of ${outcome.requests} requests completed, ${outcome.identical} as if nothing had happened; ${outcome.recomputed} tokens computed twice`

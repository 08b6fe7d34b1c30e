/** Lines over time, as SVG. */

/** One line of a plot; `y` in the plot's unit. */
export interface Line {
  readonly name: string
  readonly color: string
  readonly points: ReadonlyArray<{ readonly x: number; readonly y: number }>
}

/** What is drawn, and what its axes say. */
export interface Plot {
  readonly title: string
  readonly xUnit: string
  readonly yUnit: string
  readonly lines: ReadonlyArray<Line>
  /** Spans of x that are shaded, with what they are. */
  readonly spans: ReadonlyArray<{ readonly from: number; readonly to: number; readonly name: string }>
}

const [width, height] = [860, 340]
const [left, right, top, bottom] = [64, 20, 46, 40]

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** A step of 1, 2 or 5 times a power of ten, of which about five reach the value. */
const step = (most: number): number => {
  const power = 10 ** Math.floor(Math.log10(most / 5))
  return power * ([1, 2, 5, 10].find((times) => most / (power * times) <= 6) ?? 10)
}

const ticks = (most: number): ReadonlyArray<number> => {
  const by = step(most)
  return Array.from({ length: Math.floor(most / by + 1e-9) + 1 }, (_, index) => Number((index * by).toPrecision(12)))
}

/** Draws it, y from 0 on. */
export const svg = ({ lines, spans, title, xUnit, yUnit }: Plot): string => {
  const points = lines.flatMap(({ points }) => points)
  const mostX = Math.max(1e-9, ...points.map(({ x }) => x), ...spans.map(({ to }) => to))
  const mostY = Math.max(1e-9, ...points.map(({ y }) => y)) * 1.1
  const x = (value: number): string => (left + value / mostX * (width - left - right)).toFixed(1)
  const y = (value: number): string => (height - bottom - value / mostY * (height - top - bottom)).toFixed(1)
  const text = (at: string, words: string): string => `<text ${at}>${escape(words)}</text>`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    text(`x="${left}" y="18" font-size="13"`, title),
    ...spans.map(({ from, name, to }) =>
      `<rect x="${x(from)}" y="${top}" width="${(Number(x(to)) - Number(x(from))).toFixed(1)}" height="${
        height - top - bottom
      }" fill="#eef2f6"/>`
      + text(`x="${x(from)}" y="${height - bottom - 6}" dx="4" fill="#667"`, name)
    ),
    ...ticks(mostY).map((value) =>
      `<line x1="${left}" x2="${width - right}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>`
      + text(`x="${left - 6}" y="${y(value)}" dy="4" text-anchor="end"`, String(value))
    ),
    ...ticks(mostX).map((value) => text(`x="${x(value)}" y="${height - bottom + 16}" text-anchor="middle"`, String(value))),
    text(`x="${left - 6}" y="${top - 8}" text-anchor="end"`, yUnit),
    text(`x="${width - right}" y="${height - 8}" text-anchor="end"`, xUnit),
    ...lines.map(({ color, name, points }, index) =>
      `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${
        points.map((point) => `${x(point.x)},${y(point.y)}`).join(" ")
      }"/>`
      + text(`x="${left + index * 190}" y="34" fill="${color}"`, `— ${name}`)
    ),
    "</svg>",
    ""
  ].join("\n")
}

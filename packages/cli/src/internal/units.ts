/** Numbers as people read them. */

export const bytes = (count: number): string => {
  if (count < 1024) return `${count} B`
  if (count < 2 ** 20) return `${(count / 1024).toFixed(0)} KiB`
  return count < 2 ** 30 ? `${(count / 2 ** 20).toFixed(count < 10 * 2 ** 20 ? 1 : 0)} MiB` : `${(count / 2 ** 30).toFixed(1)} GiB`
}

export const duration = (millis: number): string => {
  if (millis < 1000) return `${Math.round(millis)} ms`
  const seconds = millis / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`
}

export const mesh = (shape: Readonly<Record<string, number>>): string =>
  Object.entries(shape).map(([name, size]) => `${name} ${size}`).join(" × ")

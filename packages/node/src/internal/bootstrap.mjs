// The first module of a worker process. It is JavaScript, for a first module in TypeScript costs every worker the loading of Node's type
// stripper (70 ms); all others come stripped and compiled out of a cache.

// Whoever started it may be killed while it loads, and must not leave it: looked at first, and tied to before anything that takes its time.
const parent = Number(process.argv.at(-1))
if (process.ppid !== parent) process.exit(0)

await import("./loading.mjs")
const { dieWith } = await import("./parentDeath.ts")
if (!dieWith(parent)) process.exit(0)

await import("./workerProcess.ts")

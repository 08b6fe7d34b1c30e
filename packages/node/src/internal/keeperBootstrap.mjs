// The first module of a keeper, in JavaScript for the same reason as a worker's.
await import("./loading.mjs")
await import("./keeperProcess.ts")

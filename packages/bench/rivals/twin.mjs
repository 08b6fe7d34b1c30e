// A child process of the kind and size that a worker is: the same modules are loaded, and so many bytes held. It sleeps.
await Promise.all([import("@phalanx/core/Worker"), import("@phalanx/queue/ShmQueues"), import("../src/workers/mortalWorker.ts")]);
let held;
process.on("message", (m) => {
  const missing = Math.max(0, m.bytes - process.memoryUsage.rss());
  held = Array.from({ length: missing >> 12 }, () => new Uint8Array(4096).fill(1));
  process.send(held.length);
});
process.send("up");

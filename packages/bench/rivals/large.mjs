// A child process that holds so many bytes, all of them touched, and never comes back from its handler.
let held;
process.on("message", (m) => {
  held = Buffer.alloc(Math.max(0, m.bytes - process.memoryUsage.rss()), 1);
  process.send(held.length);
  for (;;) {}
});
process.send("up");

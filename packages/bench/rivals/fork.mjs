// A child process that answers every message with the length of what it holds.
process.on("message", (m) => { if (m.hang) { for (;;) {} } process.send(m.x.length); });
process.send("up");

// Answers so many bytes on its standard input with the same bytes on its standard output: node pipe.mjs BYTES
const bytes = Number(process.argv[2]);
let held = Buffer.alloc(0);
process.stdin.on("data", (part) => {
  if (held.length === 0 && part.length === bytes) return void process.stdout.write(part);
  held = Buffer.concat([held, part]);
  for (; held.length >= bytes; held = held.subarray(bytes)) process.stdout.write(held.subarray(0, bytes));
});
process.stdin.on("end", () => process.exit());
process.send("up");
process.on("disconnect", () => process.exit());

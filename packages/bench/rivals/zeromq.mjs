// A bare ZeroMQ pair that answers every message with its length in four bytes: node zeromq.mjs ENDPOINT
import { Pair } from "zeromq";
process.on("disconnect", () => process.exit());
const socket = new Pair();
socket.connect(process.argv[2]);
process.send("up");
for await (const [x] of socket) { const r = Buffer.allocUnsafe(4); r.writeUInt32LE(x.length); await socket.send(r); }

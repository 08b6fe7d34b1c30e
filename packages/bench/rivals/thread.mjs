// A worker thread that answers every message with its length.
import { parentPort } from "node:worker_threads";
parentPort.on("message", (x) => parentPort.postMessage(x.length));
parentPort.postMessage("up");

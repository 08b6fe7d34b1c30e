/** A rank of the language model whose module, while the file that its URL names is there, never comes to its end, or throws what the file says. */
import worker from "@phalanx/moe/worker"
import { existsSync, readFileSync } from "node:fs"

const file = new URL(import.meta.url).searchParams.get("file")!
if (existsSync(file)) {
  const text = readFileSync(file, "utf8")
  if (text !== "") throw new Error(text)
  // A timer keeps the process from ending for want of work.
  setInterval(() => {}, 1000)
  await new Promise(() => {})
}

export default worker

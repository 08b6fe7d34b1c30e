/**
 * A rank of the language model that does as a file says which its URL names, if it is there when the rank starts: with nothing in it, its module never comes to its end; with `room N` it has room for N requests; with anything
 * else, it throws that.
 */
import { existsSync, readFileSync } from "node:fs"

const file = new URL(import.meta.url).searchParams.get("file")!
const text = existsSync(file) ? readFileSync(file, "utf8") : "room 32"
if (text === "") {
  // A timer keeps the process from ending for want of work.
  setInterval(() => {}, 1000)
  await new Promise(() => {})
}
const room = /^room (\d+)$/.exec(text)?.[1]
if (room === undefined) throw new Error(text)

export default (await import(`${import.meta.resolve("@phalanx/moe/worker")}?requests=${room}`)).default

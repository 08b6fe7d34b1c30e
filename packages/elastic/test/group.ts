/** A group of nothing but its books, in memory or in a file that outlives its driver, whose steps can be told to fail, to hang, or to kill. */
import * as Effect from "effect/Effect"
import { readFileSync, renameSync, writeFileSync } from "node:fs"
import { ResizeError } from "../src/ElasticError.ts"
import type { Resizable, Resize, Serving } from "../src/Resizable.ts"

export interface Books {
  serving: Serving
  /** The epoch that is prepared beside the one that serves. */
  prepared: number | null
  /** Epochs whose remains are still there. */
  remains: ReadonlyArray<number>
  log: ReadonlyArray<string>
}

export type Part = "prepare" | "copy" | "ready" | "commit" | "retire" | "abort"

export const begin = (dp: number): Books => ({
  serving: { epoch: 0, shape: { dp, tp: 1 }, members: Array.from({ length: dp }, (_, id) => id) },
  prepared: null,
  remains: [],
  log: []
})

export interface Store {
  readonly read: () => Books
  readonly write: (books: Books) => void
}

export const memory = (books: Books): Store => ({ read: () => books, write: (next) => void (books = next) })

export const file = (path: string): Store => ({
  read: () => JSON.parse(readFileSync(path, "utf8")),
  write: (books) => {
    writeFileSync(`${path}.new`, JSON.stringify(books))
    renameSync(`${path}.new`, path)
  }
})

const target = ({ epoch, from, request }: Resize): Serving => {
  const next = Math.max(...from.members) + 1
  const members = "leave" in request
    ? from.members.filter((member) => !request.leave.includes(member))
    : Array.from({ length: request.to["dp"]! }, (_, rank) => from.members[rank] ?? next + rank - from.members.length)
  return { epoch, shape: { ...from.shape, dp: members.length }, members }
}

/** `meanwhile` runs in a part, after what the part does and before it ends. */
export const make = (
  store: Store,
  meanwhile: (part: Part, resize: Resize) => Effect.Effect<void, ResizeError> = () => Effect.void,
  name = "books"
): Resizable["Service"] => {
  const part = (part: Part, change: (books: Books, resize: Resize) => Partial<Books> | ResizeError) => (resize: Resize) =>
    Effect.gen(function*() {
      const books = store.read()
      const changed = change(books, resize)
      if (changed instanceof ResizeError) return yield* changed
      store.write({ ...books, ...changed, log: [...books.log, part] })
      yield* meanwhile(part, resize)
    })
  const needsPrepared = (books: Books, { epoch }: Resize) =>
    books.prepared === epoch ? {} : new ResizeError({ issue: `epoch ${epoch} is not prepared`, advice: "Prepare it first", final: true })
  return {
    group: name,
    serving: Effect.sync(() => store.read().serving),
    prepare: part("prepare", (_, { epoch }) => ({ prepared: epoch })),
    copy: part("copy", needsPrepared),
    ready: part("ready", needsPrepared),
    commit: (resize) =>
      Effect.as(
        part("commit", (books, resize) => {
          if (books.serving.epoch === resize.epoch) return {}
          const issue = needsPrepared(books, resize)
          if (issue instanceof ResizeError) return issue
          return { prepared: null, serving: target(resize), remains: [...books.remains, books.serving.epoch] }
        })(resize),
        { pauseMillis: 7 }
      ),
    retire: part("retire", (books, { epoch }) => ({ remains: books.remains.filter((old) => old >= epoch) })),
    abort: part("abort", (books, { epoch }) => books.serving.epoch >= epoch ? {} : { prepared: null })
  }
}

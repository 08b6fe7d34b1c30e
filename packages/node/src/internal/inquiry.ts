/**
 * Asking a driver about its group, and answering: one line of JSON each way over a Unix socket that only this user reaches, and an answer only
 * to who knows the group's secret.
 */
import { Snapshot } from "@phalanx/core/Snapshot"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { RegistryError } from "../RegistryError.ts"

const Question = Schema.fromJsonString(Schema.Struct({ secret: Schema.String, ask: Schema.Literal("snapshot") }))
const Answer = Schema.fromJsonString(Schema.Struct({ snapshot: Snapshot }))

const fileName = "driver.sock"
const questionLimit = 1024
const answerLimit = 64 * 1024 * 1024
/** Milliseconds that either side waits for the other. */
const patience = 1000
/** The system has no room for a longer path. */
const longestPath = 103

const path = (folder: string): string => Path.join(folder, fileName)

const same = (given: string, secret: string): boolean => {
  const [a, b] = [given, secret].map((text) => Crypto.hash("sha256", text, "buffer"))
  return Crypto.timingSafeEqual(a!, b!)
}

/** Answers for a group until the scope closes. It keeps no process alive. */
export const serve = (
  folder: string,
  secret: string,
  snapshot: () => Snapshot
): Effect.Effect<void, RegistryError, Scope.Scope> => {
  const where = path(folder)
  const asked = new Set<Net.Socket>()
  const answer = (question: string) =>
    Schema.decodeUnknownEffect(Question)(question).pipe(
      Effect.filterOrFail((question) => same(question.secret, secret), () => "refused" as const),
      Effect.flatMap(() => Schema.encodeEffect(Answer)({ snapshot: snapshot() }))
    )
  const hear = (socket: Net.Socket): void => {
    let text = ""
    asked.add(socket)
    socket.unref().setEncoding("utf8").setTimeout(patience, () => socket.destroy())
    socket.on("error", () => socket.destroy()).on("close", () => asked.delete(socket))
    // Nothing follows that could make it a question.
    socket.on("end", () => text.includes("\n") || socket.destroy())
    socket.on("data", (chunk: string) => {
      text += chunk
      const end = text.indexOf("\n")
      if (end < 0 && text.length <= questionLimit) return
      socket.removeAllListeners("data").resume()
      // Whoever asks what is no question, or does not know the secret, hears nothing.
      Effect.runFork(Effect.match(answer(text.slice(0, end)), {
        onFailure: () => socket.destroy(),
        onSuccess: (line) => socket.end(`${line}\n`)
      }))
    })
  }
  const fail = (issue: string): RegistryError =>
    new RegistryError({
      operation: "answer for a group at",
      where,
      issue,
      advice:
        "The group goes on, but nobody can ask what it is doing; let XDG_RUNTIME_DIR name a folder with a short path that takes sockets"
    })
  return Effect.acquireRelease(
    Effect.callback<Net.Server, RegistryError>((resume) => {
      if (Buffer.byteLength(where) > longestPath) return resume(Effect.fail(fail("the path is too long for a socket")))
      const server = Net.createServer({ allowHalfOpen: true }, hear)
      server.maxConnections = 16
      server.once("error", (cause) => resume(Effect.fail(fail(cause.message))))
      // Of a driver that was killed.
      Fs.rmSync(where, { force: true })
      server.listen(where, () => {
        Fs.chmodSync(where, 0o600)
        server.unref().on("error", () => {})
        resume(Effect.succeed(server))
      })
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        for (const socket of asked) socket.destroy()
      })
  )
}

/** What the driver of a group says of it. */
export const ask = (folder: string, secret: string): Effect.Effect<Snapshot, RegistryError> => {
  const where = path(folder)
  const fail = (issue: string, advice: string): RegistryError => new RegistryError({ operation: "ask", where, issue, advice })
  const line = Effect.callback<string, RegistryError>((resume) => {
    const socket = Net.connect(where)
    let text = ""
    const refuse = (issue: string, advice: string) => {
      socket.destroy()
      resume(Effect.fail(fail(issue, advice)))
    }
    socket.setEncoding("utf8").setTimeout(
      patience,
      () =>
        refuse(`the driver did not answer within ${patience} ms`, "Its event loop is blocked, or it is stopped: look at what it computes")
    )
    socket.on("error", (cause) => refuse(cause.message, "Its driver is ending, or could not open the socket: its log says why"))
    socket.on("connect", () => socket.write(`${JSON.stringify({ secret, ask: "snapshot" })}\n`))
    socket.on("data", (chunk: string) => {
      text += chunk
      if (text.length > answerLimit) refuse("it answers without end", "Use the same version of Phalanx as the driver")
    })
    socket.on("close", () => resume(Effect.succeed(text)))
    return Effect.sync(() => socket.destroy())
  })
  return Effect.flatMap(line, (text) =>
    Effect.mapBoth(Schema.decodeUnknownEffect(Answer)(text), {
      onSuccess: ({ snapshot }) => snapshot,
      onFailure: () =>
        text === ""
          ? fail("the driver refused to answer", "It does not take this for a question of somebody who knows the group's secret")
          : fail("the answer is no snapshot", "Use the same version of Phalanx as the driver")
    }))
}

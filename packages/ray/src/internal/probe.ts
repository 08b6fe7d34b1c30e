/** Whether Ray's control service can be at an address: Ray itself takes minutes to give one up. */
import * as Effect from "effect/Effect"
import { connect } from "node:http2"
import { connect as connectTcp } from "node:net"
import { RayError } from "../RayError.ts"

const deadline = 3000

/** Fails unless somebody at `host:port` speaks as gRPC does: within a round trip if it is refused, after 3 seconds if nothing is said. */
export const probe = (address: string, tls: boolean): Effect.Effect<void, RayError> =>
  Effect.callback((resume) => {
    const fail = (reason: RayError["reason"], issue: string, advice: string) =>
      done(new RayError({ reason, where: address, issue, advice }))
    const silent = setTimeout(
      () =>
        connected
          ? fail("NotRay", `what listens there has not answered as Ray does within ${deadline} ms`, notRay)
          : fail("Silent", `no answer within ${deadline} ms`, "Check that the host is up and that no firewall drops what is sent to it"),
      deadline
    )
    let connected = false
    const done = (error?: RayError): void => {
      clearTimeout(silent)
      stop()
      resume(error === undefined ? Effect.void : Effect.fail(error))
    }
    const onError = (cause: NodeJS.ErrnoException): void =>
      connected
        ? fail("NotRay", `what listens there does not speak as Ray does (${cause.message})`, notRay)
        : fail("Unreachable", cause.message, "Give the address of the head's control service, host:port, of a cluster that runs")

    const separator = address.lastIndexOf(":")
    const [host, port] = [address.slice(0, separator).replace(/^\[|\]$/g, ""), Number(address.slice(separator + 1))]
    const socket = connectTcp(port, host).on("error", onError).once("connect", () => {
      connected = true
      // With certificates only Ray itself can say more.
      if (tls) done()
    })
    // A gRPC server tells its settings as soon as it is connected to.
    const session = tls ? undefined : connect(`http://${address}`, { createConnection: () => socket })
    session?.on("error", onError).once("remoteSettings", () => done()).once("close", () => onError(new Error("it hung up")))
    const stop = (): void => {
      session?.removeAllListeners("close").removeAllListeners("error").on("error", () => {}).destroy()
      socket.removeAllListeners("error").on("error", () => {}).destroy()
    }
    return Effect.sync(() => {
      clearTimeout(silent)
      stop()
    })
  })

const notRay = "Give the port of Ray's control service, 6379 unless it was started with another, not the one of its dashboard or client"

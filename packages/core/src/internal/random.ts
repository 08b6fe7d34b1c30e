import * as Effect from "effect/Effect"

/** `size` bytes that nobody can guess, in hexadecimal. */
export const randomHex = (size: number): Effect.Effect<string> =>
  Effect.sync(() =>
    Array.from(globalThis.crypto.getRandomValues(new Uint8Array(size)), (byte) => byte.toString(16).padStart(2, "0")).join("")
  )

/** Proofs that whoever says something knows a group's secret, which tell nothing of it. */
import * as Crypto from "node:crypto"

/** In hexadecimal, 64 digits. What is proved about must not be what somebody else was given a proof about. */
export const of = (secret: string, about: string): string => Crypto.createHmac("sha256", secret).update(about).digest("hex")

export const holds = (given: string, secret: string, about: string): boolean => {
  const expected = of(secret, about)
  return given.length === expected.length && Crypto.timingSafeEqual(Buffer.from(given, "latin1"), Buffer.from(expected))
}

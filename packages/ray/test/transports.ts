/** With PHALANX_RAY `all`, what takes long is done in every way, not in one. */
export const isAll = process.env["PHALANX_RAY"] === "all"

/** A run of the contract on Ray takes some seconds of a processor, so it is over TCP on one host, and over both transports at once on three; `isAll`: on each cluster, over each. */
export const transports = (...usual: ReadonlyArray<"mixed" | "tcp">): ReadonlyArray<"mixed" | "tcp"> => isAll ? ["mixed", "tcp"] : usual

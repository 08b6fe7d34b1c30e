/**
 * A run of the contract on Ray starts dozens of processes, so it has it on three hosts over both transports at once; with PHALANX_RAY `all` on each cluster, over each.
 */
export const transports = (...usual: ReadonlyArray<"mixed" | "tcp">): ReadonlyArray<"mixed" | "tcp"> =>
  process.env["PHALANX_RAY"] === "all" ? ["mixed", "tcp"] : usual

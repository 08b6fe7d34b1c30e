/** A run of the contract on Ray starts dozens of processes: each cluster has it over one transport, and over the other as well if PHALANX_RAY is `all`. */
export const transports = (first: "mixed" | "tcp"): ReadonlyArray<"mixed" | "tcp"> =>
  process.env["PHALANX_RAY"] === "all" ? ["mixed", "tcp"] : [first]

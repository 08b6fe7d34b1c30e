import type { CollectiveAborted } from "@phalanx/core/Collectives"
import type { CallError } from "@phalanx/core/WorkerError"

/** How a call to the ranks fails. */
export type StepError = CallError<CollectiveAborted>

/** Losses in a row. Each waits for a restart; many mean that something else is wrong. */
export const most = 10

/** A rank is gone, which the group may get over. */
export const isLoss = ({ reason }: StepError): boolean => reason._tag === "WorkerDied" || reason._tag === "CollectiveAborted"

/**
 * `phalanx doctor`: whether this machine is fit for groups of worker processes, and what to do where it is not.
 */
import * as Registry from "@phalanx/node/Registry"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as checks from "./internal/checks.ts"

/** What was found of one thing that groups need. */
export type Finding = checks.Finding

/** What `phalanx doctor --json` prints. `ok` is false if a check failed; the exit code is then 1. */
export interface Report {
  readonly ok: boolean
  readonly checks: ReadonlyArray<Finding>
}

/** Makes all checks. `segments` is where queues are to lie; with `sweep`, what dead drivers have left is removed first. */
export const examine = Effect.fnUntraced(function*(options: { readonly segments: string; readonly sweep: boolean }) {
  const found = yield* Effect.forEach(checks.all(options), (check) => check, { concurrency: "unbounded" })
  const findings = found.flat()
  return { ok: findings.every(({ status }) => status !== "fail"), checks: findings } satisfies Report
})

const line = ({ advice, found, name, status }: Finding): string =>
  `${status.padEnd(5)} ${name.padEnd(18)} ${found}${advice === undefined ? "" : `\n${" ".repeat(25)}${advice}`}`

const summary = ({ checks }: Report): string => {
  const count = (status: Finding["status"]) => checks.filter((each) => each.status === status).length
  const failed = count("fail")
  return failed > 0
    ? `${failed} of ${checks.length} checks failed.`
    : `This machine is fit for groups of workers${count("warn") > 0 ? `, with ${count("warn")} warnings` : ""}.`
}

/** `phalanx doctor [--json] [--sweep] [--segments FOLDER]`. */
export const command = Command.make(
  "doctor",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("One JSON object"), Flag.withDefault(false)),
    sweep: Flag.Boolean("sweep").pipe(Flag.withDescription("Remove what dead drivers of this user have left"), Flag.withDefault(false)),
    segments: Flag.Directory("segments").pipe(
      Flag.withDescription("Where shared memory is to lie, if not where it does by default"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function*({ json, segments, sweep }) {
    const report = yield* examine({ sweep, segments: Option.getOrElse(segments, () => checks.defaultSegments) })
    yield* Console.log(json ? JSON.stringify(report) : [...report.checks.map(line), "", summary(report)].join("\n"))
    if (!report.ok) process.exitCode = 1
  }, Effect.provide(Registry.layer))
).pipe(Command.withDescription("Check that this machine is fit for groups of workers, and say what to do where it is not"))

/** A driver that kills itself. `node victim.ts FOLDER REQUEST POINT` dies at a point of its journal or its steps. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Elastic from "@phalanx/elastic/Elastic"
import { Layer } from "effect"
import * as DyingJournal from "../../../test/harness/dyingJournal.ts"
import * as DyingSteps from "../../../test/harness/dyingSteps.ts"
import { drive } from "../driver.ts"
import { journalOf } from "../group.ts"

const [folder, request, point] = process.argv.slice(2) as [string, string, string]

const journal = Elastic.layer.pipe(Layer.provide(DyingJournal.layer(journalOf(folder), point)))
NodeRuntime.runMain(drive(folder, JSON.parse(request), journal, (resizable) => DyingSteps.make(resizable, point)))

import { relative } from "node:path"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Files of a few lines that take half a minute or more; the first ones wait for most of it. */
const long = [
  "packages/ray/test/hosts.test.ts",
  "packages/ray/test/ray.test.ts",
  "test/simulate.test.ts",
  "packages/elastic/test/simulation.test.ts",
  "packages/core/test/groups.test.ts",
  "examples/elastic/elastic.test.ts",
  "packages/bench/test/ray.test.ts",
  "examples/simulate/simulate.test.ts",
  "test/driverKills.test.ts"
]

/**
 * Begins with the files that take longest. Where nothing has been run yet, which tells how long each takes, the largest come first; those that take long and are
 * small would be the last then, and the processors idle beside them.
 */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const place = ({ moduleId, project }: TestSpecification): number => {
      const index = long.indexOf(relative(project.config.root, moduleId))
      return index < 0 ? long.length : index
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}

/** The tests of a package's decoders: its corpus, then inputs near it. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import { campaign, type Decoder, examine, samples } from "./fuzz.ts"
import { write } from "./mutate.ts"

/** Takes seconds, not hours: `pnpm fuzz` goes on from here. */
const most = 400
const fewer = 50

/** `modules` are those of `folder/fuzz`; the corpus lies in `folder/corpus`. */
export const hold = (folder: string, ...modules: ReadonlyArray<Record<string, Decoder>>): void => {
  for (const decoder of modules.flatMap((module) => Object.values(module))) {
    const inputs = decoder.slow === true ? fewer : most
    const corpus = samples(join(folder, "corpus", decoder.name))
    describe(`the decoder ${decoder.name}`, () => {
      afterAll(() => decoder.close?.())

      it(`FZ-5: makes of each of ${corpus.length} kept inputs what it made before`, async () => {
        assert.isNotEmpty(corpus)
        for (const { file, input, outcome } of corpus) {
          const found = await examine(decoder, input)
          assert.deepStrictEqual([file, found.issue, found.outcome], [file, undefined, outcome])
        }
      })

      it(`FZ-1, FZ-2, FZ-3, FZ-4: takes or refuses each of ${inputs} inputs near them, and does nothing worse`, async () => {
        const report = await campaign(decoder, { seed: 1, inputs: corpus.length + inputs, corpus: corpus.map(({ input }) => input) })
        assert.deepStrictEqual(report.failures.map(({ input, issue }) => [issue, write(input)]), [])
        // One that takes all, or nothing, has not been tried.
        assert.isAbove(report.accepted, 0)
        assert.isBelow(report.accepted, report.inputs)
      })
    })
  }
}

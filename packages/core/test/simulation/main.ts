/** Seeds of the simulated group: see `main` for what it takes. */
import { main } from "../../../../test/harness/seeds.ts"
import { explain, run } from "./group.ts"

await main(import.meta.url, { name: "group", run, explain })

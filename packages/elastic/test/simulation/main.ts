/** Seeds of the simulated group that changes its size: see `main` for what it takes. */
import { main } from "../../../../test/harness/seeds.ts"
import { explain, run } from "./elastic.ts"

await main(import.meta.url, { name: "elastic", run, explain })

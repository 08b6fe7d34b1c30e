import { hold } from "../../../test/harness/decoders.ts"
import * as collectives from "./fuzz/collectives.ts"
import * as frames from "./fuzz/frames.ts"
import * as payloads from "./fuzz/payloads.ts"

hold(import.meta.dirname, frames, payloads, collectives)

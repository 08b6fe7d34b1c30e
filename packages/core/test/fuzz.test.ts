import { hold } from "../../../test/harness/decoders.ts"
import * as frames from "./fuzz/frames.ts"

hold(import.meta.dirname, frames)

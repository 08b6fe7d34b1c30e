import { hold } from "../../../test/harness/decoders.ts"
import * as frames from "./fuzz/frames.ts"
import * as handles from "./fuzz/handles.ts"
import * as links from "./fuzz/links.ts"
import * as rings from "./fuzz/rings.ts"

hold(import.meta.dirname, frames, handles, links, rings)

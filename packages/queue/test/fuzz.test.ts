import { hold } from "../../../test/harness/decoders.ts"
import * as frames from "./fuzz/frames.ts"
import * as handles from "./fuzz/handles.ts"
import * as links from "./fuzz/links.ts"
import * as recordings from "./fuzz/recordings.ts"
import * as rings from "./fuzz/rings.ts"
import * as strangers from "./fuzz/strangers.ts"

hold(import.meta.dirname, frames, handles, links, rings, recordings, strangers)

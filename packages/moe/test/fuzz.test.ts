import { hold } from "../../../test/harness/decoders.ts"
import * as safetensors from "./fuzz/safetensors.ts"

hold(import.meta.dirname, safetensors)

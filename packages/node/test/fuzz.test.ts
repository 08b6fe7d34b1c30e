import { hold } from "../../../test/harness/decoders.ts"
import { answer, question } from "./fuzz/inquiries.ts"
import { record, spawnLine } from "./fuzz/texts.ts"

hold(import.meta.dirname, { answer, question, record, spawnLine })

import { hold } from "../../../test/harness/decoders.ts"
import { answer, question } from "./fuzz/inquiries.ts"
import * as keeping from "./fuzz/keeping.ts"
import { claimLine, lastWords, record, spawnLine } from "./fuzz/texts.ts"

hold(import.meta.dirname, { answer, question, claimLine, lastWords, record, spawnLine }, keeping)

#!/usr/bin/env node
import "./requireNode.mjs"

await import("@phalanx/node/loading")
await import("./src/bin.ts")

import { addEqualityTesters } from "@effect/vitest"

// Lets `assert.deepStrictEqual` compare Effect's data types (Option, Exit, Chunk, …) by value in every test file.
addEqualityTesters()

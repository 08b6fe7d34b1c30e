/** What a frame may hold besides what any array holds: said in the same words by who writes it and who reads it. */

/** How deep arrays and records may lie in each other. */
export const maxDepth = 256

export const tooDeep = `more than ${maxDepth} arrays and records in each other`

/** The one name of a field that is not just a name. */
export const proto = "__proto__"
export const protoKey = `a key ${proto}`

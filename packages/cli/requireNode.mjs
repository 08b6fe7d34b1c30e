// Plain JavaScript, so that a Node too old to read TypeScript can still say what is wrong. It matters because pnpm goes on with the Node
// that it finds first when it could not install the one that this project brings along.
const needed = 26
if (Number.parseInt(process.versions.node, 10) < needed) {
  process.stderr.write(
    `Phalanx needs Node ${needed} or newer, but this is Node ${process.versions.node} (${process.execPath}). ` +
      "Run `npx -y pnpm@12.21.0 install` in the project: it brings the right one along, or says why it cannot.\n"
  )
  process.exit(1)
}

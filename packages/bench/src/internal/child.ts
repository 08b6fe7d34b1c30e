import { type ChildProcess, fork, type Serializable, type SerializationType } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

interface Options {
  readonly args?: ReadonlyArray<string>
  readonly serialization?: SerializationType
  /** Standard input and output are pipes. */
  readonly pipes?: boolean
}

/** Starts a program of `rivals/` and resolves when it says that it is up. */
export const start = async (file: string, options?: Options): Promise<ChildProcess> => {
  const child = spawn(file, options)
  const failed = once(child, "exit").then(() => {
    throw new Error(`${file} ended before it was up`)
  })
  await Promise.race([once(child, "message"), failed])
  return child
}

/** Starts a program of `rivals/`. */
export const spawn = (file: string, options: Options = {}): ChildProcess =>
  fork(fileURLToPath(new URL(`../../rivals/${file}`, import.meta.url)), options.args ?? [], {
    serialization: options.serialization ?? "json",
    execArgv: [],
    stdio: options.pipes === true ? ["pipe", "pipe", "inherit", "ipc"] : ["ignore", "ignore", "inherit", "ipc"]
  })

/** Resolves when the child is gone. */
export const gone = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
}

/** Kills children and waits until they are gone. */
export const end = async (children: ReadonlyArray<ChildProcess>): Promise<void> => {
  await Promise.all(children.map((child) => {
    child.kill("SIGKILL")
    return gone(child)
  }))
}

/** Sends a message and awaits the next one. */
export const ask = async (child: ChildProcess, message: Serializable): Promise<unknown> => {
  const answer = once(child, "message")
  child.send(message)
  return (await answer)[0]
}

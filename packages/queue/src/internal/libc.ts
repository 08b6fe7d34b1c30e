/** The few C calls that Node lacks. Each costs microseconds: they serve set-up and clean-up, never traffic. */
import koffi from "koffi"

const load = () => {
  const library = koffi.load(null)
  return {
    mmap: library.func("void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)") as (
      address: null,
      length: number,
      protection: number,
      flags: number,
      fd: number,
      offset: number
    ) => bigint | null,
    munmap: library.func("int munmap(void *address, size_t length)") as (address: bigint, length: number) => number,
    // Returns the error's number; sets no errno.
    posixFallocate: library.func("int posix_fallocate(int fd, int64_t offset, int64_t length)") as (
      fd: number,
      offset: number,
      length: number
    ) => number,
    mkfifo: library.func("int mkfifo(const char *path, unsigned int mode)") as (path: string, mode: number) => number
  }
}

let loaded: ReturnType<typeof load> | undefined

/** Loaded at first use, so that importing a module that might need it costs nothing and works on every platform. */
export const libc = () => loaded ??= load()

/** The last failed call's error, as Node names it: `ENOSPC`. */
export const errorName = (number: number = koffi.errno()): string =>
  Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`

/** An `ArrayBuffer` over foreign memory. */
export const view = (address: bigint, length: number): ArrayBuffer => koffi.view(address, length)

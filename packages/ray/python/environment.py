"""Makes an environment of Python with Ray, once: argument 2 is its folder, argument 3 the version of Ray. Tells what it does, a line a step.

Whoever comes second waits for the first, and finds it made.
"""
import fcntl
import os
import shutil
import subprocess
import sys

UV = "uv==0.13.9"

folder, version = sys.argv[2:4]
python = os.path.join(folder, "bin", "python")
made = os.path.join(folder, "made")


def run(step, *command):
    print(step, flush=True)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def find_uv():
    """uv takes a quarter of pip's time; it comes as a package where it is not installed."""
    if found := shutil.which("uv"):
        return found
    target = f"{folder}-uv"
    try:
        run("getting uv", sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", target, UV)
    except subprocess.CalledProcessError:
        return None
    return os.path.join(target, "bin", "uv")


def make():
    shutil.rmtree(folder, ignore_errors=True)
    ray = f"ray=={version}"
    if uv := find_uv():
        run("making the environment", uv, "venv", "--quiet", "--python", sys.executable, folder)
        # Compiled now, or every actor's start would pay for it.
        run(f"installing Ray {version}", uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, ray)
    else:
        run("making the environment", sys.executable, "-m", "venv", folder)
        run(f"installing Ray {version}", python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ray)
    open(made, "w").close()


os.makedirs(os.path.dirname(folder), exist_ok=True)
with open(f"{folder}.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not os.path.exists(made):
        make()

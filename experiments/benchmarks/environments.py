"""Environments of peers that this project does not depend on, built when needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def environment(name: str, *, package: str, version: str, needs: str) -> Path:
    """Returns the interpreter of an environment with a peer, built if there is none.

    Args:
        name: Of the peer, as people write it.
        package: That it is installed from.
        version: Of the package.
        needs: A sentence on what building it takes.

    Raises:
        SystemExit: If it cannot be built.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "nas-jax" / f"{name.lower()}-{version}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    make = ["venv", "--clear", "--python", sys.executable, str(folder)]
    pinned = f"{package}=={version}"
    fill = ["pip", "install", "--python", str(python), pinned, "numpy"]
    for words in (make, fill):
        line = [shutil.which("uv") or "uv", "--no-config", *words]
        try:
            subprocess.run(line, check=True, cwd=folder.parent)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"no environment with {name} {version}: {error}\n"
                f"{needs} One made by other means in {folder} is used once the file "
                f"{ready} exists."
            ) from error
    ready.touch()
    return python

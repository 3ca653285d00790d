"""Virtual environments of peers: packages of their own, and those of the environment that runs the benchmark."""

from __future__ import annotations

import hashlib
import subprocess
import sysconfig
import venv
from pathlib import Path


def peer_python(folder: Path, requirements: Path) -> Path:
    """The interpreter of a virtual environment in `folder` with pinned, hashed requirements, made when they are new.

    Its own packages come first, then those of the environment that runs this: so both sides have the same torch or Ray.
    """
    home = folder / f"peer-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]}"
    python = home / "bin" / "python"
    if not (home / "done").exists():
        venv.create(home, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*install, "-r", str(requirements)], check=True)
        paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
        (Path(paths["purelib"]) / "beside.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
        (home / "done").touch()
    return python

"""Starts Data-Juicer as its command `dj-process` does, on a local Ray of as many cores as the command line says.

`run.py` starts it with the peer's interpreter: `peer.py CORES --config FILE`.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Run the configuration. Cores 0: without Ray."""
    cores = int(sys.argv.pop(1))
    if cores:
        ray = importlib.import_module("ray")
        ray.init("local", num_cpus=cores, include_dashboard=False)
    importlib.import_module("data_juicer.tools.process_data").main()


if __name__ == "__main__":
    main()

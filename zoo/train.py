"""`python -m zoo.train [NAME ...] [--seed N]`: trains the miniature models, all of them or those named.

In an order in which each finds what it builds on. Interrupted, it resumes where it stopped; a model whose training is
finished is only written out again.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace

ORDER = ("clip", "blip", "clipseg", "sam", "grounding-dino", "mask2former", "dino", "llm", "sd", "sd-inpaint", "ip2p")


def main() -> None:
    """Trains each model with its script's settings, and a seed where one is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ORDER)}; all by default")
    parser.add_argument("--seed", type=int, help="another seed than the script's: other weights, the same quality")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(ORDER))
    if unknown:
        parser.error(f"no miniature model is called {', '.join(unknown)}; expected {', '.join(ORDER)}")
    for name in ORDER:
        if not arguments.names or name in arguments.names:
            script = importlib.import_module(f"zoo.train_{name.replace('-', '_')}")
            training = script.TRAINING
            script.main(training if arguments.seed is None else replace(training, seed=arguments.seed))


if __name__ == "__main__":
    main()

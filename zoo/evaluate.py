"""`python -m zoo.evaluate [NAME ...]`: measures the miniature models against their bars and prints the table.

The figures go to zoo/results.json, from which the model cards are written. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from zoo.evaluation import generation, perception
from zoo.export import WEIGHTS, folder_of, model_id

RESULTS = Path(__file__).parent / "results.json"
MEASURES = perception.MEASURES | generation.MEASURES
BARS: dict[str, dict[str, float]] = {
    "clip": {"recall_at_1": 0.80, "noun_zero_shot": 0.95, "colour_zero_shot": 0.95},
    "blip": {"right": 0.90},
    "clipseg": {"iou": 0.75, "wrong_noun_empty": 0.75, "wrong_colour_empty": 0.75},
    "grounding-dino": {"ap50": 0.75},
    "sam": {"iou": 0.88},
    "mask2former": {"mean_iou": 0.75},
    "dino": {"knn_noun": 0.90},
    "llm": {"consistent": 0.97},
    "sd": {"one_thing": 0.70},
    "sd-inpaint": {"one_thing": 0.70, "unchanged_outside": 1.0},
    "ip2p-early": {},
    "ip2p": {"read_back": 0.70, "nearer_than_source": 0.50},
}


def main(names: list[str]) -> int:
    """Measures the models called `names` (all when empty). The exit code says whether every bar was reached."""
    unknown = sorted(set(names) - set(MEASURES))
    if unknown:
        print(f"no miniature model is called {', '.join(unknown)} (known: {', '.join(MEASURES)})", file=sys.stderr)
        return 2
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    missed = 0
    print(f"{'model':<20}{'figure':<26}{'measured':>9}{'bar':>7}")
    for name in names or MEASURES:
        if not folder_of(name).is_dir():
            print(f"{model_id(name):<20}not there: `make zoo MODELS={name}` trains it")
            missed += 1
            continue
        started_s = time.monotonic()
        figures = {key: round(value, 4) for key, value in MEASURES[name]().items()}
        for key, value in figures.items():
            bar = BARS[name].get(key)
            is_missed = bar is not None and value < bar
            missed += is_missed
            wanted = "" if bar is None else f"{bar:.2f}"
            print(f"{model_id(name):<19} {key:<26}{value:>9.3f}{wanted:>7}{'  missed' if is_missed else ''}")
        print(f"{'':<20}{time.monotonic() - started_s:.0f} s", flush=True)
        if folder_of(name) == WEIGHTS / name:
            results[name] = figures
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

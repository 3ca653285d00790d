"""`python -m models.fetch ID…`: downloads the models behind these ids into the local cache of the Hugging Face Hub.

`editloom plan` names this command with all that a manifest lacks. Repositories of the Hub come at their pinned
revision and without pickles (`models.schemes.weights.fetch`), tags of open_clip as its safetensors, WordNet by
`models.language.fetch_wordnet`. Packages are pip's.
"""

from __future__ import annotations

import argparse
import os
import sys

from core.errors import ModelError
from models.encoders import open_clip_encoder
from models.language import fetch_wordnet, wordnet
from models.schemes.weights import DOWNLOAD_VARIABLE, fetch, find


def main(argv: list[str] | None = None) -> int:
    """Fetch each id in turn, one line each; 0 when all are there, else 1."""
    parser = argparse.ArgumentParser(prog="python -m models.fetch", description="Download models by their ids.")
    parser.add_argument("ids", nargs="+", metavar="ID", help="as in a manifest: hf:owner/name@<commit> …")
    ids: list[str] = parser.parse_args(argv).ids
    os.environ[DOWNLOAD_VARIABLE] = "1"  # running this command is the permission
    return max([_fetched(model_id) for model_id in dict.fromkeys(ids)])


def _fetched(model_id: str) -> int:
    if model_id == wordnet.MODEL_ID:
        return fetch_wordnet.main([])
    try:
        weights = find(model_id)
        if weights.scheme == "open_clip" and not weights.is_local:
            place = open_clip_encoder.checkpoint(weights)
        else:
            place = fetch(weights).location
    except (ModelError, OSError) as error:  # huggingface_hub's errors of the network are OSError
        sys.stderr.write(f"error: {model_id}: {' '.join(str(error).split())}\n")
        return 1
    sys.stdout.write(f"{model_id}: now at {place}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

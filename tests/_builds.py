"""Runs the `editloom` command as a user would, for the integration tests."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EDITLOOM = str(Path(sys.executable).with_name("editloom"))
MANIFEST = "manifests/tiny/instructions.toml"
LIGHT = """
name = "light"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 512
[[stage]]
use = "filter_caption"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "emit"
"""
"""A chain that opens in no time, for the tests that kill."""


def command(out, *flags, shards="data/tiny", manifest=MANIFEST):
    return [EDITLOOM, "build", str(manifest), "--shards", str(shards), "--out", str(out), "--json", *flags]


def build(out, *flags, shards="data/tiny", manifest=MANIFEST, env=None):
    line = command(out, *flags, shards=shards, manifest=manifest)
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=240, env=env)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def tars(out):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((Path(out) / "dataset").glob("*.tar"))}

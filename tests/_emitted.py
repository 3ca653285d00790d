"""Samples, and what `emit` makes of them: the tars of shards, and the files about all shards."""

import dataclasses
import hashlib
import json
import tarfile

import numpy as np
import pyarrow as pa
from _fakes import sink_shard
from _inputs import encoded, jpeg, make_image, table

from pipeline.context import Context
from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.sink import RunSummary, SinkPart
from samples.columns import CANDIDATE
from samples.stored_arrays import npy
from stages.emit import Emit
from stages.report.contact_sheet import SUFFIX as THUMBNAILS

IMAGES = [jpeg(n) for n in range(3)]
IDS = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb-e1", "cccccccccccccccc"]


def samples(**changes):
    columns = {
        "source_images": [[i] for i in IMAGES],
        "source_format": ["jpg"] * 3,
        "duplicate_cluster_id": [i[:16] for i in IDS],
        "caption": ["a caf\u00e9 \u2028 \0 </script>", None, "a dog"],
        "source_dhash": [2**64 - 1, 0, 7],
        "parent_id": [None, "bbbbbbbbbbbbbbbb", None],
    }
    return table(IDS, **(columns | changes))


def write(tmp_path, *tables, name="shard"):
    path = tmp_path / f"{name}.tar"
    made = list(Emit().open(Context(stage_name="emit"))(sink_shard(path, name), iter(tables)))
    return path, made


def members(path):
    with tarfile.open(path) as tar:
        return [(m, tar.extractfile(m).read()) for m in tar]


LOG = REJECT_SCHEMA.names


class Left:
    """What the steps of shards left, as `collate` gets it. `shards` maps each name to its rows."""

    def __init__(self, tmp_path, shards, report_samples=240, rejects=()):
        self.folder, self.parts, self.read_names, self.opened = tmp_path, {}, [], []
        self.emit, self.ctx = Emit(report_samples=report_samples), Context(stage_name="emit")
        self.rejects = [pa.Table.from_pylist([dict(zip(LOG, r, strict=True)) for r in rejects], schema=REJECT_SCHEMA)]
        for number, (name, rows) in enumerate(shards.items()):
            self.add(name, rows, number, len(shards))

    def add(self, name, rows, number, num_shards):
        """Do the step of one shard in a plan of `num_shards`."""
        shard = sink_shard(self.folder / f"{name}.tar", name, number, num_shards)
        shard = dataclasses.replace(shard, further_file=lambda suffix: self.folder / f"{name}{suffix}")
        tables = [rows.slice(start, 2) for start in range(0, rows.num_rows, 2)]
        made = list(self.emit.open(self.ctx)(shard, iter(tables)))
        if made:
            self.parts[name] = (made, shard.summary)

    def entry(self, name):
        content = (self.folder / f"{name}.tar").read_bytes()
        made, _ = self.parts[name]
        return {
            "rows": sum(t.num_rows for t in made), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip

    def summary(self, columns):
        def parts():
            for name, (made, summary) in self.parts.items():
                yield SinkPart(shard=name, file=f"stages/emit/{name}.parquet", summary=summary, tables=iter(made))

        def read(name):
            self.read_names.append(name)
            return (self.folder / name).read_bytes()

        def opened(name):
            self.opened.append(name)
            return (self.folder / name).open("rb")

        stage = {
            "name": "emit", "fingerprint": "0" * 64, "settings": {}, "models": {}, "licences": {}, "roles": {},
            "rows_in": 3, "rows_kept": 3, "rows_out": 3, "rejects": {}, "notes": dict(self.ctx.notes), "seconds": 0.5,
        }  # fmt: skip
        return RunSummary(
            manifest={
                "name": "mine", "summary": "<b>", "license": "mit", "language": "en", "stages": [],
                "stated_licences": {"input": None, "models": {}},
            },
            columns=tuple(n for n in columns if n != "sample_id"),
            shard_files={name: self.entry(name) for name in self.parts},
            further_files={THUMBNAILS: [n for n in self.parts if (self.folder / f"{n}{THUMBNAILS}").exists()]},
            stages=[stage], parts=parts, rejects=lambda: iter(self.rejects), read=read, open=opened,
        )  # fmt: skip

    def collate(self, columns):
        folder = self.folder / "dataset"
        folder.mkdir()
        self.emit.collate(folder, self.summary(columns))
        return folder


def collated(tmp_path, rows, **options):
    return Left(tmp_path, {"b": rows}, **options).collate(rows.column_names)


def shown(folder):
    """The samples on the report's contact sheet."""
    page = (folder / "report.html").read_text("utf-8")
    return json.loads(page.split('<script type="application/json" id="payload">')[1].split("</script>")[0])["samples"]


CANDIDATES = [
    {
        **dict.fromkeys(CANDIDATE.field(place).name for place in range(CANDIDATE.num_fields)), "number": number,
        "is_kept": number == 2, "seed": 2**32 - number, "num_steps": 3, "strength": 0.5, "pair_l1": 0.25,
    }
    for number in (1, 2)
]  # fmt: skip
"""Two candidates, of which the second was kept; further scores have no value."""


def late_values(num_rows=8):
    """Rows of which only the last has a second source, a target, masks, latents and optional values."""
    png = encoded(make_image(1), "PNG")
    latent = npy(np.arange(16, dtype=np.float16).reshape(4, 2, 2))
    columns = {
        "source_images": [[jpeg(n)] for n in range(num_rows - 1)] + [[jpeg(7), jpeg(8)]],
        "source_format": ["jpg"] * num_rows,
        "duplicate_cluster_id": [f"{n:016x}" for n in range(num_rows)],
    }
    late = {
        "caption": "a dog", "width_px": 3, "retrieval_cos": 0.5, "neighbour_ids": ["a", "b"],
        "neighbour_cos": [1.0, 0.5], "target_image": png, "target_format": "png", "source_mask_png": png,
        "target_mask_png": png, "source_latent": latent, "target_latent": latent, "region_latent": latent,
        "instruction_emb": npy(np.arange(6).reshape(3, 2)), "instruction_pooled_emb": npy(np.arange(2)),
        "text_model": "zoo:sd", "parent_id": "b" * 16,
        "anchor_id": "b" * 16, "anchor_image": jpeg(9), "anchor_format": "jpg", "region_mask_png": png,
        "soft_mask_png": png, "is_whole_image": True, "object_boxes": [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]],
        "candidates": CANDIDATES, "split": "train", "example_ids": ["a", "b"],
        "example_source_images": [png, png], "example_source_formats": ["png", "png"],
        "example_target_images": [png, png], "example_target_formats": ["png", "png"],
    }  # fmt: skip
    columns |= {name: [None] * (num_rows - 1) + [value] for name, value in late.items()}
    return table([f"{n:016x}" for n in range(num_rows)], **columns)

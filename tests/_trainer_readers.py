"""How other trainers read their data, restated from their sources: what each would train on, given an export.

Each reader gives rows as dicts: `id` where names tell it, `target`, `sources` (paths in order), `text`, `mask` or None.
"""

import io
import json
import os
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from PIL import Image

IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def pixels(file):
    """The first pixel of an image in RGB, for comparing."""
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        return image.convert("RGB").getpixel((0, 0))


def by_stem(folder, stem):
    """ai-toolkit's search: the first file with that stem and one of the endings."""
    return next((p for end in IMAGES if (p := Path(folder, stem + end)).exists()), None)


def ai_toolkit(out):
    """ostris/ai-toolkit: toolkit/data_loader.py at 008a1f6 (walk), dataloader_mixins.py (controls, masks, captions)."""
    for entry in yaml.safe_load((out / "datasets.yaml").read_text())["datasets"]:
        controls = entry["control_path"] if isinstance(entry["control_path"], list) else [entry["control_path"]]
        for root, _, files in os.walk(entry["folder_path"]):
            for name in sorted(files):
                path = Path(root, name)
                if not name.lower().endswith(IMAGES) or name.startswith("."):
                    continue
                found = [by_stem(folder, path.stem) for folder in controls]
                text = path.with_suffix(f".{entry['caption_ext']}").read_text(encoding="utf-8")
                mask = by_stem(entry["mask_path"], path.stem) if "mask_path" in entry else None
                yield {"id": path.stem, "target": path, "sources": found, "text": text, "mask": mask}


def simpletuner(out):
    """bghira/SimpleTuner: data_backend/local.py at 06b96af, connect_conditioning_samples of sampler.py at 0c39032."""
    backends = {one["id"]: one for one in json.loads((out / "multidatabackend.json").read_text())}
    for backend in backends.values():
        if backend.get("dataset_type", "image") != "image":
            continue
        root = backend["instance_data_dir"]
        for path in sorted(p for p in Path(root).rglob("*") if p.suffix in IMAGES):
            below = (
                str(path).split(root)[-1].lstrip("/")
            )  # the same path, and the same ending, in each conditioning set
            paired = [(backends[name], Path(backends[name]["instance_data_dir"], below))
                      for name in backend["conditioning_data"]]  # fmt: skip
            assert all(file.exists() for _, file in paired), f"no conditioning sample for {below}"
            assert all(one["source_dataset_id"] == backend["id"] for one, _ in paired)
            masks = [file for one, file in paired if one["conditioning_type"] == "mask"]
            yield {
                "id": path.stem, "target": path, "text": path.with_suffix(".txt").read_text(),
                "sources": [file for one, file in paired if one["conditioning_type"] != "mask"],
                "mask": masks[0] if masks else None,
            }  # fmt: skip


def musubi_tuner(out):
    """kohya-ss/musubi-tuner: src/musubi_tuner/dataset/datasources.py at 00bd97a, ImageDirectoryDatasource."""
    config = tomllib.loads((out / "dataset.toml").read_text())
    for entry in config["datasets"]:
        assert entry["cache_directory"]
        controls = {path.stem: path for path in Path(entry["control_directory"]).iterdir() if path.suffix in IMAGES}
        for path in sorted(Path(entry["image_directory"]).iterdir()):
            caption = path.with_suffix(config["general"]["caption_extension"])
            if path.suffix not in IMAGES or not caption.exists():
                continue
            ends = {stem.removeprefix(f"{path.stem}_"): file for stem, file in controls.items()}
            numbered = {int(end): file for end, file in ends.items() if end.isdigit()}
            found = [controls[path.stem]] if path.stem in controls else []
            found += [numbered[number] for number in sorted(numbered)]
            assert found, f"no control image for {path}"
            yield {"id": path.stem, "target": path, "sources": found, "mask": None,
                   "text": caption.read_text(encoding="utf-8").strip()}  # fmt: skip


def diffusion_pipe(out):
    """tdrussell/diffusion-pipe: utils/dataset.py at 0784ca8, DirectoryDataset; control_paths as its example says."""
    config = tomllib.loads((out / "dataset.toml").read_text())
    assert config["resolutions"]
    for entry in config["directory"]:
        folders = entry.get("control_paths") or [entry["control_path"]]
        stems = [{path.stem: path for path in Path(folder).glob("*")} for folder in folders]
        masks = {path.stem: path for path in Path(entry["mask_path"]).glob("*")} if "mask_path" in entry else {}
        for path in sorted(Path(entry["path"]).glob("*")):
            if path.suffix in (".txt", ".npz", ".json"):
                continue
            yield {
                "id": path.stem, "target": path, "sources": [found[path.stem] for found in stems],
                "text": path.with_suffix(".txt").read_text().strip(), "mask": masks.get(path.stem),
            }  # fmt: skip


def onetrainer(out):
    """Nerogar/OneTrainer: DataLoaderText2ImageMixin.py at 0069c35, the paths that it makes of an image's path."""
    (concept,) = json.loads((out / "concepts.json").read_text())
    assert concept["include_subdirectories"]
    for path in sorted(Path(concept["path"]).rglob("*")):
        if path.suffix not in IMAGES or path.stem.endswith(("-masklabel", "-condlabel")):
            continue
        mask = path.with_name(f"{path.stem}-masklabel.png")
        yield {
            "id": path.stem, "target": path, "sources": [path.with_name(f"{path.stem}-condlabel.png")],
            "text": path.with_suffix(".txt").read_text(), "mask": mask if mask.exists() else None,
        }  # fmt: skip


def diffsynth(out, key="edit_image"):
    """modelscope/DiffSynth-Studio: diffsynth/core/data/unified_dataset.py at 030ebe6; paths below the base path."""
    for line in (out / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line.strip())
        sources = row[key] if isinstance(row[key], list) else [row[key]]
        yield {"target": out / row["image"], "sources": [out / one for one in sources], "text": row["prompt"],
               "mask": None}  # fmt: skip


def omnigen2(out):
    """VectorSpaceLab/OmniGen2: omnigen2/dataset/omnigen2_train_dataset.py at 63a3b7b, process_item."""
    config = yaml.safe_load((out / "mix.yml").read_text())
    for data in config["data"]:
        assert data["ratio"]
        for line in (out / data["path"]).read_text().splitlines():
            row = json.loads(line)
            assert row["task_type"] == "edit"
            yield {"target": out / row["output_image"], "sources": [out / one for one in row["input_images"]],
                   "text": row["instruction"], "mask": None}  # fmt: skip


def firered(out):
    """FireRedTeam/FireRed-Image-Edit: train/src/data_provider.py at f475bfe, TxtImgDataset.prepare."""
    for line in (out / "pairs.jsonl").read_text().splitlines():
        row = json.loads(line)
        texts = [row[key] for key in ("instruction", "inverse_instruction", "instruction_cn", "inverse_instruction_cn")]
        sources = [row["source_image"]] if isinstance(row["source_image"], str) else row["source_image"]
        assert row["edit_image"] == row["target_image"]
        yield {"target": out / row["edit_image"], "sources": [out / one for one in sources], "text": texts[0],
               "reverse": texts[1], "mask": None}  # fmt: skip


def ultraedit_jsonl(out):
    """HaozheZhao/UltraEdit: traning/train_sd3_pix2pix.py at 1af5f04, convert_to_np: "NONE" is white."""
    for line in (out / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        mask = None if row["mask_image"] == "NONE" else out / row["mask_image"]
        yield {"target": out / row["edited_image"], "sources": [out / row["source_image"]], "text": row["edit_prompt"],
               "mask": mask}  # fmt: skip


def instruct_pix2pix(out):
    """timothybrooks/instruct-pix2pix: edit_dataset.py at 2afcb7e, EditDataset.__getitem__."""
    for name, seeds in json.loads((out / "seeds.json").read_text()):
        folder = out / name
        for seed in seeds:
            yield {"id": folder.name, "sources": [folder / f"{seed}_0.jpg"], "target": folder / f"{seed}_1.jpg",
                   "text": json.loads((folder / "prompt.json").read_text())["edit"], "mask": None}  # fmt: skip


def bagel(out):
    """ByteDance-Seed/Bagel: ParquetStandardIterableDataset at 055ef1e (row groups), edit_dataset.py (pairs)."""
    info = json.loads((out / "parquet_info.json").read_text())
    (entry,) = json.loads((out / "dataset_info.py").read_text())["unified_edit"].values()
    assert entry["num_files"] == len(info)
    for path in sorted(Path(entry["data_dir"]).glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(info[str(path)]["num_row_groups"]):
            for row in file.read_row_group(group).to_pylist():
                assert len(row["image_list"]) == len(row["instruction_list"]) + 1
                yield row


def tables(out):
    """Rows of Parquet files with images as structs of bytes and path."""
    for path in sorted((out / "data").glob("*.parquet")):
        yield from pq.read_table(path).to_pylist()

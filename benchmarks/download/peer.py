"""img2dataset on the same table, in a virtual environment of its own. Prints JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    """Download a table into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("out")
    parser.add_argument("--rows-per-shard", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--timeout-s", type=int, default=5)
    given = parser.parse_args()
    sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]
    from img2dataset import download  # type: ignore[import-not-found, unused-ignore]

    download(
        url_list=given.table, output_folder=given.out, input_format="parquet", output_format="webdataset",
        url_col="URL", caption_col="TEXT", processes_count=given.processes, thread_count=given.threads,
        number_sample_per_shard=given.rows_per_shard, image_size=256, resize_mode="keep_ratio",
        resize_only_if_bigger=True, encode_quality=95, encode_format="jpg", extract_exif=False,
        compute_hash="sha256", timeout=given.timeout_s, retries=2, distributor="multiprocessing",
    )  # fmt: skip
    stats = [json.loads(path.read_text()) for path in Path(given.out).glob("*_stats.json")]
    print(json.dumps({
        "work_s": max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats),
        "rows": sum(s["count"] for s in stats), "images": sum(s["successes"] for s in stats),
    }))  # fmt: skip


if __name__ == "__main__":
    main()

"""Peak memory of a worker: a chain over large rows runs in its own process, whose peak is measured."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
CHAIN = """
import hashlib, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import pyarrow as pa
from _fakes import Pack, Pixels, ReadLines, plan_of, run
from samples.columns import SAMPLE_ID
from pipeline.stage import MapStage

ROWS, ROW_BYTES = 60, 8 << 20

class Heavy(ReadLines):
    def open(self, ctx):
        def read(shard):
            for n in range(ROWS):
                own = f"{n:016x}"
                yield pa.table({
                    SAMPLE_ID: [own], "source_raw": pa.array([n.to_bytes(4, "big") * (ROW_BYTES // 4)], pa.binary()),
                    "source_sha256": [own], "source_size_bytes": [ROW_BYTES], "caption": ["c" * (1 << 20)],
                })
        return read

class Weigh(MapStage):
    version = 1
    reads = ("source_images",)
    writes = ("width_px",)
    def open(self, ctx):
        return lambda batch: batch.append_column("width_px", pa.array([1] * batch.num_rows, pa.int32()))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

plan = plan_of(Path(sys.argv[1]), [Heavy(), Pixels(), Weigh(), Pack()])
before = peak()
assert run(plan).ok
print(peak() - before)
"""


def test_heavy_rows_do_not_add_up_in_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CHAIN, str(tmp_path), str(TESTS)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 500, "MB over an empty process: 60 rows of 9 MB come a few at a time"

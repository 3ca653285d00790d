import subprocess
import sys

from _builds import ROOT

SCRIPT = """
import sys
from pipeline.run.lean_arrow import leave_pandas_out
leave_pandas_out()
import pyarrow as pa
pa.array(["a", "b"]), pa.table({"x": [1]})
print("pandas" in sys.modules)
import pandas
print(len(pa.table({"x": [1, 2]}).to_pandas()) if pandas else 0)
"""


def test_arrow_does_without_pandas_and_others_can_import_it():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "2"]

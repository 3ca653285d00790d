"""Fresh processes that compute alike only where nothing hangs on the CPU: BLAS kernel, vectors, threads, set order."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED_FLAGS = {
    "HASWELL": {"avx2", "fma"},
    "SKYLAKEX": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "ZEN": {"avx2", "fma"},
}
"""OpenBLAS kernel -> flags of a CPU that can run it; another CPU would end with SIGILL."""
KERNELS = {
    "HASWELL": {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
    "SKYLAKEX": {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2"},
    "ZEN": {
        "PYTHONHASHSEED": "3",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
        "ATEN_CPU_CAPABILITY": "default",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",  # another last bit of exp, log, pow, sin
    },
}
"""OpenBLAS kernel -> what else differs in a process that runs with it."""


def environment_of(kernel):
    """The variables of a process with that kernel, or with the CPU's own where it cannot run that one."""
    forced = {"OPENBLAS_CORETYPE": kernel} if NEEDED_FLAGS[kernel] <= _cpu_flags() else {}
    usual = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return usual | KERNELS[kernel] | forced


def printed_by_kernel(code):
    """Kernel -> what the Python code prints under it."""
    printed = {}
    for kernel in KERNELS:
        line = [sys.executable, "-c", code]
        done = subprocess.run(line, cwd=ROOT, env=environment_of(kernel), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        printed[kernel] = done.stdout
    return printed


def _cpu_flags():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}

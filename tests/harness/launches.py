"""A launch as a user starts it: processes of torchrun on the CPUs of this machine."""

from __future__ import annotations

import os
import subprocess
import sys


def torchrun(*arguments: str, processes: int = 2, **variables: str) -> subprocess.CompletedProcess[str]:
    """Launch a script, or a module after ``-m``, with its arguments."""
    command = ["torch.distributed.run", "--nnodes=1", f"--nproc-per-node={processes}"]
    endpoint = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    on_cpu = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    whole = [sys.executable, "-m", *command, *endpoint, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(whole, env={**os.environ, **on_cpu, **variables}, stdout=pipe, stderr=pipe, text=True) as run:
        try:
            output, errors = run.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            run.terminate()  # its processes end with it, which they do not if it is killed
            raise AssertionError(f"the launch does not end: {run.communicate()[1]}") from None
    return subprocess.CompletedProcess(whole, run.returncode, output, errors)

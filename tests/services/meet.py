"""A program for a launcher to start: the processes meet, add up their ranks + 1, and each writes what it found.

``python meet.py LAUNCHER [SECONDS]``; they hold the group for that long.
"""

from __future__ import annotations

import json
import os
import sys
import time

import attrs
import torch
from torch import distributed

from framework.launch import launched

with launched(sys.argv[1]) as here:
    total = torch.tensor([here.rank + 1.0])
    distributed.all_reduce(total)
    found = {**attrs.asdict(here), "total": total.item(), "backend": distributed.get_backend(), "pid": os.getpid()}
    # In one write: the processes share the output.
    os.write(1, f"{json.dumps(found)}\n".encode())
    if len(sys.argv) > 2:
        time.sleep(float(sys.argv[2]))

"""pip's own copy of platformdirs, which yapf, and so MMEngine, needs to be imported.

On the path of benchmarks/gpu.py's parts where there is no other: a machine without a package index may lack it.
"""

from pip._vendor.platformdirs import *  # noqa: F403

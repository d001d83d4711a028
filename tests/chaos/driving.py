"""The driver: the harness's own command, which gives silent actors up sooner than by default."""

from __future__ import annotations

import os
import sys

from harness.cli.main import main
from harness.training.cluster import executor

SILENT = "CHAOS_SILENT"
"""The environment variable with the seconds after which an actor that does not answer is given up."""

if __name__ == "__main__":
    executor.SILENT = float(os.environ.get(SILENT, executor.SILENT))
    sys.argv[0] = "harness"
    main()

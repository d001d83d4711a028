"""A C compiler as another machine's would be: `CC="python compiler_for.py x86-64-v3"`.

-march=native becomes -march of the level named; what stands behind it goes to the compiler as well.
"""

from __future__ import annotations

import subprocess
import sys

level, *arguments = sys.argv[1:]
replaced = [f"-march={level}" if argument == "-march=native" else argument for argument in arguments]
sys.exit(subprocess.run(["cc", *replaced], check=False).returncode)

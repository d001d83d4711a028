"""A C compiler as another machine's would be: `CC="python compiler_for.py x86-64-v3"`.

-march=native becomes -march of the level named; what stands behind it goes to the compiler as well. For a
processor of another architecture, as in `compiler_for.py aarch64:cortex-a72`, its cross compiler compiles.
-O1 behind the level holds instead of the -O3 that is asked for: it takes a third of the time.
"""

from __future__ import annotations

import subprocess
import sys

level, *arguments = sys.argv[1:]
architecture, _, processor = level.rpartition(":")
compiler = f"{architecture}-linux-gnu-gcc" if architecture else "cc"
replaced = {"-march=native": f"-march={level}", "-mcpu=native": f"-mcpu={processor}"}
replaced |= {"-O3": "-O1"} if "-O1" in arguments else {}
chosen = [replaced.get(argument, argument) for argument in arguments]
sys.exit(subprocess.run([compiler, *chosen], check=False).returncode)

"""GNU parallel for tests, as far as a recipe uses it: a host is a folder of its own under STAND_IN_HOSTS.

Each call goes to the next of the hosts of --sshlogin; a call that fails is tried on the next one, up to
--retries times. Files of --transferfile go there before, those of --return come back here after.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

WITH_VALUE = ("--jobs", "--sshlogin", "--retries", "--joblog", "--transferfile", "--return")


def main() -> int:
    """Run the command for each argument after `:::`; the exit code counts those that failed."""
    words = sys.argv[1:]
    options: dict[str, str] = {}
    while words[0].startswith("--"):
        assert words[0] in WITH_VALUE, words[0]
        options[words[0]] = words[1]
        words = words[2:]
    place = words.index(":::")
    command, arguments = words[:place], words[place + 1 :]
    hosts = itertools.cycle(options["--sshlogin"].split(","))
    log = Path(options["--joblog"]).open("w")  # noqa: SIM115 (as long as this process)
    failed = 0
    for argument in arguments:
        code = 1
        for _ in range(int(options["--retries"])):
            host = Path(os.environ["STAND_IN_HOSTS"]) / next(hosts)
            code = on_host(host, [word.replace("{}", argument) for word in command], options, argument)
            print(host.name, argument, code, file=log, flush=True)
            if code == 0:
                break
        failed += code != 0
    return failed


def on_host(host: Path, command: list[str], options: dict[str, str], argument: str) -> int:
    """Run a command in a host's folder, by a shell as ssh does."""
    host.mkdir(parents=True, exist_ok=True)
    if (host / "down").exists():
        return 255
    sent = options["--transferfile"]
    (host / sent).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(sent, host / sent)
    code = subprocess.run(["/bin/sh", "-c", " ".join(command)], cwd=host, check=False).returncode
    back = options["--return"].replace("{}", argument)
    if (host / back).exists():
        shutil.copytree(host / back, back, dirs_exist_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Jobs of a batch that kill the process they run in; processes import them by name."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NSIDE = 4


@dataclass(frozen=True)
class Deadly:
    """Write the seed as the output; kill the process at some maps."""

    names: tuple[str, ...]
    marks: Path | None = None
    """Folder with a mark for each map that has killed its process, which kills no other; if there
    is none, they all do."""
    seconds: float = 0.0
    """How long a map takes that has killed its process before."""

    def __call__(self, task):
        if task.name in self.names:
            mark = self.marks and self.marks / f"{task.name}.died"
            if not mark or not mark.exists():
                if mark:
                    mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            mark.with_suffix(".again").touch()
            time.sleep(self.seconds)
        task.output.write_text(str(task.seed))
        yield np.full(12 * NSIDE**2, float(task.index))


class Unloadable:
    """Kill a process as soon as it is told what to do."""

    def __reduce__(self):
        return os._exit, (1,)


class HeldAtB:
    """In the place of the command's job: ``b.fits`` kills its process, and then takes a minute."""

    def __new__(cls, args, settings):
        return Deadly(("b.fits",), Path(os.environ["MARKS"]), 60.0)

"""Fill many maps of one mask: what is to be done, who does it, and a record of what was done.

How a map is filled is somebody else's: a `Job` reads the input of a `Task`, writes its output, and
gives the whole sky. `fill_all` lets a crew do it: this process, several, or a Dask cluster. Each
map comes back as a `Record`, which `Manifest` keeps on disk, so that another run goes on.
"""

from skyfill.batch.manifest import Manifest, digest_of
from skyfill.batch.summary import binned_cl, write_summary
from skyfill.batch.task import (
    Job,
    Output,
    Record,
    Task,
    fill_one,
    inputs_of,
    outputs_of,
    seed_of,
    sha256_of,
    tasks_of,
)
from skyfill.batch.workers import Cluster, Here, Processes, fill_all

__all__ = [
    "Cluster",
    "Here",
    "Job",
    "Manifest",
    "Output",
    "Processes",
    "Record",
    "Task",
    "binned_cl",
    "digest_of",
    "fill_all",
    "fill_one",
    "inputs_of",
    "outputs_of",
    "seed_of",
    "sha256_of",
    "tasks_of",
    "write_summary",
]

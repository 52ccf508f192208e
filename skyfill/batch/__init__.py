"""Fill many maps of one mask, in one or several processes, and keep a record of finished maps.

A `Job` defines how one map is filled: it reads the input of a `Task`, writes its outputs, and
yields the whole skies. `fill_all` runs the job in this process, in several, or on a Dask cluster.
Each map gives a `Record`, which `Manifest` stores on disk, so that a later run can continue.
"""

from skyfill.batch.manifest import Manifest, digest_of
from skyfill.batch.summary import binned_cl, binned_pol, write_summary
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
    "binned_pol",
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

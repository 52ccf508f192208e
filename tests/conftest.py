"""Settings of the whole suite."""

import os
import tempfile

from hypothesis import settings

# The same examples on every run, on every machine: a failure can be seen again by anybody.
settings.register_profile("skyfill", derandomize=True, deadline=None)
settings.load_profile("skyfill")

# Nothing of the user's is read or written.
os.environ["SKYFILL_CACHE"] = tempfile.mkdtemp(prefix="skyfill-tests-")

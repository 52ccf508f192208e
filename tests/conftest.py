"""Settings of the whole suite."""

import os
import tempfile

import pytest
from hypothesis import settings

# The same examples on every run, on every machine: a failure can be seen again by anybody.
settings.register_profile("skyfill", derandomize=True, deadline=None)
settings.load_profile("skyfill")

# Nothing of the user's is read or written.
os.environ["SKYFILL_CACHE"] = tempfile.mkdtemp(prefix="skyfill-tests-")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """Name a torch device whose tensors refuse to become arrays unasked.

    Those of a GPU do so. Here those of the CPU do, too, so that a slip shows without a GPU.
    """
    torch = pytest.importorskip("torch")
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")

    def refused(tensor, *_, **__):
        raise TypeError(f"a tensor of {len(tensor)} elements would become an array")

    monkeypatch.setattr(torch.Tensor, "__array__", refused)
    return request.param

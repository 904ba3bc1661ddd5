"""Opening a GPU through NVIDIA's cuda-python; tests put a simulated one in its place."""

from __future__ import annotations

from alstm_ros.engines import cuda_device
from alstm_ros.engines.cuda_device import CudaDevice


def open_gpu(index: int) -> CudaDevice:
    """Opens a GPU.

    Args:
        index: `engine.device`.

    Raises:
        DependencyError: cuda-python is not installed.
        DeviceLostError: there is no driver or no such GPU.
    """
    return cuda_device.CudaDevice(index)

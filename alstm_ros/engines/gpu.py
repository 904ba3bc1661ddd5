"""Opening a GPU through what the process has: torch where it is loaded already, else NVIDIA's cuda-python."""

from __future__ import annotations

from alstm_ros.engines import cuda_device, torch_device
from alstm_ros.engines.cuda_device import CudaDevice
from alstm_ros.engines.torch_device import TorchDevice


def open_gpu(index: int) -> CudaDevice | TorchDevice:
    """Opens a GPU.

    Args:
        index: `engine.device`.

    Raises:
        DependencyError: neither torch is loaded nor cuda-python installed.
        DeviceLostError: there is no driver or no such GPU.
    """
    torch = torch_device.loaded()
    return cuda_device.CudaDevice(index) if torch is None else TorchDevice(torch, index)

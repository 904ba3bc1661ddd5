"""Why a runtime cannot answer. Whoever holds another runtime catches these and answers with that one."""

from __future__ import annotations

from alstm_ros.errors import AlstmError


class EngineFailure(AlstmError):  # noqa: N818  # the family; its members end in Error
    """A runtime cannot go on; another one may.

    Attributes:
        lasting: whether trying again later cannot help, such as a model that the runtime does not know.
    """

    lasting = False


class BuildFailedError(EngineFailure):
    """An engine could not be built or loaded."""


class UnsupportedModelError(EngineFailure):
    """The runtime cannot run this model at all."""

    lasting = True


class DisagreementError(EngineFailure):
    """Two runtimes answer the same inputs differently, beyond the stated tolerance."""

    lasting = True


class DeviceLostError(EngineFailure):
    """The GPU is gone, was reset, or reports an error after which its context is unusable."""


class DeviceMemoryError(EngineFailure):
    """The GPU has not enough free memory."""


class CancelledError(EngineFailure):
    """The build was stopped because its engine is no longer wanted."""

    lasting = True

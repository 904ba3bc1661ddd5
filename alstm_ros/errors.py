"""The package's error tree. Every message is a sentence: what, which value, what is allowed."""

from __future__ import annotations


class AlstmError(Exception):
    """Anything this package refuses; its text is meant for the user."""


class ConfigError(AlstmError):
    """A parameter is unknown, of the wrong type or out of its range."""


class ImageError(AlstmError):
    """An image cannot be used: unknown encoding, damaged data, sizes that do not fit.

    Attributes:
        cause: a few words that stay the same for every such image, to count and name each cause once.
    """

    def __init__(self, message: str, cause: str = "damaged image") -> None:
        super().__init__(message)
        self.cause = cause


class ModelError(AlstmError):
    """A model file cannot be used: missing, damaged, or not of the layout that is expected."""


class DependencyError(AlstmError):
    """A Python package that the chosen feature needs is not installed."""


class DataError(AlstmError):
    """An input file (MOTChallenge text, bag, video) cannot be read as what it should be."""

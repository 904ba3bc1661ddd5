"""Built engines on disk: keyed by all that they depend on, written atomically, verified on load, private to the user.

A TensorRT plan holds code for the GPU and the library runs it without further checks, so the folder belongs to the
user alone (0700), a file that others could have written is not read, and each file carries a checksum.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from alstm_ros.errors import ConfigError
from alstm_ros.parameter_text import user_path

LOG = logging.getLogger(__name__)

_MAGIC = b"alstm engine 1\n"
_LARGEST_HEADER = 65536
_KEEP = 32
"""Entries kept; beyond, the ones longest unused go. An upgrade leaves plans that no key ever asks for again."""
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class PlanKey:
    """All that a built engine depends on.

    Attributes:
        model: SHA-256 of the model file.
        recipe: version of how this package turns a model file into a network; see `tensorrt_graph.RECIPE`.
        runtime: `tensorrt` or `tensorrt_rtx`.
        version: the version of that library.
        gpu: name of the GPU; empty where the plan serves every GPU of its compute capability.
        capability: compute capability, such as `8.7`.
        precision: `fp32` or `fp16`.
        shapes: every input's smallest, usual and largest shape; see `profiles.ShapeProfile`.
        driver: version of the GPU's driver, for what is compiled by the driver; else empty.
    """

    model: str
    recipe: str
    runtime: str
    version: str
    gpu: str
    capability: str
    precision: str
    shapes: str
    driver: str = ""

    @property
    def digest(self) -> str:
        """The key as a file name: 32 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class PlanCache:
    """One folder of built engines; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        """Takes a folder that `open_cache` has checked."""
        self.folder = folder
        self._holder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def temporary(self) -> bool:
        """Whether what is stored here goes away with this process."""
        return self._holder is not None

    def path(self, key: PlanKey) -> Path:
        """Where the entry of this key is or would be."""
        return self.folder / f"{key.digest}.engine"

    def load(self, key: PlanKey) -> bytes | None:
        """The stored engine, or None where there is none that can be trusted; a damaged one is removed and named."""
        path = self.path(key)
        try:
            return _read(path, asdict(key))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            LOG.warning("The stored engine %s is not used: %s It is built again.", path, error)
            with suppress(OSError):
                path.unlink()
            return None

    def store(self, key: PlanKey, plan: bytes | memoryview) -> bool:
        """Writes an engine so that readers see all of it or nothing, also across a power cut.

        Returns:
            Whether it was stored; a full or vanished disk is reported and costs only the next start its time.
        """
        path = self.path(key)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            _write(unfinished, asdict(key), plan)
            os.replace(unfinished, path)  # noqa: PTH105  # one call with `fsync` below, both of the same layer
            _sync_folder(self.folder)
        except OSError as error:
            LOG.warning("The built engine cannot be stored as %s (%s); the next start builds it again.", path, error)
            with suppress(OSError):
                unfinished.unlink()
            return False
        self._forget_oldest()
        return True

    def prove(self, key: PlanKey, here: PlanKey) -> None:
        """Keeps that the stored engine of a key has been loaded and run on this machine, without harm to its process.

        Args:
            key: of the engine.
            here: the key with this machine's GPU and driver.
        """
        self._note(here, "proven", self._checksum(key))

    def proven(self, key: PlanKey, here: PlanKey) -> bool:
        """Whether the engine that is stored now has been loaded and run on this machine."""
        noted = self._noted(here, "proven")
        return noted is not None and noted == self._checksum(key) != ""

    def refuse(self, here: PlanKey, reason: str) -> None:
        """Keeps that a process died of this engine on this machine, and how."""
        self._note(here, "refused", reason)

    def refusal(self, here: PlanKey) -> str | None:
        """How a process died of this engine on this machine; None where none did."""
        return self._noted(here, "refused")

    def forgive(self, here: PlanKey) -> None:
        """Forgets what `refuse` keeps."""
        with suppress(OSError):
            self.path(here).with_suffix(".refused").unlink()

    def _note(self, here: PlanKey, kind: str, text: str) -> None:
        path = self.path(here).with_suffix(f".{kind}")
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            _write(unfinished, asdict(here), text.encode())
            os.replace(unfinished, path)  # noqa: PTH105  # as in `store`
        except OSError as error:
            LOG.warning("What became of the engine cannot be kept as %s (%s).", path, error)

    def _noted(self, here: PlanKey, kind: str) -> str | None:
        path = self.path(here).with_suffix(f".{kind}")
        try:
            return _read(path, asdict(here)).decode()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            LOG.warning("%s is not used: %s", path, error)
            return None

    def _checksum(self, key: PlanKey) -> str:
        """SHA-256 of the stored engine's file, empty where there is none."""
        try:
            return hashlib.sha256(self.path(key).read_bytes()).hexdigest()
        except OSError:
            return ""

    @contextmanager
    def lock(self, key: PlanKey, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Holds back every other process and thread that wants to build the same engine.

        The lock is the kernel's, so it goes with a process that dies. A file system that knows no locks is used
        without.

        Args:
            key: what is built.
            cancelled: asked while waiting; True ends the wait, and the block runs without the lock.
        """
        lock = FileLock(self.path(key).with_suffix(".lock"), mode=0o600)
        try:
            with suppress(OSError, NotImplementedError):
                while not lock.is_locked and not cancelled():
                    with suppress(Timeout):
                        lock.acquire(timeout=_POLL_SECONDS)
                for leftover in self.folder.glob(f"{key.digest}.*.tmp"):  # of a writer that died; we hold the lock
                    leftover.unlink()
            yield
        finally:
            lock.release()

    def _forget_oldest(self) -> None:
        with suppress(OSError):
            entries = sorted(self.folder.glob("*.engine"), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in entries[_KEEP:]:
                path.unlink()
                path.with_suffix(".lock").unlink(missing_ok=True)
            for kind in ("proven", "refused"):  # small, but no key may ever ask for them again
                notes = sorted(self.folder.glob(f"*.{kind}"), key=lambda path: path.stat().st_mtime, reverse=True)
                for path in notes[_KEEP:]:
                    path.unlink()


def default_folder() -> Path:
    """`alstm_ros` in the user's cache folder, as the XDG Base Directory Specification has it."""
    return platformdirs.user_cache_path("alstm_ros")


def open_cache(folder: str = "") -> PlanCache:
    """Opens, and makes where needed, the folder of built engines.

    Args:
        folder: `engine.cache_dir`; empty is `default_folder`. Engines lie in its `engines` folder, which is made 0700.

    Returns:
        The cache; one in a temporary folder, after a warning, where the wanted one cannot be used.
    """
    try:
        wanted = (user_path(folder) if folder else default_folder()) / "engines"
        _make_private(wanted)
        return PlanCache(wanted)
    except (OSError, ValueError, ConfigError) as error:  # ValueError: a NUL in the path; ConfigError: no home folder
        LOG.warning(
            "Engines cannot be kept in %s (%s); they go to a temporary folder, so the next start builds them again. "
            "Set engine.cache_dir to a folder that this user can write.",
            folder or "the user's cache folder",
            error,
        )
    holder = tempfile.TemporaryDirectory(prefix="alstm_ros-", ignore_cleanup_errors=True)  # 0700 by mkdtemp
    cache = PlanCache(Path(holder.name))
    cache._holder = holder  # noqa: SLF001  # kept alive with the cache, removed with it
    return cache


def _make_private(folder: Path) -> None:
    """Makes the folder, or checks that an existing one is ours alone and can be written.

    Raises:
        OSError: it cannot be made, is not ours, or cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(folder))
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it belongs to user {found.st_uid}, not to this one", str(folder))
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    with tempfile.TemporaryFile(dir=folder):  # a read-only mount shows itself only here
        pass


def _read(path: Path, key: Mapping[str, str]) -> bytes:
    """The payload of an entry.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        ValueError: it is damaged, of another key, or could have been written by somebody else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise ValueError("another user owns it or may write it.")
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as an engine of this package does.")
        size = int.from_bytes(file.read(4), "little")
        try:
            header = json.loads(file.read(min(size, _LARGEST_HEADER)))
        except ValueError as error:
            raise ValueError("its header is damaged.") from error
        if not isinstance(header, dict) or header.get("key") != dict(key):
            raise ValueError("it was built for something else than its name says.")
        plan = file.read()
        if len(plan) != header.get("bytes"):
            raise ValueError(f"it holds {len(plan)} of {header.get('bytes')} bytes.")
        if hashlib.sha256(plan).hexdigest() != header.get("sha256"):
            raise ValueError("its checksum does not match.")
    with suppress(OSError):
        os.utime(path)  # when it was last used, for _forget_oldest
    return plan


def _write(path: Path, key: Mapping[str, str], plan: bytes | memoryview) -> None:
    header = json.dumps({"key": dict(key), "bytes": len(plan), "sha256": hashlib.sha256(plan).hexdigest()}).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_MAGIC + len(header).to_bytes(4, "little") + header)
        file.write(plan)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last; file systems that cannot sync a folder are let be."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Built engines on disk: damage, strangers, full and forbidden folders, several processes at once."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alstm_ros.engines import cache as module
from alstm_ros.engines.cache import PlanCache, PlanKey, default_folder, open_cache

KEY = PlanKey(
    model="0" * 64,
    recipe="1",
    runtime="tensorrt",
    version="10.3.0",
    gpu="Orin",
    capability="8.7",
    precision="fp16",
    shapes="images:1x3x480x640",
)
PLAN = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return open_cache(str(tmp_path / "cache"))


def test_a_stored_engine_comes_back(cache: PlanCache) -> None:
    assert cache.load(KEY) is None
    assert cache.store(KEY, PLAN)
    assert cache.load(KEY) == PLAN
    assert cache.store(KEY, memoryview(b"newer"))
    assert cache.load(KEY) == b"newer"


@pytest.mark.parametrize("part", [field.name for field in fields(PlanKey)])
def test_every_part_of_the_key_matters(cache: PlanCache, part: str) -> None:
    cache.store(KEY, PLAN)
    other = replace(KEY, **{part: "another"})
    assert cache.load(other) is None
    assert cache.load(KEY) == PLAN


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[:0], "does not begin"),
        (lambda data: data[:7], "does not begin"),
        (lambda data: b"x" + data[1:], "does not begin"),
        (lambda data: data[:30], "header is damaged"),
        (lambda data: data[:20] + b"\xff\xff" + data[22:], "header is damaged"),
        (lambda data: data[:-1], "holds 10239 of 10240 bytes"),
        (lambda data: data + b"\0", "holds 10241 of 10240 bytes"),
        (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "checksum"),
        (lambda data: data.replace(b"10.3.0", b"10.4.0"), "something else"),
    ],
)
def test_damage_is_noticed_named_and_removed(
    cache: PlanCache, damage: Callable[[bytes], bytes], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(KEY, PLAN)
    path = cache.path(KEY)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load(KEY) is None
    assert sentence in caplog.text
    assert not path.exists()
    assert cache.store(KEY, PLAN)
    assert cache.load(KEY) == PLAN


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000_000), flip=st.integers(1, 255))
def test_no_single_changed_byte_is_believed(cache: PlanCache, place: int, flip: int) -> None:
    cache.store(KEY, PLAN)
    path = cache.path(KEY)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    assert cache.load(KEY) in {None, PLAN}  # PLAN: a byte of the header that says the same in another way


def test_folder_and_files_are_the_users_alone(cache: PlanCache) -> None:
    previous = os.umask(0)
    try:
        cache.store(KEY, PLAN)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.path(KEY).stat().st_mode) == 0o600


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    folder.chmod(0o777)
    assert open_cache(str(tmp_path)).folder == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_read(
    cache: PlanCache, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(KEY, PLAN)
    cache.path(KEY).chmod(mode)
    assert cache.load(KEY) is None
    assert "may write it" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_or_folder_of_another_user_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = open_cache(str(tmp_path))
    cache.store(KEY, PLAN)
    os.chown(cache.path(KEY), 12345, -1)
    assert cache.load(KEY) is None
    assert "another user owns it" in caplog.text
    os.chown(cache.folder, 12345, -1)
    assert open_cache(str(tmp_path)).temporary
    assert "belongs to user 12345" in caplog.text


def test_a_link_in_place_of_an_entry_is_not_followed(cache: PlanCache, tmp_path: Path) -> None:
    cache.store(KEY, PLAN)
    elsewhere = tmp_path / "elsewhere"
    cache.path(KEY).rename(elsewhere)
    cache.path(KEY).symlink_to(elsewhere)
    assert cache.load(KEY) is None
    assert elsewhere.exists()


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "engines").symlink_to(tmp_path / "elsewhere")
    assert open_cache(str(tmp_path)).temporary


@pytest.mark.parametrize("below", ["file", "/proc", "\0"])
def test_where_nothing_can_be_written_a_temporary_folder_is_used(
    tmp_path: Path, below: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")  # refused to root as well, which permissions are not
    cache = open_cache(below if below in {"/proc", "\0"} else str(tmp_path / below))
    assert cache.temporary
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "temporary folder" in caplog.text
    assert "engine.cache_dir" in caplog.text
    assert cache.store(KEY, PLAN)
    assert cache.load(KEY) == PLAN
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_a_temporary_folder_goes_with_its_process() -> None:
    code = "from alstm_ros.engines.cache import open_cache; c = open_cache('/proc'); print(c.folder)"
    folder = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert folder.startswith("/")
    assert not Path(folder).exists()


def test_a_disk_that_fills_up_costs_only_the_next_start(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    cache.store(KEY, b"older")
    monkeypatch.setattr(os, "fsync", full)
    assert not cache.store(KEY, PLAN)
    assert "No space left" in caplog.text
    assert cache.load(KEY) == b"older"
    assert list(cache.folder.glob("*.tmp")) == []


def test_a_writer_that_dies_leaves_the_entry_whole(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    code = f"""
        import os
        from alstm_ros.engines import cache
        from test_engines_cache import KEY
        cache.os.replace = lambda *_: os._exit(9)  # killed after writing, before the rename
        cache.open_cache({str(cache.folder.parent)!r}).store(KEY, b"half")
    """
    done = run_python(code)
    assert done.returncode == 9
    assert cache.load(KEY) == PLAN
    assert len(list(cache.folder.glob("*.tmp"))) == 1
    with cache.lock(KEY):
        assert list(cache.folder.glob("*.tmp")) == []


def test_two_processes_build_once(cache: PlanCache) -> None:
    code = f"""
        import time
        from pathlib import Path
        from alstm_ros.engines.cache import open_cache
        from test_engines_cache import KEY, PLAN
        cache = open_cache({str(cache.folder.parent)!r})
        with cache.lock(KEY):
            if cache.load(KEY) is None:
                time.sleep(0.5)  # a build
                cache.store(KEY, PLAN)
                print("built")
            else:
                print("loaded")
    """
    started = [start_python(code) for _ in range(3)]
    answers = sorted(process.communicate(timeout=300)[0].strip() for process in started)
    assert answers == ["built", "loaded", "loaded"]
    assert cache.load(KEY) == PLAN


def test_two_threads_take_turns_and_a_cancelled_wait_ends(cache: PlanCache) -> None:
    inside, cancel = threading.Event(), threading.Event()
    order: list[str] = []

    def second() -> None:
        with cache.lock(KEY, cancelled=cancel.is_set):
            order.append("second")

    with cache.lock(KEY):
        thread = threading.Thread(target=second)
        thread.start()
        inside.wait(0.3)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    with cache.lock(KEY):
        thread = threading.Thread(target=second)
        thread.start()
        cancel.set()
        thread.join(60)
        assert not thread.is_alive()


def test_a_lock_goes_with_a_process_that_is_killed(cache: PlanCache) -> None:
    code = f"""
        import sys, time
        from alstm_ros.engines.cache import open_cache
        from test_engines_cache import KEY
        with open_cache({str(cache.folder.parent)!r}).lock(KEY):
            print("locked", flush=True)
            time.sleep(60)
    """
    process = start_python(code)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "locked"
    process.kill()
    process.wait(60)
    with cache.lock(KEY):
        assert cache.store(KEY, PLAN)


def test_only_the_last_used_are_kept(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEEP", 3)
    keys = [replace(KEY, version=str(number)) for number in range(5)]
    for age, key in enumerate(keys[:3]):
        cache.store(key, PLAN)
        os.utime(cache.path(key), (1000 + age, 1000 + age))
    assert cache.load(keys[0]) == PLAN  # used now, so it is the youngest
    cache.store(keys[3], PLAN)
    assert [cache.load(key) is not None for key in keys] == [True, False, True, True, False]


def test_the_default_folder_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "alstm_ros"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "alstm_ros"
    cache = open_cache()
    assert cache.folder == tmp_path / ".cache" / "alstm_ros" / "engines"
    assert not cache.temporary


def start_python(code: str) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=environment
    )


def run_python(code: str) -> subprocess.Popen[str]:
    process = start_python(code)
    process.communicate(timeout=300)
    return process

"""What stands around the package and no test runs: containers, workflows, forms. Each names what exists."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_a_container_copies_is_there(path: Path) -> None:
    """Its linter is hadolint, see CONTRIBUTING.md; building it needs a registry of images."""
    text = path.read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?:--\S+ )?(\S+) \S+$", text, re.MULTILINE)
    assert copied == [".", "docker/entrypoint"]
    assert os.access(ROOT / "docker" / "entrypoint", os.X_OK)
    assert f"docker build -f docker/{path.name}" in text


def test_the_workflow_runs_what_a_change_must_pass() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert {"run": "bash .ci/run"} in jobs["tests"]["steps"]
    assert (ROOT / ".ci" / "run").is_file()
    assert all("timeout-minutes" in job for job in jobs.values())
    linted = " ".join(step.get("run", "") for step in jobs["files"]["steps"])
    for pattern in re.findall(r"\S+\*\S+", linted):
        assert list(ROOT.glob(pattern.strip("'"))), pattern


def test_forms_ask_for_what_helps() -> None:
    for name in ("bug", "wish"):
        form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
        assert {"name", "description", "body"} <= set(form)
        assert all(field["attributes"]["label"] for field in form["body"])


def test_the_devcontainer_and_the_hooks_call_what_exists() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    targets = container["postCreateCommand"].removeprefix("make ").split()
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", made, re.MULTILINE) for target in targets)
    hooks = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert all((ROOT / hook["entry"].split()[0]).is_file() for hook in hooks)

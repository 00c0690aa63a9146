"""Rules of the house that no linter knows."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_source_root_is_no_package() -> None:
    """With an `__init__.py` in it, `import operator` would find it instead of the standard library's module."""
    assert not (ROOT / "operator" / "__init__.py").exists(), "it shadows the standard library: remove it"


def test_the_standard_library_is_found_from_the_root() -> None:
    command = [sys.executable, "-c", "import operator; print(operator.attrgetter.__module__)"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "operator", ended.stderr


def test_no_folder_of_the_house_lacks_its_purpose() -> None:
    for folder in (ROOT / "operator" / "flywheel").iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            first = (folder / "__init__.py").read_text().strip()
            assert first.startswith('"""'), f"{folder.name}/__init__.py does not say what the folder is for"


def test_every_dependency_is_in_the_lock_that_a_new_machine_installs() -> None:
    """What is only in the environment of whoever added it is missing on the next machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *project["dependency-groups"]["dev"],
    ]
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    missing = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in wanted} - set(locked)
    assert not missing, f"lock again, as CONTRIBUTING.md says: requirements/dev.txt lacks {', '.join(sorted(missing))}"


def test_scikit_learn_is_loaded_by_a_rule_with_a_score_alone() -> None:
    """Neither in the operator, which never opens a model, nor in a worker whose rules ask none."""
    for module in ("flywheel.runtime.operator", "flywheel.fraud.worker, flywheel.fraud.embedded"):
        command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
        environment = {"PYTHONPATH": str(ROOT / "operator"), "PATH": ""}
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
        heavy = {"sklearn", "skops", "joblib"} | ({"numpy", "scipy"} if "operator" in module else set())
        assert not heavy & set(ended.stdout.split()), module

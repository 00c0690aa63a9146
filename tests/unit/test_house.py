"""Rules of the house that no linter knows."""

import subprocess
import sys
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

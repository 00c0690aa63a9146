"""Real repositories, made with git, and what is needed to make those that git itself refuses to make."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@shop.example",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@shop.example",
}


class Repository:
    """A bare repository below a directory that a server serves, and a work tree that is pushed to it."""

    def __init__(self, root: Path, name: str = "landing.git") -> None:
        self.name = name
        self.bare = root / name
        self.work = root.parent / f"work-{name}"
        self.bare.mkdir(parents=True)
        self.work.mkdir()
        self._run(self.bare, "init", "--quiet", "--bare", "--initial-branch=main")
        self._run(self.work, "init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", str(self.bare))

    def _run(self, directory: Path, *arguments: str, given: bytes = b"") -> str:
        ended = subprocess.run(
            ["git", *arguments], cwd=directory, env=GIT_ENVIRONMENT, input=given, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr.decode()
        return ended.stdout.decode().strip()

    def git(self, *arguments: str, given: bytes = b"") -> str:
        """Run git in the work tree."""
        return self._run(self.work, *arguments, given=given)

    def git_bare(self, *arguments: str) -> str:
        """Run git in the bare repository."""
        return self._run(self.bare, *arguments)

    def write(self, files: Mapping[str, bytes | str | None]) -> None:
        """Write files into the work tree; None removes one."""
        for path, content in files.items():
            target = self.work / path
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link in the work tree."""
        (self.work / path).parent.mkdir(parents=True, exist_ok=True)
        (self.work / path).symlink_to(target)

    def commit(self, files: Mapping[str, bytes | str | None] | None = None, *, ref: str = "main") -> str:
        """Commit all there is, push it to a branch, and return the commit."""
        self.write(files or {})
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.push(ref)

    def push(self, ref: str = "main") -> str:
        """Push what is checked out to a branch, by force, and return the commit."""
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{ref}")
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, entries: list[tuple[str, bytes, bytes | str]], *, ref: str = "main") -> str:
        """Commit a tree written byte by byte: (mode, name, content or name of an object); git checks nothing of it."""
        raw = b""
        for mode, name, content in entries:
            sha = content if isinstance(content, str) else self.store("blob", content)
            raw += mode.encode() + b" " + name + b"\0" + bytes.fromhex(sha)
        return self.commit_of(self.store("tree", raw), ref=ref)

    def store(self, kind: str, content: bytes) -> str:
        """Store an object and return its name."""
        return self.git("hash-object", "-w", "--literally", "-t", kind, "--stdin", given=content)

    def commit_of(self, tree: str, *, ref: str = "main") -> str:
        """Commit a tree that is stored."""
        text = f"tree {tree}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nchange\n"
        commit = self.store("commit", text.encode())
        self.take_over(commit, ref)
        return commit

    def take_over(self, commit: str, ref: str) -> None:
        """Let the bare repository have all objects as they are, without git looking at them."""
        shutil.copytree(self.work / ".git/objects", self.bare / "objects", dirs_exist_ok=True)
        (self.bare / "refs/heads").mkdir(parents=True, exist_ok=True)
        (self.bare / "refs/heads" / ref).write_text(commit + "\n")

    def configure(self, key: str, value: str) -> None:
        """Configure the bare repository."""
        self.git_bare("config", key, value)

    def collect_garbage(self) -> None:
        """Drop what no ref leads to."""
        self.git_bare("reflog", "expire", "--expire=now", "--all")
        self.git_bare("-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now")

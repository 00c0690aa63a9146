"""Running Argo CD's customizations as Argo CD does: Lua 5.1 with the base and table libraries only.

Argo CD opens the other libraries for its built-in scripts, but for those in argocd-cm only when told to.
"""

from typing import Any

import lupa.lua51

_CLOSED = ("string", "io", "math", "debug", "coroutine", "os", "package", "require", "python")


def run(script: str, manifest: dict[str, Any]) -> Any:
    """Run `script` with the global `obj` and return what it returns, as Argo CD reads it: an empty table is a list."""
    runtime = lupa.lua51.LuaRuntime(unpack_returned_tuples=True)
    runtime.execute('getmetatable("").__index = nil')
    for name in _CLOSED:
        runtime.globals()[name] = None
    runtime.globals().obj = runtime.table_from(manifest, recursive=True)
    return _plain(runtime.execute(script))


def run_action(script: str, manifest: dict[str, Any]) -> Any:
    """Run an action and return the changed object, in which what was an empty map is one again."""
    return _cleaned(run(script, manifest), manifest)


def _plain(value: Any) -> Any:
    if lupa.lua51.lua_type(value) != "table":
        return value
    keys = list(value)
    if all(isinstance(key, int) for key in keys):
        return [_plain(value[key]) for key in sorted(keys)]
    return {key: _plain(value[key]) for key in keys}


def _cleaned(new: Any, old: Any) -> Any:
    if isinstance(old, dict) and new == []:
        return old
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: _cleaned(value, old.get(key)) for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list):
        return [_cleaned(value, old[i] if i < len(old) else None) for i, value in enumerate(new)]
    return new

"""Compiled functions, and the keyed hash of texts that windows are found by. Pure. Needs the extra `fraud`."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

SOURCES = ("compiled", "entries", "kernels", "layout", "many", "rule", "sharding", "single")
"""Modules that compiled functions are made of."""

_0 = np.uint64(0)
_13, _16, _17, _21 = np.uint64(13), np.uint64(16), np.uint64(17), np.uint64(21)
_32, _56, _64, _255 = np.uint64(32), np.uint64(56), np.uint64(64), np.uint64(255)
_1, _3, _NO_BITS = np.uint64(1), np.uint64(3), np.uint64(0x78)
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_C0, _C1 = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
_C2, _C3 = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)


def _keep_results() -> None:
    """Have what is compiled kept in a folder of these very sources.

    Numba looks whether the file of a function has changed, and not at those that it has drawn functions from.
    """
    folder = Path(__file__).parent
    sources = b"".join((folder / f"{name}.py").read_bytes() for name in SOURCES)
    root = os.environ.get("NUMBA_CACHE_DIR") or str(folder / "__pycache__")
    numba.config.CACHE_DIR = f"{root}/kernels-{hashlib.blake2b(sources, digest_size=8).hexdigest()}"


def _jit(function: Function, **options: Any) -> Function:
    try:
        return cast("Function", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # There is no place to keep it: it is compiled by each process.
        return cast("Function", numba.njit(**options)(function))


def compiled(function: Function) -> Function:
    """Compile a function at its first call, and keep the result for later processes where there is a place for it."""
    return _jit(function, nogil=True, boundscheck=False)


def inlined(function: Function) -> Function:
    """Compile a function into those that call it. It must not make arrays.

    So nobody has to count who holds them, which would take a good part of the time.
    """
    return _jit(function, nogil=True, boundscheck=False, forceinline=True, _nrt=False)


def viewed(function: Function) -> Function:
    """Compile a function that gives an array into those that call it."""
    return _jit(function, nogil=True, boundscheck=False, forceinline=True)


_keep_results()


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Have the word `index` of an array fetched into the cache, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        numbers = [ir.IntType(32)] * 3
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, *numbers])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, *(ir.Constant(ir.IntType(32), each) for each in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), generate


@inlined
def _turned(value: Any, bits: Any) -> Any:
    return (value << bits) | (value >> (_64 - bits))


@inlined
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v1 = _turned(v1, _13) ^ v0
    v0 = _turned(v0, _32)
    v2 += v3
    v3 = _turned(v3, _16) ^ v2
    v0 += v3
    v3 = _turned(v3, _21) ^ v0
    v2 += v1
    v1 = _turned(v1, _17) ^ v2
    v2 = _turned(v2, _32)
    return v0, v1, v2, v3


@intrinsic  # type: ignore[untyped-decorator]
def _word_at(_context: Any, array: Any, index: Any) -> Any:
    """Give the eight bytes from `index` on, the first one lowest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(array, index), generate


@intrinsic  # type: ignore[untyped-decorator]
def _zeros_below(_context: Any, word: Any) -> Any:
    """Count the zero bits below the lowest one of a word that has one."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@inlined
def _last_word(buffer: Bytes, at: int) -> Any:
    """Give the bytes from `at` to the end, which are fewer than eight, and zeros."""
    word = np.uint64(0)
    for i in range(len(buffer) - at):
        word |= np.uint64(buffer[at + i]) << np.uint64(8 * i)
    return word


@inlined
def _finished(v0: Any, v1: Any, v2: Any, v3: Any, word: Any) -> int:
    """Take the last word in, and give the hash, which is never 0."""
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= _255
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    found = np.int64(v0 ^ v1 ^ v2 ^ v3)
    return found if found != 0 else 1  # type: ignore[return-value]


@inlined
def mixed(first: int, second: int, k0: Any, k1: Any) -> int:
    """Give the hash of two hashes in their order; 0, which is missing, stays 0."""
    if first == 0 or second == 0:
        return 0
    v0, v1, v2, v3 = k0 ^ _C0, k1 ^ _C1, k0 ^ _C2, k1 ^ _C3
    for word in (np.uint64(first), np.uint64(second)):
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    return _finished(v0, v1, v2, v3, _16 << _56)


@compiled
def hash_texts(buffer: Bytes, key: NDArray[np.uint64], out: Numbers, ends: Numbers) -> None:
    """Hash texts with a NUL between each two, in UTF-8, into `out`, and write where each ends: an empty one is 0.

    By SipHash-1-3: nobody who does not know the key can make two texts meet. There are as many texts as there is room
    for in `out`.
    """
    k0, k1 = key[0], key[1]
    start = 0
    for found in range(len(out)):
        v0, v1, v2, v3 = k0 ^ _C0, k1 ^ _C1, k0 ^ _C2, k1 ^ _C3
        at = start
        while True:
            word = _word_at(buffer, at) if at + 8 <= len(buffer) else _last_word(buffer, at)
            # The lowest bit of these is in the first byte that is 0.
            ended = (word - _ONES) & ~word & _HIGHS
            if ended != _0:
                break
            v3 ^= word
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
            v0 ^= word
            at += 8
        bits = _zeros_below(ended) & _NO_BITS
        ends[found] = end = at + np.int64(bits >> _3)
        word = (word & ((_1 << bits) - _1)) | (np.uint64(end - start) << _56)
        out[found] = 0 if end == start else _finished(v0, v1, v2, v3, word)
        start = end + 1 if end < len(buffer) else end  # type: ignore[assignment]


@compiled
def mix_all(first: Numbers, second: Numbers, key: NDArray[np.uint64]) -> Numbers:
    """Mix the hashes of two columns."""
    out = np.empty_like(first)
    for i in range(len(first)):
        out[i] = mixed(first[i], second[i], key[0], key[1])
    return out

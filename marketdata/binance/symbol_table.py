"""Known symbols as flat arrays: the compiled scanner finds a symbol by the bytes of its stream name."""

from typing import NamedTuple

import numpy as np
from numba import njit

NAME_BYTES = 64
TABLE_SIZE = 1 << 13


class SymbolTable(NamedTuple):
    """Known symbols by stream name. slots (TABLE_SIZE,) int32: index + 1, 0 = free; names are UTF-8 bytes."""

    slots: np.ndarray
    lower: np.ndarray
    lower_size: np.ndarray
    upper: np.ndarray
    upper_size: np.ndarray


def new_symbol_table(capacity: int) -> SymbolTable:
    return SymbolTable(
        np.zeros(TABLE_SIZE, np.int32),
        np.zeros((capacity, NAME_BYTES), np.uint8),
        np.zeros(capacity, np.int64),
        np.zeros((capacity, NAME_BYTES), np.uint8),
        np.zeros(capacity, np.int64),
    )


@njit(cache=True)
def name_hash(buffer: np.ndarray, start: int, end: int) -> int:
    """Return the FNV-1a hash of a name, folded to a slot of the table."""
    value = np.uint64(14695981039346656037)
    for j in range(start, end):
        value = (value ^ np.uint64(buffer[j])) * np.uint64(1099511628211)
    slot: int = np.int64(value & np.uint64(TABLE_SIZE - 1))  # type: ignore[assignment]  # int() would stay unsigned
    return slot


@njit(cache=True)
def find_symbol(table: SymbolTable, buffer: np.ndarray, start: int, end: int) -> int:
    """Return the index of the symbol whose stream name is buffer[start:end], or -1."""
    size = end - start
    slot = name_hash(buffer, start, end)
    while table.slots[slot] != 0:
        i = table.slots[slot] - 1
        if table.lower_size[i] == size:
            same = True
            for j in range(size):
                if table.lower[i, j] != buffer[start + j]:
                    same = False
                    break
            if same:
                return int(i)
        slot = (slot + 1) & (TABLE_SIZE - 1)
    return -1


@njit(cache=True)
def add_symbol(table: SymbolTable, lower: np.ndarray, upper: np.ndarray, index: int) -> None:
    """Enter symbol `index` under its stream name; the names must fit NAME_BYTES."""
    for j in range(lower.shape[0]):
        table.lower[index, j] = lower[j]
    for j in range(upper.shape[0]):
        table.upper[index, j] = upper[j]
    table.lower_size[index] = lower.shape[0]
    table.upper_size[index] = upper.shape[0]
    slot = name_hash(lower, 0, lower.shape[0])
    while table.slots[slot] != 0:
        slot = (slot + 1) & (TABLE_SIZE - 1)
    table.slots[slot] = index + 1

"""Arrays that begin on a 64-byte boundary, or so many elements behind one."""

import numpy as np

Array = np.ndarray


def placed(array: Array, offset: int) -> Array:
    """A copy that begins `offset` elements behind a 64-byte boundary."""
    memory = np.empty(array.size + 64 // array.itemsize + offset, array.dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize + offset
    view = memory[begin : begin + array.size].reshape(array.shape)
    view[...] = array
    return view

"""Memory once everything is loaded: what loading left behind goes back, what stays is never looked at again.

Loading reads dictionaries, exemplars and weights through buffers that glibc keeps when they are freed, some 25 MB.
And the hundred thousands of objects that stay for the process's life would be walked by every full garbage
collection, 60 ms in the middle of somebody's answer.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def settle() -> None:
    """Collect, keep what is left out of later collections, and give free memory back to the system."""
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError):  # another C library: it has its own ways
        ctypes.CDLL(None).malloc_trim(0)

"""Memory once everything is loaded: what loading left behind goes back, what stays is never looked at again.

Loading reads dictionaries, exemplars and weights through buffers that glibc keeps when they are freed, some 25 MB.
And the hundred thousands of objects that stay for the process's life would be walked by every full garbage
collection, 60 ms in the middle of somebody's answer. What requests leave in cycles is little, but they make
so many objects that Python looks for it all the time: a tenth of a request, which looking less often saves.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

NEW_OBJECTS = 10_000  # more of them than freed, until they are looked through for cycles: a megabyte or two


def settle() -> None:
    """Collect, keep what is left out of later collections, and give free memory back to the system."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    with suppress(AttributeError, OSError):  # another C library: it has its own ways
        ctypes.CDLL(None).malloc_trim(0)

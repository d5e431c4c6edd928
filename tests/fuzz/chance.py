"""Where the dice come from: the same throws in every `make test`, new ones and ten times as many in `make fuzz`.

hypothesis does this by its profile (tests/conftest.py); this is for what throws dice itself.
"""

from __future__ import annotations

import os
import random

FUZZING = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
TIMES = 10 if FUZZING else 1
SEED = int(os.environ.get("FUZZ_SEED") or (random.SystemRandom().getrandbits(32) if FUZZING else 20261127))
"""What a failure has to tell so that `FUZZ_SEED=... make fuzz` shows it again."""

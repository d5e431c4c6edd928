"""What a caller may put into OpenAI's `model` field. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from router.core.blend import Blend
from router.core.policy import Policy

AUTO = "auto"


def offers(policy: Policy, closure: Iterable[Blend]) -> tuple[str, ...]:
    """Return `auto`, then every adapter the caller may name, then every reachable blend as `a+b`, sorted.

    `closure` is `reachable(policy)`. A client's model picker thereby becomes the expert switch.
    """
    blends = {"+".join(blend.weights) for blend in closure if len(blend.members) > 1}
    return (AUTO, *sorted(policy.askable()), *sorted(blends))

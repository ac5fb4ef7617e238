"""One scheduler that works in iterations at a constant decode batch, simulated: the oracle of first_token_tail.

Requests come as a Poisson stream, enter at the start of an iteration in their order and have their first token at the end of the one that
carries the last of their prompt. Times in seconds.
"""

from __future__ import annotations

import numpy as np

from optimizer.performance.first_token_tail import Iterations


def first_token_times(
    arrivals_per_s: float,
    input_tokens: float,
    input_tokens_cv2: float,
    iterations: Iterations,
    prompts_first: bool,
    requests: int,
    seed: int = 0,
) -> np.ndarray:
    """[requests]. `prompts_first`: passes carry prompts alone until nobody waits, then a block of decode runs for fixed_s."""
    random = np.random.default_rng(seed)
    arrived = np.cumsum(random.exponential(1.0 / arrivals_per_s, requests))
    left = random.gamma(1.0 / input_tokens_cv2, input_tokens * input_tokens_cv2, requests)
    took = np.empty(requests)
    now, head, count = 0.0, 0, 0
    while head < requests:
        count += 1
        waiting = int(np.searchsorted(arrived, now, side="right"))
        room, carried, done = float(iterations.room_tokens), 0.0, []
        if count % int(iterations.iterations_between_admissions) == 0 or prompts_first:
            for i in range(head, waiting):
                part = min(left[i], room, float(iterations.prompt_tokens_per_pass))
                left[i], room, carried = left[i] - part, room - part, carried + part
                if part > 0.0 and left[i] <= 1e-9:
                    done.append(i)
                if room <= 1e-9:
                    break
        now += (iterations.pass_s if carried else iterations.fixed_s) + carried * iterations.token_s
        took[done] = now - arrived[done]
        while head < requests and left[head] <= 1e-9:
            head += 1
    return took

"""The whole distribution of the time to first token in a replica that works in iterations: its mean and 99th percentile in closed form.

Requests enter at the start of an iteration and have their first token at the end of the one that carries the last of their prompt:

    TTFT = hold + rest of the interval in which the request came + own iteration with all that came in the interval + wait for the budget

An interval is one iteration, or several (`iterations_between_admissions`), and is longer the more prompts it carries: gated M/G/1, mean
V / (1 - rho), variance lambda b2 V / ((1 - rho) (1 - rho^2)), V the iteration without prompts.
With prompts first it is a block of decode
steps or one of the chain of passes after it. A request falls into an interval in proportion to its length. The sum's three cumulants
give the percentile (Pearson III, Wilson-Hilferty).

The budget is a pool of room / prompt servers, one prompt for one full iteration each (Sakasegawa's exponent); below one server a
prompt fills several iterations and is alone. Both percentiles add as exceedances of independent parts do, by squares. Kinks: a prompt
of the room's size, at which the number of servers and of iterations is 1, and of half that size.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

TAIL = 0.01
NORMAL_P99 = 2.3263478740408408
LEAST_SKEW = 1e-6


class Iterations(NamedTuple):
    """How one scheduler works; arrays that broadcast."""

    fixed_s: Any  # an iteration at the run's batch, without prompts; for prompts first: the block of decode steps between two admissions
    pass_s: Any  # what the iteration that carries prompts lasts beyond them: fixed_s, or without decode the weights and overheads
    token_s: Any  # one prompt token
    room_tokens: Any  # prompt tokens that one iteration carries: the budget less the sequences that decode in it
    prompt_tokens_per_pass: Any = np.inf  # of one request
    iterations_between_admissions: Any = 1.0
    hold_s: Any = 0.0  # the harness collects requests for so long and sends them together
    hold_arrivals_per_s: Any = 0.0  # of all that is collected


class FirstTokenTail(NamedTuple):
    mean_s: Any
    p99_s: Any  # infinite from utilisation 1 on
    utilisation: Any  # of the token budget


def first_token_tail(
    arrivals_per_s: Any,
    input_tokens: Any,
    input_tokens_cv2: Any,
    iterations: Iterations,
    prompts_first: bool = False,
    xp: ModuleType = np,
) -> FirstTokenTail:
    """Poisson arrivals at one scheduler, prompts of gamma-like length. `prompts_first`: a pass carries prompts alone and decode waits."""
    fixed, pass_s, token, room, limit, every, hold, collected = iterations
    prompt = input_tokens * token
    prompt2, prompt3 = prompt**2 * (1.0 + input_tokens_cv2), prompt**3 * (1.0 + input_tokens_cv2) * (1.0 + 2.0 * input_tokens_cv2)
    servers = room / input_tokens
    gated = arrivals_per_s * xp.minimum(1.0, servers)  # prompts longer than the room make the budget's queue, not the interval, longer
    if prompts_first:
        gated, share = arrivals_per_s, arrivals_per_s * prompt
        # after a block of decode each pass carries what came during the one before: lengths fixed x share^j, seen in proportion to them
        moments = [fixed**k * (1.0 - share) / (1.0 - share ** (k + 1)) for k in (1, 2, 3)]
    else:
        share = gated * prompt
        interval = every * fixed / (1.0 - share)
        relative = every * gated * prompt2 * fixed / ((1.0 - share) * (1.0 - share**2)) / interval**2
        # a gamma variable of this mean and squared coefficient of variation, seen in proportion to its length
        moments = [interval * (1.0 + relative)]
        moments += [moments[0] * interval * (1.0 + 2.0 * relative)]
        moments += [moments[1] * interval * (1.0 + 3.0 * relative)]
    seen, seen2, seen3 = moments
    spread = seen2 - seen**2
    alone = input_tokens / xp.minimum(room, limit)
    passes = xp.maximum(1.0, alone + xp.clip(alone - 0.5, 0.0, 0.5))
    own = passes * pass_s + prompt
    own2 = input_tokens_cv2 * (prompt**2 + xp.where(alone > 1.0, (passes * pass_s) ** 2, 0.0))
    slope = 0.5 + share  # the rest of the interval, uniform, and the prompts that came in it
    mean = slope * seen + own
    second = slope**2 * spread + seen2 / 12.0 + gated * prompt2 * seen + own2
    third = gated * prompt3 * seen + 2.0 * input_tokens_cv2**2 * prompt**3 + 3.0 * slope * gated * prompt2 * spread
    third = third + slope**3 * (seen3 - 3.0 * seen * seen2 + 2.0 * seen**3) + 0.25 * slope * (seen3 - seen * seen2)
    together = collected * hold  # others in the same batch of the harness, all on one replica
    mean = mean + 0.5 * hold + together * prompt
    second = second + hold**2 / 12.0 + together * prompt2
    third = third + together * prompt3
    base = pearson_p99(mean, second, third, xp)

    service = (pass_s + room * token) / servers
    utilisation = arrivals_per_s * service
    wait = budget_wait(arrivals_per_s, service, 1.0, input_tokens_cv2, servers, xp)
    p99 = mean + xp.sqrt((base - mean) ** 2 + xp.where(utilisation < 1.0, wait.p99_s, 0.0) ** 2)
    return FirstTokenTail(mean + wait.mean_s, xp.where(utilisation < 1.0, p99, np.inf), utilisation)


class Wait(NamedTuple):
    mean_s: Any
    p99_s: Any


def budget_wait(arrivals_per_s: Any, service_s: Any, arrival_cv2: Any, service_cv2: Any, servers: Any = 1.0, xp: ModuleType = np) -> Wait:
    """P(W > t) = rho^m exp(-(1 - rho) t / (V S)), V = (ca2 + cs2) / 2, m = sqrt(2 (c + 1)) - 1, c = max(1, servers).

    `service_s`: time for which a request holds the whole pool, so that rho = arrivals x service; from 1 on the wait is infinite.
    p99 by a soft maximum at no wait.
    """
    rho = arrivals_per_s * service_s
    stable = rho < 1.0
    safe = xp.where(stable, rho, 0.5)
    exponent = xp.sqrt(2.0 * (xp.maximum(1.0, servers) + 1.0)) - 1.0
    scale = 0.5 * (arrival_cv2 + service_cv2) * service_s / (1.0 - safe)
    waiting = safe**exponent
    return Wait(xp.where(stable, scale * waiting, np.inf), xp.where(stable, scale * xp.log1p(waiting / TAIL), np.inf))


def pearson_p99(mean: Any, variance: Any, third_cumulant: Any, xp: ModuleType = np) -> Any:
    """99th percentile of a Pearson III variable of these cumulants (Wilson and Hilferty); skewness from 0 to 4, variance > 0."""
    deviation = xp.sqrt(variance)
    skew = xp.clip(third_cumulant / deviation**3, LEAST_SKEW, 4.0)
    return mean + deviation * (2.0 / skew) * ((1.0 + skew * NORMAL_P99 / 6.0 - skew**2 / 36.0) ** 3 - 1.0)


def prompts_first_tpot_s(
    decode_step_s: Any, pass_s: Any, prompt_s: Any, arrivals_per_s: Any, decode_steps: Any, xp: ModuleType = np
) -> Any:
    """Mean seconds per output token where `decode_steps` of decode alternate with passes of prompts until nobody waits.

    The expected chain of passes: each carries what came during the one before it, and pays `pass_s` if anything came.
    """
    came = decode_steps * decode_step_s
    total = came
    for _ in range(PASSES):
        came = -xp.expm1(-arrivals_per_s * came) * pass_s + arrivals_per_s * came * prompt_s
        total = total + came
    return total / decode_steps


PASSES = 12

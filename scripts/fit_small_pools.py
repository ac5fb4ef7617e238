"""Write optimizer/performance/small_pools_table.py from simulation: python scripts/fit_small_pools.py POINTS.npz [--simulate PART/OF].

With --simulate the queues are simulated first (about half an hour of one processor core; PART/OF, e.g. 1/2, for a share of them on each
core, into POINTS-PART.npz). Without it every POINTS*.npz is read and the tables are fitted (seconds). Seeds are fixed.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed

from optimizer.performance.queueing import CAUTION, closed_form_utilisation  # noqa: E402
from tests.queue_simulation import Law, deterministic, exponential, gamma, hyperexponential, lognormal, peakedness, simulate  # noqa: E402

TAIL = 0.01
TABLE = ROOT / "optimizer" / "performance" / "small_pools_table.py"
SLACKS = 0.05 * 800.0 ** (np.arange(15) / 14)
LINES = (1, 2, 3, 4, 6, 8)
POOLS = (*LINES, 16, 32, 64, 256)
ARRIVALS: dict[float, Law] = {0.0: deterministic(), 1.0: exponential(), 3.0: gamma(3), 6.0: gamma(6)}
SERVICES: tuple[Law, ...] = (
    deterministic(), lognormal(0.5), exponential(), lognormal(1), hyperexponential(3), lognormal(3), lognormal(8),
)  # fmt: skip
SERVICE_CV2 = (0.0, 0.5, 1.0, 3.0, 8.0)
SURE = 0.985  # a greater utilisation by the closed form is heavy traffic: not simulated, not corrected
SAFE, ROUNDED = 0.998, 1.004  # lines: below the simulation, and below by what a rounded corner adds
LEAST_SLOPE, GREATEST_SLOPE = 1e-9, 0.9999


def simulate_points(part: int, parts: int) -> np.ndarray:
    """Rows: servers, ca2, cs2, z, slack, utilisation with P(W > slack) = TAIL, the same less one standard error."""
    jobs = [(servers, ca2, services) for servers in POOLS for ca2 in ARRIVALS for services in SERVICES if ca2 + services.cv2 > 0]
    rows = []
    for seed, (servers, ca2, services) in enumerate(jobs):
        if seed % parts == part - 1:
            rows.extend(points_of(servers, ca2, services, seed))
            print(f"{seed + 1}/{len(jobs)} servers {servers}, ca2 {ca2:g}, cs2 {services.cv2:g}", flush=True)
    return np.array(rows)


def points_of(servers: int, ca2: float, services: Law, seed: int) -> list[tuple[float, ...]]:
    """A short run finds where the tail is crossed, a long one looks there. Utilisations as x = ln(rho / (1 - rho))."""
    bursty = ca2 > 1 and servers < 4
    x = np.linspace(-16.0 if bursty else -7.0, 5.0, 70 if bursty else 44)
    arrivals = ARRIVALS[ca2]
    share = simulate(arrivals, services, servers, _rho(x), SLACKS, 32_000, copies=32, seed=2 * seed).share
    near = np.maximum.accumulate([_crossing(x, share[:, k])[0] for k in range(len(SLACKS))]) + 1e-6 * np.arange(len(SLACKS))
    x = np.sort(np.concatenate([[near[0] - 0.3], near, (near[1:] + near[:-1]) / 2, near[-1] + [0.3, 0.8]]))
    customers = 1_000_000 if servers < 64 else 400_000
    found = simulate(arrivals, services, servers, _rho(x), SLACKS, customers, copies=64, seed=2 * seed + 1, every=4)
    rows = []
    for k, slack in enumerate(SLACKS):
        missed = found.share[0, k] > TAIL and not bursty  # the short run led astray; the neighbouring slacks stand in
        if found.share[-1, k] > TAIL and not missed:
            at, slope = _crossing(x, found.share[:, k])
            error = float(np.interp(at, x, found.standard_error[:, k])) / (TAIL * max(slope, 0.1))
            at = at if found.share[0, k] <= TAIL else math.log(LEAST_SLOPE)
            rows.append((servers, ca2, services.cv2, peakedness(arrivals, services), slack, _rho(at), _rho(at - error)))
    return rows


def _rho(x: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x)))


def _crossing(x: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    """(x where the share first exceeds the tail, slope of its logarithm there)."""
    logs = np.log(np.maximum(share, 1e-6))
    above = np.flatnonzero(share > TAIL)
    i = int(above[0]) if len(above) else len(x) - 1
    low, high = max(i - 2, 0), min(i + 1, len(x) - 1)
    slope = (logs[high] - logs[low]) / (x[high] - x[low])
    if i == 0 or not len(above):
        return float(x[i]), slope
    return float(np.interp(math.log(TAIL), logs[i - 1 : i + 1], x[i - 1 : i + 1])), slope


def fit(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slopes [6, slack, ca2, cs2], shortfall [slack, ca2, cs2])."""
    servers, ca2, cs2, z, slack, rho, low = points.T
    closed = closed_form_utilisation(servers, slack, ca2, cs2, z)
    careful = closed_form_utilisation(servers, slack, CAUTION * ca2, CAUTION * cs2, z)
    # large pools are the closed form's own ground: there what the noise of the simulation allows is not taken off
    limit = np.where(servers >= 16, rho * 1.002 + 0.7 * (rho - low), np.where(servers >= 6, (rho + low) / 2, low * SAFE))
    over = servers * (careful - np.minimum(limit, 1.0))
    shape = (len(SLACKS), len(ARRIVALS), len(SERVICE_CV2))
    shortfall, loads = np.zeros(shape), np.full((len(LINES), *shape), np.nan)
    for k, i, j in np.ndindex(shape):
        here = (np.abs(slack / SLACKS[k] - 1) < 1e-9) & (ca2 == list(ARRIVALS)[i]) & (cs2 == SERVICE_CV2[j])
        shortfall[k, i, j] = over[here & (closed < SURE)].max(initial=0.0)
        for n, c in enumerate(LINES):
            found = low[here & (servers == c)]
            loads[n, k, i, j] = found.min() * SAFE / ROUNDED * c if len(found) else np.nan
    loads[:, :, 0, 0] = loads[:, :, 0, 1]  # nothing varies: no queue, no simulation
    for k in range(1, len(SLACKS)):  # beyond the greatest utilisation simulated
        loads[:, k] = np.where(np.isnan(loads[:, k]), loads[:, k - 1], loads[:, k])
    middle = np.maximum(shortfall[1:-1], (shortfall[2:] + shortfall[:-2]) / 2)
    shortfall[1:-1] = middle
    shortfall = np.maximum.accumulate(_rising(shortfall, np.maximum)[::-1], axis=0)[::-1]
    loads = np.minimum.accumulate(loads[:, ::-1], axis=1)[:, ::-1]
    slopes = np.clip(_convex_slopes(loads), LEAST_SLOPE, GREATEST_SLOPE)
    slopes = np.stack([_rising(line, np.minimum) for line in slopes])
    return np.minimum.accumulate(slopes[:, ::-1], axis=1)[:, ::-1], shortfall


def _rising(table: np.ndarray, order: np.ufunc) -> np.ndarray:
    """In the order of both squared variations."""
    return order.accumulate(order.accumulate(table, axis=1), axis=2)


def _convex_slopes(loads: np.ndarray) -> np.ndarray:
    """Slopes of the greatest convex function through 0 below the loads of LINES."""
    at, slopes = np.array((0, *LINES)), np.empty_like(loads)
    for node in np.ndindex(loads.shape[1:]):
        load, n = np.concatenate([[0.0], loads[(slice(None), *node)]]), 0
        while n < len(LINES):
            chords = (load[n + 1 :] - load[n]) / (at[n + 1 :] - at[n])
            reach = len(chords) - int(np.argmin(chords[::-1]))
            slopes[(slice(n, n + reach), *node)] = chords[reach - 1]
            n += reach
    return slopes


def module_text(slopes: np.ndarray, shortfall: np.ndarray) -> str:
    """The table module; slopes rounded down, shortfalls up."""
    pools = ", ".join(str(c) for c in POOLS)
    return (
        f'''"""Numbers of optimizer.performance.small_pools, written by scripts/fit_small_pools.py; not by hand.

Source: simulation (tests/queue_simulation.py), tail {TAIL:g}. Pools of {pools} servers;
arrivals of cv2 0 (constant), 1 (Poisson), 3 and 6 (gamma); services constant, exponential, hyperexponential (cv2 3) and lognormal
(cv2 0.5, 1, 3, 8). SHORTFALL [slack, arrival cv2, service cv2] in servers; LOG_SLOPE [servers, slack, arrival cv2, service cv2].
"""

# fmt: off
SERVERS = {LINES}
ARRIVAL_CV2 = {tuple(ARRIVALS)}
SERVICE_CV2 = {SERVICE_CV2}
'''
        + "".join(
            _literal(name, values, digits)
            for name, values, digits in (
                ("SLACK", SLACKS, 6),
                ("SHORTFALL", np.ceil(shortfall * 1e4) / 1e4, 5),
                ("LOG_SLOPE", np.floor(np.log(slopes) * 1e4) / 1e4, 6),
            )
        )
        + "# fmt: on\n"
    )


def _literal(name: str, values: np.ndarray, digits: int) -> str:
    words, lines = [f"{value:.{digits}g}," for value in values.ravel()], [""]
    for word in words:
        if len(lines[-1]) + len(word) > 130:
            lines.append("")
        lines[-1] += f" {word}"
    return f"{name} = (\n" + "".join(f"   {line}\n" for line in lines) + ")\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("points", type=Path)
    parser.add_argument("--simulate", metavar="PART/OF")
    options = parser.parse_args()
    if options.simulate:
        part, parts = (int(word) for word in options.simulate.split("/"))
        np.savez_compressed(options.points.with_name(f"{options.points.stem}-{part}.npz"), points=simulate_points(part, parts))
        return
    files = sorted(options.points.parent.glob(f"{options.points.stem}*.npz"))
    points = np.concatenate([np.load(file)["points"] for file in files])
    slopes, shortfall = fit(points)
    TABLE.write_text(module_text(slopes, shortfall))
    print(f"{TABLE.name}: {len(points)} points, shortfall up to {shortfall.max():.2f} servers")


if __name__ == "__main__":
    main()

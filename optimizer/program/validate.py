"""Refuse arrays that do not state a certifiable program. Every refusal is one sentence: which entry, what is wrong, what would be right.

Shapes, types and signs stand here; what the rows must allow for every acquisition inside the limits stands in `recourse_check`.
"""

from __future__ import annotations

import numpy as np

from optimizer.program.program import Array, Program, ProgramError, Sparse

LARGEST = 1e20  # other solvers read such a number as infinite; here infinity is written inf

# axes of every dense field; "served" and "deferrable" are parts of the stream axis, "+" joins pools and side rows
AXES: dict[str, tuple[str, ...]] = {
    "parent": ("D",),
    "decision_of_state": ("Q",),
    "state_of_node": ("N",),
    "scenario_of_node": ("N",),
    "template_of_node": ("N",),
    "signed_at": ("Z",),
    "pair_stream": ("P",),
    "pair_pool": ("P",),
    "upper_is_derived": ("Z",),
    "acquisition_cost": ("Z",),
    "acquisition_lower": ("Z",),
    "acquisition_upper": ("Z",),
    "held_base": ("Q", "G+K"),
    "limit_lower": ("L",),
    "limit_upper": ("L",),
    "node_weight": ("N",),
    "block_hours": ("C", "B"),
    "pair_capacity": ("C", "P"),
    "placement_cost": ("C", "B", "P"),
    "placement_upper": ("C", "B", "P"),
    "unserved_cost": ("C", "B", "served"),
    "unserved_cost_deferrable": ("C", "deferrable"),
    "demand": ("N", "B", "served"),
    "demand_deferrable": ("N", "deferrable"),
    "availability": ("N", "G"),
    "rent_cost": ("N", "B", "G"),
    "rent_upper": ("N", "B", "G"),
    "side_pair": ("C", "K", "B", "P"),
    "side_rent": ("N", "K", "B", "G"),
    "side_slack_cost": ("N", "K"),
    "side_slack_upper": ("N", "K"),
    "link_lower": ("R",),
    "link_upper": ("R",),
    "link_scenario": ("R",),
    "link_slack_cost": ("R",),
    "link_slack_upper": ("R",),
    "link_slack_sign": ("R",),
}
SPARSE: dict[str, tuple[str, ...]] = {
    "held_matrix": ("Q", "G+K", "Z"),
    "limit_matrix": ("L", "Z"),
    "link_acquisition": ("R", "Z"),
    "link_placement": ("R", "N", "B", "P"),
    "link_unserved": ("R", "N", "B", "served"),
    "link_deferred": ("R", "N", "deferrable"),
    "link_rent": ("R", "N", "B", "G"),
}
WHOLE = (
    "parent",
    "decision_of_state",
    "state_of_node",
    "scenario_of_node",
    "template_of_node",
    "signed_at",
    "pair_stream",
    "pair_pool",
    "link_scenario",
)
MAY_BE_MINUS_INFINITE = ("limit_lower", "link_lower")
MAY_BE_INFINITE = (
    "limit_upper",
    "link_upper",
    "placement_upper",
    "rent_upper",
    "side_slack_cost",
    "side_slack_upper",
    "link_slack_cost",
    "link_slack_upper",
)
NOT_NEGATIVE = (
    "pair_capacity",
    "placement_upper",
    "unserved_cost",
    "unserved_cost_deferrable",
    "demand",
    "demand_deferrable",
    "availability",
    "rent_upper",
    "side_slack_cost",
    "side_slack_upper",
    "link_slack_cost",
    "link_slack_upper",
)
POSITIVE = ("node_weight", "block_hours")
NAMES = {
    "D": "decision",
    "Q": "state",
    "N": "recourse",
    "B": "block",
    "G": "pool",
    "K": "side",
    "Z": "acquisition",
    "L": "limit",
    "R": "link",
}


def validate(program: Program) -> None:
    """Raise ProgramError unless the arrays state a program that can be certified."""
    from optimizer.program.recourse_check import check_recourse

    check_arrays(program)
    for name in SPARSE:
        _unique(name, getattr(program, name), tuple(_sizes(program)[a] for a in SPARSE[name]))
    _held_reaches_descendants(program)
    _scenarios_of_links(program)
    check_recourse(program)


def check_arrays(program: Program) -> None:
    """The part of `validate` that is cheap and that bound and repair rest on: shapes, types, references, finiteness, signs, order."""
    sizes = _sizes(program)
    for name, axes in AXES.items():
        _dense(program, name, tuple(sizes[a] for a in axes))
    for name, axes in SPARSE.items():
        _sparse(name, getattr(program, name), tuple(sizes[a] for a in axes))
    _constant_and_names(program, sizes)
    _references(program, sizes)
    _numbers(program)
    _orders(program)


def entry(program: Program, name: str, index: tuple[int, ...], axes: tuple[str, ...] | None = None) -> str:
    """`demand[3, 0, 1] (recourse 'peak', stream 'chat')`."""
    axes = axes or AXES.get(name) or SPARSE[name]
    known = [t for t in (_name(program, a, int(i)) for a, i in zip(axes, index, strict=True)) if t]
    place = ", ".join(str(int(i)) for i in index)
    return f"{name}[{place}]" + (f" ({', '.join(known)})" if known else "")


def _name(program: Program, axis: str, index: int) -> str:
    if axis == "P":
        return ", ".join(t for t in (_name(program, "W", program.pair_stream[index]), _name(program, "G", program.pair_pool[index])) if t)
    if axis == "G+K":
        return _name(program, "G", index) if index < program.pools else _name(program, "K", index - program.pools)
    if axis in ("served", "deferrable", "W"):
        kind, index = "stream", index + (program.served if axis == "deferrable" else 0)
    else:
        kind = NAMES.get(axis, "")
    names = getattr(program.names, kind, ()) if kind else ()
    return f"{kind} {names[index]!r}" if index < len(names) and names[index] else ""


def _sizes(p: Program) -> dict[str, int]:
    """Length of every axis, from the field that defines it."""
    for name in ("served", "deferrable", "free", "pools"):
        value = getattr(p, name)
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
            raise ProgramError(f"{name} is {value!r}; it must be a whole number, 0 or more.")
    for name in (*AXES,):
        value = getattr(p, name)
        if not isinstance(value, np.ndarray):
            raise ProgramError(f"{name} is a {type(value).__name__}; it must be a numpy array.")
        if value.ndim != len(AXES[name]):
            raise ProgramError(f"{name} has {value.ndim} axes; it must have {len(AXES[name])}: [{', '.join(AXES[name])}].")
    lengths = {"D": p.decisions, "Q": p.states, "N": p.nodes, "Z": p.acquisitions, "L": p.limits, "R": p.links, "P": p.pairs, "B": p.blocks}
    lengths |= {
        "C": p.templates,
        "G": p.pools,
        "K": p.sides,
        "served": p.served,
        "deferrable": p.deferrable,
        "W": p.streams,
        "G+K": p.pools + p.sides,
    }
    for axis, word in (
        ("D", "decision node (parent)"),
        ("Q", "capacity state (decision_of_state)"),
        ("N", "recourse node (state_of_node)"),
    ):
        if lengths[axis] == 0:
            raise ProgramError(f"The program has no {word}; it needs at least one.")
    for axis, word in (("B", "load block"), ("C", "template")):
        if lengths[axis] == 0:
            raise ProgramError(f"block_hours has no {word}; it needs at least one.")
    return lengths


def _dense(p: Program, name: str, shape: tuple[int, ...]) -> None:
    value = getattr(p, name)
    if value.shape != shape:
        raise ProgramError(f"{name} has shape {value.shape}; with axes [{', '.join(AXES[name])}] it must be {shape}.")
    if name in WHOLE:
        if not np.issubdtype(value.dtype, np.integer):
            raise ProgramError(f"{name} has type {value.dtype}; it must hold whole numbers.")
    elif name == "upper_is_derived":
        if value.dtype != bool:
            raise ProgramError(f"{name} has type {value.dtype}; it must be bool.")
    elif value.dtype != np.float64:
        raise ProgramError(f"{name} has type {value.dtype}; it must be float64.")


def _sparse(name: str, value: Sparse, shape: tuple[int, ...]) -> None:
    axes = SPARSE[name]
    if not isinstance(value, Sparse) or len(value.index) != len(axes):
        raise ProgramError(f"{name} must be a Sparse with {len(axes)} index arrays: [{', '.join(axes)}].")
    if not isinstance(value.value, np.ndarray) or value.value.ndim != 1 or value.value.dtype != np.float64:
        raise ProgramError(f"{name}.value must be one array of float64.")
    for axis, index, length in zip(axes, value.index, shape, strict=True):
        if not isinstance(index, np.ndarray) or index.shape != value.value.shape or not np.issubdtype(index.dtype, np.integer):
            raise ProgramError(f"{name}.index of axis {axis} must be an array of {value.size} whole numbers, one per value.")
        wrong = np.nonzero((index < 0) | (index >= length))[0]
        if len(wrong):
            raise ProgramError(f"{name}.index of axis {axis} is {index[wrong[0]]} at entry {wrong[0]}; it must lie in 0..{length - 1}.")


def _unique(name: str, value: Sparse, shape: tuple[int, ...]) -> None:
    if value.size > 1:
        flat = np.sort(np.ravel_multi_index(value.index, shape))
        twice = np.nonzero(flat[1:] == flat[:-1])[0]
        if len(twice):
            place = tuple(int(i) for i in np.unravel_index(flat[twice[0]], shape))
            raise ProgramError(f"{name} states entry {list(place)} twice; every coordinate may stand once.")


def _constant_and_names(p: Program, sizes: dict[str, int]) -> None:
    if not isinstance(p.constant, int | float | np.floating) or not abs(p.constant) < LARGEST:
        raise ProgramError(f"constant is {p.constant!r}; it must be a finite number.")
    for axis, name in {**NAMES, "W": "stream"}.items():
        count = len(getattr(p.names, name))
        if count not in (0, sizes[axis]):
            raise ProgramError(f"names.{name} has {count} names; it must have none or {sizes[axis]}.")


def _references(p: Program, sizes: dict[str, int]) -> None:
    """Indices into other axes, the order of pairs, and that the decision nodes form a forest."""
    for name, low, high in (
        ("parent", -1, sizes["D"]), ("decision_of_state", 0, sizes["D"]), ("state_of_node", 0, sizes["Q"]), ("signed_at", 0, sizes["D"]),
        ("template_of_node", 0, sizes["C"]), ("pair_stream", 0, p.streams), ("pair_pool", 0, p.pools), ("link_scenario", -1, p.scenarios),
        ("scenario_of_node", 0, np.iinfo(np.int32).max),
    ):  # fmt: skip
        value = getattr(p, name)
        wrong = np.nonzero((value < low) | (value >= high))[0]
        if len(wrong):
            raise ProgramError(f"{entry(p, name, (wrong[0],)) if name[:4] != 'pair' else f'{name}[{wrong[0]}]'} is {value[wrong[0]]}; "
                               f"it must lie in {low}..{high - 1}.")  # fmt: skip
    back = np.nonzero(np.diff(p.pair_stream) < 0)[0]
    if len(back):
        raise ProgramError(f"pair_stream falls from {p.pair_stream[back[0]]} to {p.pair_stream[back[0] + 1]} at entry {back[0] + 1}; "
                           "pairs must be sorted by stream.")  # fmt: skip
    key = np.sort(p.pair_stream * max(p.pools, 1) + p.pair_pool)
    twice = np.nonzero(key[1:] == key[:-1])[0]
    if len(twice):
        stream, pool = divmod(int(key[twice[0]]), max(p.pools, 1))
        raise ProgramError(
            f"The pair of stream {stream} and pool {pool} stands twice in pair_stream, pair_pool; every pair may stand once."
        )
    depth = np.where(p.parent < 0, 0, -1)
    above = p.parent.copy()
    for _ in range(p.decisions):
        ready = (depth < 0) & (depth[above] >= 0)
        if not ready.any():
            break
        depth[ready] = depth[above[ready]] + 1
    if (depth < 0).any():
        at = int(np.nonzero(depth < 0)[0][0])
        raise ProgramError(f"{entry(p, 'parent', (at,))} leads in a circle; decision nodes must form a forest with -1 at its roots.")


def _numbers(p: Program) -> None:
    """NaN, infinity, size and sign of every number."""
    for name in (*AXES, *SPARSE):
        value = getattr(p, name)
        if isinstance(value, Sparse):
            _first(p, name, ~(np.abs(value.value) < LARGEST), "must be a finite number")
            continue
        if name in WHOLE or name == "upper_is_derived":
            continue
        _first(p, name, np.isnan(value), "must be a number")
        if name not in MAY_BE_INFINITE:
            _first(p, name, value == np.inf, "must be finite")
        if name not in MAY_BE_MINUS_INFINITE:
            _first(p, name, value == -np.inf, "must be finite")
        _first(p, name, (np.abs(value) >= LARGEST) & np.isfinite(value), "is too large for a number that is meant; write inf for no bound")
        if name in NOT_NEGATIVE:
            _first(p, name, value < 0, "must be 0 or more")
        if name in POSITIVE:
            _first(p, name, value <= 0, "must be more than 0")
    free = p.pair_stream >= p.served + p.deferrable
    open_top = np.isinf(p.placement_upper) & free
    _first(p, "placement_upper", open_top, "must be finite: no demand row bounds the work of a free stream")
    _first(
        p, "link_slack_upper", np.isinf(p.link_slack_upper) & np.isfinite(p.link_slack_cost), "must be finite where the slack has a cost"
    )
    _first(p, "link_slack_sign", np.abs(p.link_slack_sign) != 1, "must be +1 or -1")


def _first(p: Program, name: str, wrong: Array, right: str) -> None:
    """Refuse the first entry of a field where `wrong` holds."""
    if not wrong.any():
        return
    value = getattr(p, name)
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    if isinstance(value, Sparse):
        place = tuple(int(i[at[0]]) for i in value.index)
        raise ProgramError(f"{entry(p, name, place)} is {value.value[at]}; it {right}.")
    raise ProgramError(f"{entry(p, name, at)} is {value[at]}; it {right}.")


def _orders(p: Program) -> None:
    for low, high in (("acquisition_lower", "acquisition_upper"), ("limit_lower", "limit_upper"), ("link_lower", "link_upper")):
        _first(p, low, getattr(p, low) > getattr(p, high), f"must not exceed {high}")


def subtree_intervals(parent: Array) -> tuple[Array, Array]:
    """(first, last) [D] of a depth-first numbering: d is m or a descendant of it where first[m] <= first[d] < last[m]."""
    children: list[list[int]] = [[] for _ in parent]
    for node, above in enumerate(parent.tolist()):
        if above >= 0:
            children[above].append(node)
    first, last, count = np.zeros(len(parent), int), np.zeros(len(parent), int), 0
    stack = [(node, False) for node in np.nonzero(parent < 0)[0].tolist()[::-1]]
    while stack:
        node, done = stack.pop()
        if done:
            last[node] = count
            continue
        first[node] = count
        count += 1
        stack.append((node, True))
        stack.extend((child, False) for child in children[node])
    return first, last


def _held_reaches_descendants(p: Program) -> None:
    first, last = subtree_intervals(p.parent)
    state, output, column = p.held_matrix.index
    at, signed = p.decision_of_state[state], p.signed_at[column]
    wrong = np.nonzero((first[at] < first[signed]) | (first[at] >= last[signed]))[0]
    if len(wrong):
        i = wrong[0]
        place = entry(p, "held_matrix", (int(state[i]), int(output[i]), int(column[i])))
        raise ProgramError(
            f"{place} reaches decision node {at[i]}, but the acquisition is signed at {signed[i]}; it may reach only states of that node "
            "and of its descendants."
        )


def _scenarios_of_links(p: Program) -> None:
    for name in ("link_placement", "link_unserved", "link_deferred", "link_rent"):
        index = getattr(p, name).index
        stated, touched = p.link_scenario[index[0]], p.scenario_of_node[index[1]]
        wrong = np.nonzero((stated >= 0) & (stated != touched))[0]
        if len(wrong):
            i = wrong[0]
            row = entry(p, "link_scenario", (index[0][i],))
            raise ProgramError(
                f"{row} is {stated[i]}, but {name} touches recourse node {index[1][i]} of scenario {touched[i]}; "
                "write -1 for several scenarios."
            )

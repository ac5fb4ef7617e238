"""Several hosts share a solve: every host runs the same command, JAX's distributed runtime joins them, the first one speaks."""

from __future__ import annotations

import re

FORM = re.compile(r"(?P<address>[^,\s]+:\d+),(?P<rank>\d+),(?P<count>\d+)")


def join(hosts: str) -> int:
    """Join the other hosts and return this one's rank. `hosts` is "auto" (Slurm, Open MPI, Kubernetes and TPU slices tell a process what it
    is) or ADDRESS:PORT,RANK,COUNT with the address of rank 0. To be called before anything touches a device.

    Raises ValueError: one sentence about `hosts`, or about a cluster that cannot be recognised or does not answer.
    """
    import jax

    found = FORM.fullmatch(hosts)
    if hosts != "auto" and found is None:
        raise ValueError(f"--hosts is {hosts!r}; give auto, or ADDRESS:PORT,RANK,COUNT such as 10.0.0.1:1234,0,4")
    if found is not None and not int(found["rank"]) < int(found["count"]):
        raise ValueError(f"--hosts is {hosts!r}; ranks go from 0 to {int(found['count']) - 1} among {found['count']} hosts")
    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(found["address"], int(found["count"]), int(found["rank"]))
    except (ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())
        remedy = "start it under a scheduler that JAX knows, or give ADDRESS:PORT,RANK,COUNT" if found is None else "check address and port"
        raise ValueError(f"--hosts {hosts}: the hosts could not be joined ({told[:200]}); {remedy}") from error
    return jax.process_index()

"""The hot block operations of the solver: plain-jnp references, and faster forms where measurement justified one."""

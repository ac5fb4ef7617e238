"""The structured interior point in JAX. It never hears of chips or dollars, and it never judges its own answer."""

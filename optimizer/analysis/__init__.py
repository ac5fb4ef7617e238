"""Questions about a certified plan: what every number of the case is worth, and what happens when it changes."""

"""HiGHS's simplex on the extensive form of a Program: an engine that proposes a plan and multipliers, and says nothing about them."""

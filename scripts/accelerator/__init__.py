"""The parts of scripts/accelerator_check.py: what is checked and measured on one accelerator."""

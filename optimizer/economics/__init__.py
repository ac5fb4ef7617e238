"""Dates and money: periods, cash flows, present value."""

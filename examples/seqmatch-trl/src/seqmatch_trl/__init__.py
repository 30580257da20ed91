"""Trainers of trl under seqmatch's budget, clocks, seeds and data order."""

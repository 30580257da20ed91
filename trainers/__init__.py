"""Trainers: algorithms that turn a policy and examples into a better policy."""

"""Leaderboards: what a study measured, as tables."""

"""Experiment trackers, one file each; imported only where a run reports to them."""
